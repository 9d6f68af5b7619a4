//! The limits mean exactly what they say, on a real server: permits, queue, deadlines, cancels, stops.
//!
//! Handlers wait at a gate and count themselves, so nothing here depends on how fast the machine is.
#![cfg(feature = "server")]

mod common;

use boneyard::Method;
use boneyard::config::ListenAddress;
use boneyard::internal::metrics::CloseReason;
use boneyard::internal::wire::FrameKind;
use boneyard::server::{RunningServer, Server, StartError};
use boneyard::service::{ApplicationError, Status};
use common::gate::{Gate, thread_names};
use common::*;
use std::io::Write;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Waits at the gate if the argument is not 0.
const WAIT: Method<u32, u32> = Method::new("test.wait");
/// Sleeps so many milliseconds.
const SLOW: Method<u64, ()> = Method::new("test.slow");
/// Counts itself and returns.
const COUNT: Method<(), ()> = Method::new("test.count");
/// Unwinds, without the noise of a panic's message.
const UNWIND: Method<(), ()> = Method::new("test.unwind");

/// A server with the four methods; the gates count the waiting and the counting ones.
fn with_gates(lines: &str, gate: &Arc<Gate>, counted: &Arc<Gate>) -> Server {
    let (gate, counted, slow) = (Arc::clone(gate), Arc::clone(counted), Arc::clone(counted));
    server(lines)
        .handle(WAIT, move |_, n| {
            if n > 0 {
                gate.pass();
            }
            Ok(n)
        })
        .handle(SLOW, move |_, ms| {
            slow.enter();
            std::thread::sleep(Duration::from_millis(ms));
            slow.leave();
            Ok(())
        })
        .handle(COUNT, move |_, ()| {
            counted.enter();
            counted.leave();
            Ok(())
        })
        .handle(UNWIND, |_, ()| std::panic::resume_unwind(Box::new("on purpose")))
}

fn start(lines: &str) -> (RunningServer, Arc<Gate>, Arc<Gate>) {
    let (gate, counted) = (Arc::<Gate>::default(), Arc::<Gate>::default());
    let server = with_gates(lines, &gate, &counted).start().unwrap();
    (server, gate, counted)
}

fn cancel(client: &mut Raw, call: u64) {
    client.stream.write_all(&frame(FrameKind::Cancel, 0, call, b"")).unwrap();
}

#[test]
fn a_lone_call_wakes_one_worker() {
    let (server, ..) = start("");
    let mut client = Raw::connect(server.address());
    let mut alone = 0;
    for _ in 0..100 {
        wait_for_permits(&server);
        let info: boneyard::service::builtin::Info = client.call("server.info", &()).unwrap();
        alone += u32::from(info.permits_out == 1);
    }
    // On a busy machine a worker may be so long in coming that the listener looks for another.
    assert!(alone > 50, "{} of 100 calls woke more workers than one", 100 - alone);
}

#[test]
fn an_expired_call_is_answered_without_being_run() {
    let (server, gate, counted) = start("Server_Pool_Tasks=1\nServer_Max_Concurrent_Trans=1");
    let mut client = Raw::connect(server.address());
    client.send("test.wait", &1u32);
    wait_until("the worker is busy", || gate.inside() == 1);
    let mut deadlines = std::collections::HashMap::new();
    for ms in [1, 600_000, 0, 2] {
        let (id, frame) = client.frame("test.count", &(), ms);
        client.stream.write_all(&frame).unwrap();
        deadlines.insert(id, ms);
    }
    let stats = server.ports()[0].stats();
    wait_until("all are admitted", || stats.calls.get() == 5);
    let read = Instant::now();
    wait_until("the short deadlines are past", || read.elapsed() > Duration::from_millis(5));
    gate.open();
    assert_eq!(client.read().unwrap().result::<u32>(), Ok(1), "what runs is not interrupted");
    for _ in 0..4 {
        let frame = client.read().unwrap();
        let expired = (1..=2).contains(&deadlines[&frame.header.call]);
        let expected = if expired { Status::DeadlineExceeded } else { Status::Ok };
        assert_eq!(frame.status(), expected);
        assert!(!expired || (frame.times().run_us == 0 && frame.times().queue_wait_us > 0));
    }
    assert_eq!((counted.entered(), stats.answered(Status::DeadlineExceeded)), (2, 2));
}

#[test]
fn exactly_what_exceeds_the_queue_is_refused() {
    for reloadable in [false, true] {
        let (server, gate, _) =
            start("Server_Queue_Limit=5\nServer_Pool_Tasks=1\nServer_Max_Concurrent_Trans=1");
        let mut client = Raw::connect(server.address());
        client.send("test.wait", &1u32);
        wait_until("the worker is busy", || gate.inside() == 1);
        let frames: Vec<Vec<u8>> = (0..12).map(|_| client.frame("test.wait", &1u32, 0).1).collect();
        let frames = if reloadable { vec![frames.concat()] } else { frames };
        for bytes in frames {
            client.stream.write_all(&bytes).unwrap();
        }
        for id in 7..=13 {
            let frame = client.read().expect("a refusal");
            assert_eq!((frame.header.call, frame.status()), (id, Status::QueueFull));
        }
        let port = &server.ports()[0];
        // Refusals are sent before the calls of the same read are queued.
        wait_until("five wait and one runs", || (port.queued(), port.in_flight()) == (5, 6));
        // A queue that is full has no room for others either, but one call for who has none there.
        let mut other = Raw::connect(server.address());
        let ping = other.send("server.ping", &());
        let frame = client.read().expect("a refusal");
        assert_eq!((frame.header.call, frame.status()), (6, Status::QueueFull), "the youngest");
        wait_until("five wait and one runs", || (port.queued(), port.in_flight()) == (5, 6));
        gate.open();
        // In any order: what a worker gives back of a burst goes behind what came after it.
        let mut admitted: Vec<u64> = (1..=5).collect();
        for _ in 1..=5 {
            let frame = client.read().expect("a reply");
            assert_eq!(frame.status(), Status::Ok);
            admitted.retain(|id| *id != frame.header.call);
        }
        assert!(admitted.is_empty(), "each once");
        let frame = other.read().expect("a reply");
        assert_eq!((frame.header.call, frame.status()), (ping, Status::Ok));
        assert_eq!(other.call::<_, ()>("server.ping", &()), Ok(()));
        assert_eq!((port.stats().answered(Status::QueueFull), port.stats().displaced.get()), (8, 1));
        assert_eq!(gate.entered(), 5);
    }
}

#[test]
fn a_session_may_have_as_many_calls_out_as_its_limit_again_and_again_and_not_one_more() {
    const LIMIT: usize = 4;
    let (server, gate, _) =
        start("Server_Session_Calls=4\nServer_Pool_Tasks=5\nServer_Max_Concurrent_Trans=5");
    let mut client = Raw::connect(server.address());
    (0..LIMIT).for_each(|_| assert!(client.send("test.wait", &1u32) > 0));
    wait_until("the limit is reached", || gate.inside() == LIMIT);
    assert_eq!(client.call::<_, u32>("test.wait", &0u32).unwrap_err().0, Status::SessionLimit);
    let mut other = Raw::connect(server.address());
    assert_eq!(other.call::<_, u32>("test.wait", &0u32), Ok(0), "another session has its own");
    gate.open();
    for _ in 0..3_000 {
        assert_eq!(client.read().expect("a reply").status(), Status::Ok);
        client.send("test.wait", &0u32);
    }
    (0..LIMIT).for_each(|_| assert_eq!(client.read().expect("a reply").status(), Status::Ok));
    assert_eq!(server.ports()[0].stats().answered(Status::SessionLimit), 1);
}

#[test]
fn a_cancelled_call_is_dropped_from_the_queue_and_a_running_one_is_told() {
    const ASK: Method<(), bool> = Method::new("test.ask");
    let (gate, counted) = (Arc::<Gate>::default(), Arc::<Gate>::default());
    let server = with_gates("Server_Pool_Tasks=1\nServer_Max_Concurrent_Trans=1", &gate, &counted);
    let inside = Arc::clone(&counted);
    let server = server.handle(ASK, move |transaction, ()| {
        inside.enter();
        let deadline = Instant::now() + PATIENCE;
        while !transaction.cancelled() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        inside.leave();
        Ok(transaction.cancelled())
    });
    let server = server.start().unwrap();
    let mut client = Raw::connect(server.address());
    let asking = client.send("test.ask", &());
    wait_until("the handler runs", || counted.inside() == 1);
    let dropped = client.send("test.count", &());
    let kept = client.send("test.wait", &0u32);
    cancel(&mut client, dropped);
    cancel(&mut client, asking);
    let answers: Vec<_> = (0..3).map(|_| client.read().expect("a reply")).collect();
    let find = |id| answers.iter().find(|frame| frame.header.call == id).expect("one answer each");
    assert_eq!(find(asking).result::<bool>(), Ok(true));
    assert_eq!(find(dropped).status(), Status::Cancelled);
    assert_eq!(find(kept).result::<u32>(), Ok(0));
    assert_eq!(counted.entered(), 1, "the dropped call was never run");
    assert_eq!(server.ports()[0].stats().cancels.get(), 2);
    cancel(&mut client, 999);
    assert_eq!(client.call::<_, u32>("test.wait", &0u32), Ok(0), "a cancel of no call does nothing");
}

#[test]
fn a_slow_call_holds_back_no_other_of_its_connection() {
    for (method, learned) in
        [("test.count", false), ("test.wait", false), ("test.count", true), ("test.wait", true)]
    {
        let (server, gate, _) = start("Server_Pool_Tasks=2\nServer_Max_Concurrent_Trans=2");
        let mut client = Raw::connect(server.address());
        if learned {
            // So that the server takes the method for a short one, and the slow call comes as a surprise.
            for _ in 0..300 {
                assert_eq!(client.call::<_, u32>("test.wait", &0u32), Ok(0));
            }
        }
        let short = |client: &mut Raw| match method {
            "test.count" => client.frame(method, &(), 0).1,
            _ => client.frame(method, &0u32, 0).1,
        };
        let mut bytes: Vec<u8> = (0..10).flat_map(|_| short(&mut client)).collect();
        let (slow, frame) = client.frame("test.wait", &1u32, 0);
        bytes.extend(frame);
        bytes.extend((0..100).flat_map(|_| short(&mut client)).collect::<Vec<_>>());
        client.stream.write_all(&bytes).unwrap();
        for _ in 0..110 {
            let frame = client.read().expect("a reply");
            assert_ne!(frame.header.call, slow);
            assert_eq!(frame.status(), Status::Ok);
        }
        // All short calls came past the slow one, which a worker has begun or soon will.
        wait_until("the slow call runs", || gate.inside() == 1);
        gate.open();
        assert_eq!(client.read().expect("a reply").header.call, slow);
    }
}

#[test]
fn the_first_call_of_a_burst_holds_back_no_other_while_it_waits() {
    let (server, gate, _) = start("Server_Pool_Tasks=4\nServer_Max_Concurrent_Trans=4");
    let mut client = Raw::connect(server.address());
    let (slow, mut bytes) = client.frame("test.wait", &1u32, 0);
    bytes.extend((0..100).flat_map(|_| client.frame("test.wait", &0u32, 0).1).collect::<Vec<_>>());
    client.stream.write_all(&bytes).unwrap();
    for _ in 0..100 {
        let frame = client.read().expect("a reply");
        assert_ne!(frame.header.call, slow);
        assert_eq!(frame.status(), Status::Ok);
    }
    gate.open();
    assert_eq!(client.read().expect("a reply").header.call, slow);
}

#[test]
fn panics_by_the_hundred_leave_all_permits_home() {
    let (server, ..) = start("Server_Pool_Tasks=6\nServer_Max_Concurrent_Trans=3");
    let mut clients: Vec<Raw> = (0..4).map(|_| Raw::connect(server.address())).collect();
    for client in &mut clients {
        let bytes: Vec<u8> = (0..100).flat_map(|_| client.frame("test.unwind", &(), 0).1).collect();
        client.stream.write_all(&bytes).unwrap();
    }
    for client in &mut clients {
        for _ in 0..100 {
            assert_eq!(client.read().expect("a reply").status(), Status::Panicked);
        }
    }
    wait_for_permits(&server);
    assert_eq!(server.ports()[0].stats().answered(Status::Panicked), 400);
    assert_eq!(clients[0].call::<_, u32>("test.wait", &0u32), Ok(0));
    assert!(server.permits_peak() <= 3);
    assert_eq!(server.stop().lost(), 0);
}

#[test]
fn clients_that_vanish_in_a_call_leave_all_permits_home_and_their_queue_unrun() {
    let (server, gate, counted) = start("Server_Pool_Tasks=3\nServer_Max_Concurrent_Trans=3");
    let stats = server.ports()[0].stats();
    let mut busy = Raw::connect(server.address());
    for _ in 0..3 {
        busy.send("test.wait", &1u32);
    }
    wait_until("all workers are busy", || gate.inside() == 3);
    for _ in 0..50 {
        let mut client = Raw::connect(server.address());
        client.send("test.count", &());
        client.send("test.count", &());
    }
    wait_until("all have come and gone", || stats.calls.get() == 103 && stats.open() == 1);
    drop(busy);
    wait_until("the busy one too", || stats.open() == 0);
    gate.open();
    wait_for_permits(&server);
    assert_eq!((counted.entered(), stats.answered(Status::Cancelled)), (0, 100), "nobody waits for these");
    assert_eq!(stats.closed_for(CloseReason::PeerClosed), 51);
    let mut client = Raw::connect(server.address());
    assert_eq!(client.call::<_, ()>("test.count", &()), Ok(()));
}

#[test]
fn a_stop_finishes_what_runs_and_what_waits() {
    let (server, gate, _) = start("Server_Pool_Tasks=2\nServer_Max_Concurrent_Trans=2");
    let mut client = Raw::connect(server.address());
    let mut ids: Vec<u64> = (0..10).map(|_| client.send("test.wait", &1u32)).collect();
    wait_until("two run and eight wait", || gate.inside() == 2 && server.ports()[0].queued() == 8);
    let address = server.address();
    let stopping = std::thread::spawn(move || server.stop());
    let goodbye = client.read().expect("a GoAway");
    assert_eq!((goodbye.header.kind, goodbye.status()), (FrameKind::GoAway, Status::Draining));
    let late = client.send("test.wait", &1u32);
    let refused = client.read().expect("a refusal");
    assert_eq!((refused.header.call, refused.status()), (late, Status::Draining));
    wait_until("nobody is let in", || std::net::TcpStream::connect(address).is_err());
    assert!(!stopping.is_finished(), "it waits for what was admitted");
    gate.open();
    for _ in 0..10 {
        let frame = client.read().expect("a reply");
        assert_eq!(frame.status(), Status::Ok);
        ids.retain(|id| *id != frame.header.call);
    }
    assert!(ids.is_empty(), "each once");
    assert!(client.read().is_none(), "and then the end");
    assert_eq!(stopping.join().unwrap().lost(), 0);
}

#[test]
fn a_stop_without_patience_says_what_it_left_behind() {
    let (server, gate, counted) = start("Server_Pool_Tasks=2\nServer_Max_Concurrent_Trans=2");
    let mut client = Raw::connect(server.address());
    client.send("test.wait", &1u32);
    wait_until("a handler is stuck", || gate.inside() == 1);
    let stopped = server.stop_within(Duration::ZERO);
    assert_eq!((stopped.unfinished, stopped.refused, stopped.lost()), (1, 0, 1));
    assert_eq!(client.read().expect("a GoAway").status(), Status::Draining);
    assert!(client.read().is_none(), "the connection does not outlive the server");
    gate.open();
    wait_until("the handler ends all the same", || gate.inside() == 0);
    assert_eq!(counted.entered(), 0);
}

#[test]
fn a_stop_refuses_what_waits_behind_handlers_that_do_not_end() {
    let (server, gate, counted) = start("Server_Pool_Tasks=1\nServer_Max_Concurrent_Trans=1");
    let mut client = Raw::connect(server.address());
    let stuck = client.send("test.wait", &1u32);
    wait_until("the only worker is stuck", || gate.inside() == 1);
    let mut waiting: Vec<u64> = (0..5).map(|_| client.send("test.count", &())).collect();
    wait_until("five wait", || server.ports()[0].queued() == 5);
    let stopped = server.stop_within(Duration::from_millis(20));
    assert_eq!((stopped.refused, stopped.unfinished), (5, 1));
    assert_eq!(client.read().expect("a GoAway").header.kind, FrameKind::GoAway);
    while let Some(reply) = client.read() {
        assert_eq!(reply.status(), Status::Draining);
        assert_ne!(reply.header.call, stuck);
        waiting.retain(|id| *id != reply.header.call);
    }
    assert_eq!(waiting, [0; 0], "each is told");
    gate.open();
    wait_until("the handler ends all the same", || gate.inside() == 0);
    assert_eq!(counted.entered(), 0, "none was run");
}

#[test]
fn what_ends_just_after_the_time_for_a_stop_is_not_lost() {
    // Half a second is all there is for it: again, should the machine have stood still meanwhile.
    wait_until("it ends in time", || {
        let (server, _, counted) = start("");
        let mut client = Raw::connect(server.address());
        client.send("test.slow", &50u64);
        wait_until("it runs", || counted.entered() == 1);
        let lost = server.stop_within(Duration::ZERO).lost();
        let heard = [(); 2].map(|()| client.read().map(|frame| (frame.header.kind, frame.status())));
        let expected = [(FrameKind::GoAway, Status::Draining), (FrameKind::Reply, Status::Ok)].map(Some);
        (lost, heard) == (0, expected)
    });
}

#[test]
fn a_stop_may_be_given_all_the_time_there_is() {
    let (server, ..) = start("");
    assert_eq!(server.stop_within(Duration::MAX).lost(), 0);
}

#[test]
fn cancels_that_came_too_late_do_not_use_up_those_to_come() {
    let (server, gate, counted) = start("Server_Pool_Tasks=1\nServer_Max_Concurrent_Trans=1");
    let mut client = Raw::connect(server.address());
    client.send("test.wait", &1u32);
    wait_until("the only worker is busy", || gate.inside() == 1);
    let dropped = client.send("test.count", &());
    for answered in 1_000..2_000 {
        cancel(&mut client, answered);
    }
    cancel(&mut client, dropped);
    wait_until("all cancels are read", || server.ports()[0].stats().cancels.get() == 1_001);
    gate.open();
    let replies = [client.read().expect("a reply"), client.read().expect("a reply")];
    let reply = replies.iter().find(|reply| reply.header.call == dropped).expect("its one reply");
    assert_eq!((reply.status(), counted.entered()), (Status::Cancelled, 0));
}

#[test]
fn two_servers_in_one_process_share_nothing() {
    let (one, gate_one, _) = start("Server_Pool_Tasks=1\nServer_Max_Concurrent_Trans=1");
    let (two, gate_two, _) = start("Server_Pool_Tasks=1\nServer_Max_Concurrent_Trans=1");
    let (mut first, mut second) = (Raw::connect(one.address()), Raw::connect(two.address()));
    first.send("test.wait", &1u32);
    second.send("test.wait", &1u32);
    wait_until("both run, with one permit each", || gate_one.inside() == 1 && gate_two.inside() == 1);
    gate_one.open();
    assert_eq!(first.read().unwrap().status(), Status::Ok);
    assert_eq!(one.stop().lost(), 0);
    assert_eq!((gate_two.inside(), two.permits_out(), two.in_flight()), (1, 1, 1), "the other goes on");
    gate_two.open();
    assert_eq!(second.read().unwrap().status(), Status::Ok);
    assert_eq!(second.call::<_, u32>("test.wait", &0u32), Ok(0));
}

#[test]
fn a_port_that_cannot_be_had_fails_the_start_and_leaves_nothing() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    // No other test listens on this address, so the port stays free.
    let free = TcpListener::bind("127.0.0.4:0").unwrap().local_addr().unwrap();
    let lines = format!("{}Server_Pool_Tasks=5", ports(&["Gnu", "Yak"]));
    let mut config = config(&lines);
    config.ports[0].address = ListenAddress::new("127.0.0.4", free.port());
    config.ports[1].address.port = taken.local_addr().unwrap().port();
    let error = Server::new(config.clone()).start().expect_err("the second address is taken");
    assert!(matches!(&error, StartError::Bind { port, .. } if port == "Yak"), "{error}");
    let text = error.to_string();
    assert!(text.contains("Yak") && text.contains(&config.ports[1].address.to_string()), "{text}");
    let ours = |name: &String| name.starts_with("Gnu") || name.starts_with("Yak");
    assert_eq!(thread_names().into_iter().filter(ours).collect::<Vec<_>>(), [""; 0]);
    TcpListener::bind(free).expect("the first address is free again");
    drop(taken);
    let server = Server::new(config).start().expect("now both can be had");
    wait_until("all threads have their names", || {
        thread_names().iter().filter(|name| ours(name)).count() == 12
    });
    assert_eq!(server.address(), free);
    assert_eq!(server.stop().lost(), 0);
    wait_until("no thread is left", || !thread_names().iter().any(ours));
}

#[test]
fn an_application_error_is_no_failure_of_the_server() {
    const REFUSE: Method<u32, ()> = Method::new("test.refuse");
    let server =
        server("").handle(REFUSE, |_, code| Err(ApplicationError::new(code, "no").into())).start().unwrap();
    let mut client = Raw::connect(server.address());
    let (status, fault) = client.call::<_, ()>("test.refuse", &42u32).unwrap_err();
    assert_eq!((status, fault.code, fault.message.as_str()), (Status::Application, 42, "no"));
    wait_for_permits(&server);
}

/// A handler may hold a database or a lock: it must go when its server goes.
#[test]
fn a_stopped_server_lets_go_of_its_handlers() {
    const HOLD: Method<(), u64> = Method::new("test.hold");
    let held = Arc::new(7u64);
    let inner = Arc::clone(&held);
    let server = server("Server_Pool_Tasks=3").handle(HOLD, move |_, ()| Ok(*inner)).start().unwrap();
    let mut client = Raw::connect(server.address());
    assert_eq!(client.call("test.hold", &()), Ok(7u64));
    assert!(client.call::<_, boneyard::service::builtin::Info>("server.info", &()).is_ok());
    assert_eq!(server.stop().lost(), 0);
    wait_until("the handlers are dropped", || Arc::strong_count(&held) == 1);
}
