//! `boneyard top` beside a real server: what one snapshot says, and what is said where there is none.

mod common;
mod process;

use boneyard::client::Client;
use process::{command, run};
use std::process::Command;

fn top(arguments: &[&str]) -> Command {
    let mut command = command(env!("CARGO_BIN_EXE_boneyard"));
    command.arg("top").args(arguments);
    command
}

#[test]
fn one_picture_shows_what_runs_and_what_waits() {
    let lines = "Server_Pool_Tasks=3\nServer_Max_Concurrent_Trans=2\nAdmin_Address=127.0.0.1:0";
    let server = common::load_server(lines);
    let client = Client::new(server.address()).unwrap().with_deadline(None);
    // Wedged: all permits are out for as long as the test lasts, and three calls wait.
    let calls: Vec<_> = (0..5).map(|_| client.start_json("load.sleep", "600000").unwrap()).collect();
    common::wait_until("two run and three wait", || {
        let port = &server.ports()[0];
        (server.permits_out(), port.queued()) == (2, 3)
    });
    let address = server.admin_address().unwrap().to_string();
    // The server looks at itself once a second.
    common::wait_until("the snapshot shows it", || {
        let said = run(&mut top(&[&address, "--once"]));
        said.out.contains("permits 2 of 2")
            && said.out.contains("2/0/0/1")
            && said.out.contains("3 of 10,000")
    });
    drop(calls);
    server.stop_within(std::time::Duration::ZERO);
    let said = run(&mut top(&[&address, "--once"]));
    assert_eq!((said.code, said.out.as_str()), (Some(1), ""), "nobody answers any more");
    assert!(said.err.contains(&address), "{}", said.err);
}
