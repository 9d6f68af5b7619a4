//! What a busy server refuses, and when, on real servers. How long queues are is arranged with gates, not with time.
#![cfg(feature = "server")]

mod common;

use boneyard::server::RunningServer;
use boneyard::service::Status;
use boneyard::{Method, Server};
use common::gate::Gate;
use common::logged::Lines;
use common::{Raw, connect, greeting, server, wait_until};
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

/// Runs for so many milliseconds.
const RUN: Method<u64, ()> = Method::new("test.run");
/// Waits at the gate.
const HOLD: Method<(), ()> = Method::new("test.hold");

fn start(lines: &str) -> (RunningServer, Arc<Gate>) {
    let gate = Arc::<Gate>::default();
    let hold = Arc::clone(&gate);
    let server: Server = server(lines)
        .handle(RUN, |_, ms| {
            std::thread::sleep(Duration::from_millis(ms));
            Ok(())
        })
        .handle(HOLD, move |_, ()| {
            hold.pass();
            Ok(())
        });
    (server.start().unwrap(), gate)
}

/// One worker, which is known to need about 20 ms for [`RUN`], is held; five calls of it wait. And how many
/// milliseconds it was at most.
fn a_queue_of_five(lines: &str) -> (RunningServer, Arc<Gate>, Raw, u32) {
    let (server, gate) = start(&format!("Server_Pool_Tasks=1\nServer_Max_Concurrent_Trans=1\n{lines}"));
    let mut client = Raw::connect(server.address());
    let mut longest_ms = 0;
    for _ in 0..3 {
        client.send("test.run", &20u64);
        let reply = client.read().expect("a reply");
        assert_eq!(reply.status(), Status::Ok);
        longest_ms = longest_ms.max(reply.times().run_us / 1000);
    }
    client.send("test.hold", &());
    wait_until("the worker is held", || gate.inside() == 1);
    for _ in 0..5 {
        client.send("test.run", &20u64);
    }
    wait_until("they wait", || server.ports()[0].stats().calls.get() == 9);
    (server, gate, client, longest_ms)
}

#[test]
fn a_call_that_would_be_late_is_told_so_at_once() {
    let (server, gate, mut client, longest_ms) = a_queue_of_five("");
    let mut other = Raw::connect(server.address());
    // Of one connection with a hundred milliseconds of work a call of another waits for one turn.
    let (soon, frame) = client.frame("test.run", &0u64, 60);
    client.stream.write_all(&frame).unwrap();
    let told = client.read().unwrap();
    assert_eq!((told.header.call, told.status()), (soon, Status::WouldBeLate));
    let fault = told.result::<()>().unwrap_err().1;
    let about = 80..50 * longest_ms;
    assert!(about.contains(&fault.retry_after_ms), "the length of the queue is {about:?}: {fault:?}");
    let frames = [(60_000, &mut client), (60_000, &mut other)].map(|(ms, from)| {
        let (_, frame) = from.frame("test.run", &0u64, ms);
        from.stream.write_all(&frame).unwrap();
    });
    assert_eq!(frames.len(), 2);
    wait_until("those that have the time wait", || server.in_flight() == 8);
    gate.open();
    for _ in 0..7 {
        assert_eq!(client.read().unwrap().status(), Status::Ok);
    }
    assert_eq!(other.read().unwrap().status(), Status::Ok);
    assert_eq!(server.ports()[0].stats().answered(Status::WouldBeLate), 1);
}

#[test]
fn where_nobody_waits_nobody_is_refused_for_a_forecast() {
    let (server, _) = start("Server_Pool_Tasks=2");
    let mut client = Raw::connect(server.address());
    for _ in 0..3 {
        client.call::<_, ()>("test.run", &20u64).unwrap();
    }
    // It usually takes longer than this deadline; but it may be quick this time, and it need not wait.
    let (_, frame) = client.frame("test.run", &0u64, 10);
    client.stream.write_all(&frame).unwrap();
    assert_ne!(client.read().unwrap().status(), Status::WouldBeLate);
}

#[test]
fn a_session_may_have_so_many_calls_out_and_no_more() {
    let (server, gate) = start("Server_Pool_Tasks=2\nServer_Session_Calls=3");
    let (mut greedy, mut modest) = (Raw::connect(server.address()), Raw::connect(server.address()));
    for _ in 0..5 {
        greedy.send("test.hold", &());
    }
    for _ in 0..2 {
        let told = greedy.read().unwrap();
        assert_eq!(told.status(), Status::SessionLimit);
        assert!(told.result::<()>().unwrap_err().1.retry_after_ms > 0);
    }
    modest.send("test.hold", &());
    wait_until("both workers are held", || gate.inside() == 2);
    gate.open();
    assert_eq!(modest.read().unwrap().status(), Status::Ok, "the limit is each session's own");
    for _ in 0..3 {
        assert_eq!(greedy.read().unwrap().status(), Status::Ok);
    }
    greedy.call::<_, ()>("test.run", &0u64).expect("there is room again");
    assert_eq!(server.ports()[0].stats().answered(Status::SessionLimit), 2);
}

/// A hundred calls of 2 ms on ten connections to one worker: how many were refused as Overloaded, and run although
/// they were late.
fn standing_queue(lines: &str) -> (u64, u64) {
    let codel = "Server_CoDel_Interval=10";
    let (server, _) = start(&format!("Server_Pool_Tasks=1\n{codel}\n{lines}"));
    let mut clients: Vec<_> = (0..10).map(|_| Raw::connect(server.address())).collect();
    for client in &mut clients {
        let calls: Vec<u8> = (0..10).flat_map(|_| client.frame("test.run", &2u64, 0).1).collect();
        client.stream.write_all(&calls).unwrap();
    }
    let mut refused = 0;
    for client in &mut clients {
        for _ in 0..10 {
            let frame = client.read().unwrap();
            assert!(matches!(frame.status(), Status::Ok | Status::Overloaded));
            refused += u64::from(frame.status() == Status::Overloaded);
        }
    }
    let stats = server.ports()[0].stats();
    assert_eq!((stats.answered(Status::Overloaded), stats.calls.get()), (refused, 100));
    (refused, stats.would_refuse.get())
}

#[test]
fn codel_refuses_observes_or_is_off() {
    let (refused, would) = standing_queue("Server_CoDel_Target=1\nServer_CoDel_Mode=refuse");
    assert!(refused > 0 && would == 0, "{refused} refused, {would} counted");
    let (refused, would) = standing_queue("Server_CoDel_Target=1\nServer_CoDel_Mode=observe");
    assert!(refused == 0 && (1..100).contains(&would), "{refused} refused, {would} counted");
    assert_eq!(standing_queue("Server_CoDel_Target=0\nServer_CoDel_Mode=refuse"), (0, 0));
}

#[test]
fn a_long_transaction_is_told_of_once() {
    let lines = Lines::collect();
    let (server, gate) = start("Server_Pool_Tasks=2\nServer_Long_Transaction=1");
    let mut client = Raw::connect(server.address());
    client.send("test.hold", &());
    let stats = server.ports()[0].stats();
    wait_until("it is told of", || stats.long_transactions.get() == 1);
    // A second long one: by the time it is told of, the first was looked at again and again.
    client.send("test.hold", &());
    wait_until("the other is told of", || stats.long_transactions.get() == 2);
    gate.open();
    let peer = client.stream.local_addr().unwrap();
    let told = lines.with("test.hold");
    assert_eq!(told.len(), 2, "{told:?}");
    let parts = [
        "port TCPIP: test.hold of ",
        &peer.to_string(),
        "has run for ",
        "on worker ",
        "Server_Long_Transaction=1",
    ];
    assert!(parts.iter().all(|part| told[0].contains(part)), "{told:?}");
}

#[test]
fn a_flood_of_refusals_leaves_the_greeting_alone() {
    let (server, gate) = start("Server_Pool_Tasks=1\nServer_Queue_Limit=1");
    let mut client = Raw::connect(server.address());
    client.send("test.hold", &());
    wait_until("the worker is held", || gate.inside() == 1);
    client.send("test.hold", &());
    let refused = 500;
    for _ in 0..refused {
        client.send("test.hold", &());
    }
    let mut late = connect(server.address());
    late.write_all(&greeting()).unwrap();
    assert!(common::read_frame(&mut late).is_some(), "welcome");
    for _ in 0..refused {
        assert_eq!(client.read().unwrap().status(), Status::QueueFull);
    }
    gate.open();
    assert_eq!(server.ports()[0].stats().answered(Status::QueueFull), refused);
}
