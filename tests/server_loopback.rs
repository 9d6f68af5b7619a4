//! A real server on real sockets: calls, refusals, and what must not harm others.
#![cfg(feature = "server")]

mod common;

use boneyard::Method;
use boneyard::service::builtin::Info;
use boneyard::service::{ApplicationError, Bytes, Status};
use common::*;
use std::io::Write;

#[test]
fn every_built_in_method_answers() {
    let server = load_server("");
    let mut client = Raw::connect(server.address());
    let names: Vec<_> = client.welcome.methods.iter().map(|entry| entry.name.clone()).collect();
    let expected = [
        "load.block",
        "load.echo",
        "load.sleep",
        "load.spin",
        "server.echo",
        "server.errors",
        "server.info",
        "server.methods",
        "server.ping",
        "server.schema",
        "session.attach",
        "session.close",
        "session.open",
    ];
    assert_eq!(names, expected);
    assert_eq!(client.call::<_, ()>("server.ping", &()), Ok(()));
    let bytes = Bytes::from(vec![7; 300_000]);
    assert_eq!(client.call("server.echo", &bytes), Ok(bytes.clone()));
    assert_eq!(client.call("load.echo", &bytes), Ok(bytes));
    assert!(client.call::<_, u64>("load.spin", &50u64).unwrap() >= 50);
    assert_eq!(client.call::<_, ()>("load.sleep", &1u64), Ok(()));
    assert_eq!(client.call::<_, ()>("load.block", &1u64), Ok(()));
    assert_eq!(client.call::<_, Vec<String>>("server.methods", &()).unwrap(), names);
    let mut info: Info = client.call("server.info", &()).unwrap();
    // The call before counts as in flight until its reply is out, which this client may see a little earlier.
    wait_until("only the asking call is in flight", || {
        info = client.call("server.info", &()).unwrap();
        info.in_flight == 1
    });
    assert_eq!((info.max_concurrent_trans, info.ports[0].workers), (40, 40));
    assert_eq!(info.ports[0].address, server.address().to_string());
}

#[test]
fn a_stop_with_nothing_in_flight_loses_nothing() {
    let server = load_server("");
    let mut client = Raw::connect(server.address());
    client.call::<_, ()>("server.ping", &()).unwrap();
    let stopped = server.stop();
    assert_eq!(stopped.lost(), 0);
    let goodbye = client.read().expect("a GoAway");
    assert_eq!(goodbye.header.code, Status::Draining.code());
    assert!(client.read().is_none(), "and then the connection is closed");
}

#[test]
fn a_panicking_handler_answers_and_its_worker_goes_on() {
    const PANIC: Method<u32, u32> = Method::new("test.panic");
    let server = server("Server_Pool_Tasks=1\nServer_Max_Concurrent_Trans=1").handle(PANIC, |_, n| {
        assert!(n % 2 == 0, "odd");
        Ok(n)
    });
    let server = server.start().unwrap();
    let mut client = Raw::connect(server.address());
    for n in 0..50u32 {
        match client.call::<_, u32>("test.panic", &n) {
            Ok(same) => assert_eq!((same, n % 2), (n, 0)),
            Err((status, _)) => assert_eq!((status, n % 2), (Status::Panicked, 1)),
        }
    }
    assert_eq!(server.ports()[0].stats().answered(Status::Panicked), 25);
}

#[test]
fn pipelined_calls_are_each_answered_once() {
    const ODD: Method<u64, u64> = Method::new("test.odd");
    let server = server("").handle(ODD, |_, n| {
        if n % 2 == 1 { Ok(n) } else { Err(ApplicationError::new(n as u32, "even").into()) }
    });
    let server = server.start().unwrap();
    let mut client = Raw::connect(server.address());
    let mut out = Vec::new();
    let ids: Vec<u64> = (0..5000u64)
        .map(|n| {
            let (id, frame) = client.frame("test.odd", &n, 0);
            out.extend(frame);
            id
        })
        .collect();
    let mut writer = client.stream.try_clone().unwrap();
    let sender = std::thread::spawn(move || writer.write_all(&out).unwrap());
    let mut seen = std::collections::HashSet::new();
    for _ in &ids {
        let frame = client.read().expect("a reply");
        assert!(seen.insert(frame.header.call), "answered twice");
        let n = frame.header.call - 1;
        match frame.result::<u64>() {
            Ok(same) => assert_eq!((same, n % 2), (n, 1)),
            Err((status, fault)) => {
                assert_eq!((status, u64::from(fault.code), n % 2), (Status::Application, n, 0))
            }
        }
    }
    sender.join().unwrap();
    wait_until("nothing is in flight", || server.in_flight() == 0);
}

#[test]
fn a_peer_that_calls_without_end_waits_in_its_own_socket() {
    let server = load_server("");
    let mut raw = Raw::connect(server.address());
    let chunk: Vec<u8> = (0..4000).flat_map(|_| raw.frame("load.sleep", &600_000u64, 1000).1).collect();
    // So long that a listener which still reads has emptied the socket meanwhile.
    raw.stream.set_write_timeout(Some(std::time::Duration::from_millis(300))).unwrap();
    let (mut written, bound) = (0, 64 << 20);
    while written < bound {
        // A steady peer rather than a fast one: each piece finds the socket empty and rings the poll anew.
        std::thread::sleep(std::time::Duration::from_micros(200));
        match raw.stream.write(&chunk) {
            Ok(bytes) => written += bytes,
            Err(_) => break,
        }
    }
    assert!(written < bound, "the server takes calls without end");
    server.stop_within(std::time::Duration::ZERO);
}
