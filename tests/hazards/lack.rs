//! What the system does not give: descriptors to a server that serves, threads to one that starts.

use super::common::*;
use super::process;
use std::net::{SocketAddr, TcpStream};

const BONEYARD: &str = env!("CARGO_BIN_EXE_boneyard");

/// The command that serves with these settings after the shell has lowered a limit.
fn serve_within(limit: &str, directory: &process::Directory, lines: &str) -> std::process::Command {
    let file = directory.file("server.ini", lines);
    let mut command = process::command_within(limit, BONEYARD);
    command.arg("serve").arg(file);
    command
}

#[test]
fn a_lack_of_descriptors_ends_the_listener() {
    let directory = process::Directory::new();
    let mut server = process::Running::start(&mut serve_within(
        "-n 50",
        &directory,
        &process::on_free_port("Server_Pool_Tasks=2"),
    ));
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
    // Of the two pools one fits into 2 GiB, a hundred stacks of 64 MiB do not.
    let (first, second) = (process::own_address(1), process::own_address(2));
    let lines = format!(
        "Ports=A,B\nA_TCPIPAddress=0,{first}\nA_Pool_Tasks=2\nB_TCPIPAddress=0,{second}\nServer_Pool_Tasks=100\n\
         Server_Thread_Stack_KB=65536\n"
    );
    let said = process::run(&mut serve_within("-v 2097152", &directory, &lines));
    assert_eq!(said.code, Some(1), "{said:?}");
    let lines: Vec<_> = said.err.lines().collect();
    assert!(lines[0].starts_with("cannot start: port B: only "), "{said:?}");
    assert!(lines[0].contains(" of 101 threads could be made: "), "{said:?}");
    let advice = "102 workers with 64 MiB of stack each may use 6528 MiB, more than the 2 GiB of virtual memory that this \
                  process may map (ulimit -v): not all can start; raise that, or lower Server_Thread_Stack_KB or the pools";
    assert_eq!(lines[1..], [advice]);
    for address in [first, second] {
        assert!(TcpStream::connect((address.as_str(), 1352)).is_err(), "nothing listens on {address}");
    }
}
