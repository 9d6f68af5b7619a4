//! What the system does not give: descriptors to a server that serves, threads to one that starts.

use super::common::*;
use super::process;
use std::net::{SocketAddr, TcpStream};

const BONEYARD: &str = env!("CARGO_BIN_EXE_boneyard");

/// The command that serves with these settings after the shell has lowered a limit.
fn serve_within(limit: &str, directory: &process::Directory, lines: &str) -> std::process::Command {
    let file = directory.file("server.ini", &process::on_free_port(lines));
    let mut shell = process::command("sh");
    shell.args(["-c", &format!("ulimit {limit} && exec \"$0\" serve \"$1\""), BONEYARD]).arg(file);
    shell
}

#[test]
fn a_lack_of_descriptors_ends_the_listener() {
    let directory = process::Directory::new();
    let mut server = process::Running::start(&mut serve_within("-n 50", &directory, "Server_Pool_Tasks=2"));
    let address: SocketAddr = server.address().parse().unwrap();
    let mut early = Raw::connect(address);
    let mut others: Vec<TcpStream> = (0..60).map(|_| connect(address)).collect();
    server.line("connections cannot be accepted for now");
    assert_eq!(early.call::<_, ()>("server.ping", &()), Ok(()), "who is there is served");
    let last = others.pop().unwrap();
    drop(others);
    // It waits in the backlog and is found there.
    let mut last = Raw::greet(last);
    assert_eq!(last.call::<_, ()>("server.ping", &()), Ok(()));
    server.line("connections are accepted again");
    assert_eq!(Raw::connect(address).call::<_, ()>("server.ping", &()), Ok(()));
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_lack_of_threads_starts_half_a_server() {
    let directory = process::Directory::new();
    // A hundred stacks of 64 MiB do not fit into 2 GiB.
    let lines = "Server_Pool_Tasks=100\nServer_Thread_Stack_KB=65536";
    let said = process::run(&mut serve_within("-v 2097152", &directory, lines));
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.err.starts_with("cannot start: port TCPIP: only "), "{said:?}");
    assert!(
        said.err.contains(" of 100 workers could be made: ") && said.err.lines().count() == 1,
        "{said:?}"
    );
}
