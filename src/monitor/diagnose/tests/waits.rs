//! Calls that wait for one another, callers that hold others up, and what closes connections: by what is seen of
//! threads, callers and closes.

use super::*;
use crate::monitor::ThreadState;
use std::time::Duration;

const FEW: &str = "Server_Pool_Tasks=10\nServer_Max_Concurrent_Trans=40\n";

fn method() -> Cause {
    Cause::Method { port: "TCPIP".to_owned(), method: "note.write".to_owned() }
}

/// Ten workers in one method whose run times vary, with threads in these states; thirty calls wait.
fn port(threads: [ThreadState; 10]) -> Port {
    let threads = threads.map(|thread| ("note.write", thread)).into();
    Port { busy: 10, waiting: 30, threads, ..Port::of(10) }.runs("note.write", 50, 0.15, 0.12).runs(
        "note.write",
        50,
        0.15,
        0.08,
    )
}

fn at(address: u64) -> ThreadState {
    ThreadState::Lock { address }
}

#[test]
fn threads_at_one_lock_are_a_line_that_more_workers_make_longer() {
    let threads = std::array::from_fn(|worker| if worker == 0 { ThreadState::Sleep } else { at(7) });
    let verdict = verdict_after(FEW, &second(vec![port(threads)]));
    assert_eq!(
        (&verdict.cause, verdict.lines.len(), verdict.gain),
        (&method(), 0, Some(1.0)),
        "{verdict:#?}"
    );
    assert!(verdict.because.iter().any(|because| because.contains(", 9 waited at one lock")), "{verdict:#?}");
}

#[test]
fn threads_that_wait_for_others_at_addresses_of_their_own_are_a_line_too() {
    let threads =
        std::array::from_fn(|worker| if worker < 3 { ThreadState::Socket } else { at(worker as u64) });
    let verdict = verdict_after(FEW, &second(vec![port(threads)]));
    assert_eq!((&verdict.cause, verdict.lines.len()), (&method(), 0), "{verdict:#?}");
    assert!(
        verdict.because.iter().any(|because| because.contains("wait for another thread")),
        "{verdict:#?}"
    );
}

#[test]
fn calls_stuck_inside_are_named_although_nothing_waits_for_the_server() {
    let threads = std::array::from_fn(|worker| if worker == 0 { ThreadState::Sleep } else { at(7) });
    let inside = Port { waiting: 0, ..port(threads) };
    let inside = Port { calls: vec![("note.write", 100, 0.0, 0.1)], ..inside };
    assert_eq!(verdict_after(FEW, &second(vec![inside.clone()])).cause, method());
    let asleep = Port { threads: Vec::new(), ..inside };
    assert_eq!(verdict_after(FEW, &second(vec![asleep])).cause, Cause::Nothing, "they only take that long");
}

#[test]
fn what_is_outside_and_was_seen_at_one_level_alone_is_not_promised() {
    // Some are short by themselves, so the first calls say nothing.
    let calls = vec![("note.write", 20, 0.15, 0.001), ("note.write", 80, 0.15, 0.125)];
    let some_short = Port { calls, ..port([ThreadState::Socket; 10]) };
    let verdict = verdict_after(FEW, &second(vec![some_short]));
    assert_eq!(verdict.cause, Cause::Pool { port: "TCPIP".to_owned() }, "{verdict:#?}");
    assert_eq!((verdict.lines.len(), verdict.gain), (0, None), "{verdict:#?}");
    assert!(verdict.expected.contains("cannot be told from here"), "{verdict:#?}");
    // All run as long as the first: more is tried, in a smaller step.
    let verdict = verdict_after(FEW, &second(vec![port([ThreadState::Socket; 10])]));
    assert_eq!(verdict.lines, ["TCPIP_Pool_Tasks=20"], "{verdict:#?}");
}

#[test]
fn one_connection_among_others_of_its_address_is_named() {
    let mut connections = vec![connection("192.0.2.1", 1); 10];
    connections.push(connection("192.0.2.1", 500));
    for (port, connection) in (6000..).zip(&mut connections) {
        connection.peer.set_port(port);
    }
    let asleep = || Port { busy: 10, waiting: 500, ..Port::of(10) }.runs("disk.read", 200, 2.5, 0.05);
    let verdict = verdict_after(FEW, &Second { connections, ..second(vec![asleep()]) });
    assert_eq!(verdict.cause, Cause::Client { peer: "192.0.2.1:6010".to_owned() }, "{verdict:#?}");
    assert_eq!(verdict.lines, ["Server_Session_Calls=5"]);
    // Several connections of one client among others.
    let mut connections = vec![connection("192.0.2.1", 125); 4];
    connections.push(connection("192.0.2.2", 1));
    let verdict = verdict_after(FEW, &Second { connections, ..second(vec![asleep()]) });
    assert_eq!(verdict.cause, Cause::Client { peer: "192.0.2.1".to_owned() }, "{verdict:#?}");
    assert_eq!(verdict.lines, ["Server_Client_Calls=5"]);
}

#[test]
fn a_client_that_keeps_its_connections_is_not_told_to_connect_less_often() {
    let limit = |age| {
        let mut connections = vec![connection("192.0.2.1", 1); 100];
        connections.iter_mut().for_each(|connection| connection.age = Duration::from_secs(age));
        connections.push(connection("192.0.2.2", 1));
        let asleep = Port { busy: 10, waiting: 90, ..Port::of(10) }.runs("disk.read", 200, 0.5, 0.05);
        verdict_after(FEW, &Second { connections, ..second(vec![asleep]) }).lines
    };
    assert_eq!(limit(30), Vec::<String>::new(), "it came half a minute ago, and stays");
    assert_eq!(limit(2), ["Server_Max_Connects_Per_Minute=600"], "nearly all of its connections are new");
}

#[test]
fn memory_is_advised_for_each_client_whose_connection_is_closed_for_the_lack_of_it() {
    // 20 calls fill the memory, and 100 connections are open.
    let port = Port { busy: 10, waiting: 10, closed_for_buffers: 15, ..Port::of(10) }.runs(
        "note.write",
        50,
        0.2,
        0.2,
    );
    let verdict = verdict_after("Server_Buffer_Memory_MB=16\n", &second(vec![port]));
    assert_eq!(verdict.cause, Cause::Buffers, "{verdict:#?}");
    assert_eq!(verdict.headline, "The memory for messages is full: connections are closed.");
    assert_eq!(verdict.lines, ["Server_Buffer_Memory_MB=100"]);
}

#[test]
fn ports_that_are_equally_full_get_a_line_each() {
    let ini = "Ports=TCPIP,LAN2\nLAN2_TCPIPAddress=127.0.0.1:2\nServer_Pool_Tasks=10\nServer_Max_Concurrent_Trans=80\n";
    let full = || Port { busy: 10, waiting: 20, ..Port::of(10) }.runs("disk.read", 200, 0.1, 0.05);
    let verdict = verdict_after(ini, &Second { out: 20, ..second(vec![full(), full()]) });
    assert_eq!(verdict.lines, ["TCPIP_Pool_Tasks=40", "LAN2_Pool_Tasks=40"], "{verdict:#?}");
    let gain = verdict.gain.expect("handlers sleep");
    assert!((2.7..=3.1).contains(&gain), "{gain}");
}

#[test]
fn calls_that_last_longer_than_a_look_keep_their_workers_busy() {
    let mut script = SnapshotScript::new("Server_Pool_Tasks=8\nServer_Max_Concurrent_Trans=40\n");
    let mut diagnoser = Diagnoser::new(None);
    // Six workers hold calls of which none ends; the two others serve the rest.
    let port =
        || Port { busy: 8, waiting: 28, endless: 6, ..Port::of(8) }.runs("note.read", 2_000, 0.014, 0.001);
    (0..14).for_each(|_| drop(script.sample(&mut diagnoser, &second(vec![port()]))));
    let verdict = diagnoser.verdict();
    let method = Cause::Method { port: "TCPIP".to_owned(), method: "stuck.call".to_owned() };
    assert_eq!(
        (&verdict.cause, verdict.lines.as_slice()),
        (&method, &["TCPIP_Pool_Tasks=32".to_owned()][..])
    );
    let gain = verdict.gain.expect("handlers sleep");
    assert!((12.0..14.0).contains(&gain), "{verdict:#?}");
}
