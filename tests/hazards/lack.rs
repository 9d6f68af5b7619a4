//! What the system does not give: descriptors to a server that serves, threads to one that starts.

use super::common::*;
use super::process;
use super::{Client, ClientOptions};
use boneyard::client::ClientError;
use boneyard::internal::wire::FrameKind;
use boneyard::service::Status;
use boneyard::service::builtin::PING;
use rustix::process::{Resource, Rlimit, prlimit};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

const BONEYARD: &str = env!("CARGO_BIN_EXE_boneyard");

/// The command that serves with these settings after the shell has lowered a limit.
fn serve_within(limit: &str, directory: &process::Directory, lines: &str) -> std::process::Command {
    let file = directory.file("server.ini", lines);
    let mut command = process::command_within(limit, BONEYARD);
    command.arg("serve").arg(file);
    command
}

/// A descriptor limit that leaves room for so many connections.
fn limit_for(connections: usize) -> usize {
    // The reserve, and four of the port.
    16 + 4 + connections
}

/// What a client is told that cannot be taken in, without having said a word.
fn refused(address: SocketAddr) -> Status {
    let mut stream = connect(address);
    let frame = read_frame(&mut stream).expect("a GoAway");
    assert_eq!((frame.header.kind, frame.header.call), (FrameKind::GoAway, 0));
    frame.status()
}

/// A connection that is made as soon as the server has a place, and how often it was refused before.
fn taken_in(address: SocketAddr) -> (Raw, u128) {
    taken_in_from(Ipv4Addr::LOCALHOST, address)
}

/// The same of an address of this machine.
fn taken_in_from(own: Ipv4Addr, address: SocketAddr) -> (Raw, u128) {
    let (begin, mut refused) = (Instant::now(), 0);
    loop {
        let mut stream = connect_from(own, address);
        // What does not wait to be welcomed may be reset.
        stream.write_all(&greeting()).ok();
        match read_frame(&mut stream) {
            Some(frame) if frame.header.kind == FrameKind::Welcome => {
                return (Raw::welcomed(stream, &frame), refused);
            }
            Some(frame) => assert_eq!(frame.status(), Status::NoDescriptors),
            None => {}
        }
        assert!(begin.elapsed() < PATIENCE, "never taken in");
        refused += 1;
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn all_are_served(clients: &mut [Raw]) {
    clients.iter_mut().for_each(|client| assert_eq!(client.call::<_, ()>("server.ping", &()), Ok(())));
}

#[test]
fn connections_use_up_the_descriptors_of_everything_else() {
    const PLACES: usize = 10;
    let directory = process::Directory::new();
    // The soft limit is too low to start with; it is raised.
    let limit = format!("-S -n 20 && ulimit -H -n {}", limit_for(PLACES));
    let lines = "Server_Pool_Tasks=2\nServer_Descriptor_Reserve=16";
    let mut server =
        process::Running::start(&mut serve_within(&limit, &directory, &process::on_free_port(lines)));
    let address: SocketAddr = server.address().parse().unwrap();
    server.line(&format!("{} for this process, room for {PLACES} connections", limit_for(PLACES)));
    let mut clients: Vec<Raw> = (1..PLACES).map(|_| Raw::connect(address)).collect();
    assert_eq!(refused(address), Status::NoDescriptors, "the last place is kept for another");
    server.line("client=127.0.0.1 connections=9 all=9 limit=10 kept_for_others=1");
    let [other, third] = [2, 3].map(|last| Ipv4Addr::new(127, 0, 0, last));
    clients.insert(0, Raw::greet(connect_from(other, address)));
    for _ in 0..20 {
        assert_eq!(refused(address), Status::NoDescriptors);
    }
    let options = ClientOptions::default().retries(0);
    let client = Client::with_options(address, options).unwrap();
    let error = client.call(PING, &()).expect_err("there is no place");
    let ClientError::Unavailable { status, retry_after, .. } = error else { panic!("{error:?}") };
    assert_eq!((status, retry_after), (Status::NoDescriptors, Some(Duration::from_secs(1))));
    all_are_served(&mut clients);
    drop(clients.pop());
    clients.push(taken_in_from(third, address).0);
    assert_eq!(refused(address), Status::NoDescriptors, "only one place was free");
    all_are_served(&mut clients);
    drop(clients);
    server.line("below the connection limit again, ");
    assert_eq!(Raw::connect(address).call::<_, ()>("server.ping", &()), Ok(()));
    assert_eq!(server.stop(), Some(0));
    server.line("Stopped, 0 lost");
    let told = |text: &str| server.lines().iter().filter(|line| line.contains(text)).count();
    assert_eq!((told("further connections"), told("accept failed")), (2, 0));
}

/// Sets the soft limit of another process.
fn limit_descriptors(server: &process::Running, limit: u64) {
    let new = Rlimit { current: Some(limit), maximum: Some(100) };
    prlimit(Some(server.pid()), Resource::Nofile, new).expect("it is our child");
}

/// The lowest number that no descriptor of a process has: its next one would have it.
fn next_descriptor(server: &process::Running) -> u64 {
    let directory = format!("/proc/{}/fd", server.pid().as_raw_nonzero());
    (0..).find(|number| !Path::new(&directory).join(number.to_string()).exists()).expect("they are few")
}

/// The limit is lowered below what the server counts upon, as if handlers had opened too many files.
#[test]
fn a_lack_of_descriptors_ends_the_listener() {
    let directory = process::Directory::new();
    let lines = "Server_Pool_Tasks=2\nServer_Max_Concurrent_Trans=3\nServer_Descriptor_Reserve=16";
    let mut server =
        process::Running::start(&mut serve_within("-n 100", &directory, &process::on_free_port(lines)));
    let address: SocketAddr = server.address().parse().unwrap();
    // The last thing it says before it opens nothing more but connections.
    server.line("throttle_no_effect");
    let mut clients: Vec<Raw> = (0..5).map(|_| Raw::connect(address)).collect();
    limit_descriptors(&server, next_descriptor(&server));
    for _ in 0..20 {
        assert_eq!(refused(address), Status::NoDescriptors, "by means of the spare one");
    }
    server.line("accept failed, retrying");
    all_are_served(&mut clients);
    drop(clients.pop());
    let (client, refused) = taken_in(address);
    clients.push(client);
    // Now not even the spare one is of use: clients wait in the backlog.
    limit_descriptors(&server, 3);
    let begin = Instant::now();
    let mut waiting: Vec<TcpStream> = (0..10).map(|_| connect(address)).collect();
    waiting.iter_mut().for_each(|stream| stream.write_all(&greeting()).unwrap());
    wait_until("they have waited", || {
        all_are_served(&mut clients);
        begin.elapsed() > Duration::from_millis(300)
    });
    limit_descriptors(&server, 100);
    let lack = begin.elapsed();
    clients.extend(waiting.into_iter().map(Raw::hear_welcome));
    all_are_served(&mut clients);
    wait_until("it is over", || {
        std::thread::sleep(Duration::from_millis(20));
        Raw::connect(address);
        server.lines().iter().any(|line| line.contains("accept recovered"))
    });
    let line = server.line("accept recovered");
    let failures: u128 = line.rsplit('=').next().unwrap().parse().expect("a number");
    // Some more were refused while the one descriptor was not yet free. A spin would fail by the ten thousand.
    assert!(
        (20..100 + 2 * refused + lack.as_millis() / 25).contains(&failures),
        "{failures} failures in {lack:?}"
    );
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_server_starts_that_could_take_nobody_in() {
    let directory = process::Directory::new();
    let said = process::run(&mut serve_within("-n 68", &directory, ""));
    let expected = "cannot start: the process may hold 68 descriptors, which leaves none for connections; ";
    assert!(said.code == Some(1) && said.err.starts_with(expected), "{said:?}");
}

#[test]
fn nobody_knows_who_connects_again_and_again() {
    let directory = process::Directory::new();
    for (limit, told) in [(0, "connects=61 within="), (3, "connects=4 within=")] {
        let lines = format!("Server_Pool_Tasks=2\nServer_Max_Connects_Per_Minute={limit}");
        let mut server = process::Running::start(&mut serve_within("-n 200", &directory, &lines));
        let address: SocketAddr = server.address().parse().unwrap();
        for n in 1..=130 {
            let mut stream = connect(address);
            stream.write_all(&greeting()).ok();
            let welcomed = read_frame(&mut stream).expect("an answer").header.kind == FrameKind::Welcome;
            assert_eq!(welcomed, limit == 0 || n <= limit, "connection {n} of {limit}");
        }
        assert_eq!(server.stop(), Some(0));
        server.line("Stopped, 0 lost");
        let lines = server.lines();
        let often: Vec<_> = lines.iter().filter(|line| line.contains("connects too often")).collect();
        assert_eq!(often.len(), 1, "{lines:#?}");
        assert!(often[0].contains(told) && often[0].contains("should keep one connection open"), "{often:?}");
        assert_eq!(often[0].contains("Server_Max_Connects_Per_Minute=3"), limit == 3, "{often:?}");
    }
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
                  process may map (ulimit -v): not all can start; raise that, or lower Server_Thread_Stack_KB or the pools; set \
                  Server_Max_Concurrent_Trans=32, Server_Pool_Tasks=30 and MALLOC_ARENA_MAX=1 in the environment";
    assert_eq!(lines[1..], [advice]);
    for address in [first, second] {
        assert!(TcpStream::connect((address.as_str(), 1352)).is_err(), "nothing listens on {address}");
    }
}

/// Address space is what a new thread's stack needs first. The server has all the threads that it will need.
#[test]
fn the_admin_server_needs_another_thread() {
    let directory = process::Directory::new();
    let lines = "Admin_Address=127.0.0.1:0\nServer_Pool_Tasks=2\nServer_Max_Concurrent_Trans=3";
    let file = directory.file("server.ini", &process::on_free_port(lines));
    // With one arena, what its answers take is there after the first of them.
    let mut serve = process::command(BONEYARD);
    let mut server = process::Running::start(serve.env("MALLOC_ARENA_MAX", "1").arg("serve").arg(file));
    // The last thing it says at its start.
    server.line("throttle_no_effect");
    let line = server.line("Admin server at http://");
    let admin = line.split_once("http://").unwrap().1.trim_end_matches('/').to_owned();
    let address: SocketAddr = server.address().parse().unwrap();
    let ask = |head: &str, body: &str| {
        let mut stream = TcpStream::connect(&admin).unwrap();
        let length = body.len();
        let head = format!(
            "{head} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n"
        );
        stream.write_all(format!("{head}x-boneyard-console: 1\r\n\r\n{body}").as_bytes()).unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).expect("an answer, and then the end");
        said.split(' ').nth(1).and_then(|status| status.parse::<u16>().ok())
    };
    let questions = [("GET /metrics", ""), ("POST /console", "show users"), ("GET /status.json", "")];
    for (head, body) in questions {
        assert_eq!(ask(head, body), Some(200), "{head}");
    }
    let status = format!("/proc/{}/status", server.pid().as_raw_nonzero());
    let status = std::fs::read_to_string(status).unwrap();
    let size = status.lines().find_map(|line| line.strip_prefix("VmSize:")).expect("it has a size");
    let kib: u64 = size.trim().trim_end_matches(" kB").parse().unwrap();
    // Room for answers, not for the 2 MiB of a stack.
    let limit = (kib + 1900) * 1024;
    let new = Rlimit { current: Some(limit), maximum: Some(limit) };
    prlimit(Some(server.pid()), Resource::As, new).expect("it is our child");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for (head, body) in questions {
                    assert_eq!(ask(head, body), Some(200), "{head}");
                }
            });
        }
    });
    let quit = ["console", &admin, "-c", "show server", "-c", "quit"];
    assert_eq!(Raw::connect(address).call::<_, ()>("server.ping", &()), Ok(()));
    let said = process::run(process::command(BONEYARD).args(quit));
    assert!(said.code == Some(0) && said.out.contains("The server is shutting down; "), "{said:?}");
    assert_eq!(server.wait(), Some(0));
    let lines = server.lines();
    assert!(!lines.iter().any(|line| line.contains("panicked")), "{lines:#?}");
}
