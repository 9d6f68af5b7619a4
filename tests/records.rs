//! What is recorded of each method: every answer once, whoever gave it, and the slowest calls of each.
#![cfg(feature = "server")]

mod common;

use boneyard::internal::monitor::{AnswerCounts, ServerControl, Snapshot};
use boneyard::internal::wire::{CallPrelude, Flags, FrameKind, Header};
use boneyard::service::{ApplicationError, Bytes, HandlerError, Refusal, Status};
use boneyard::{Method, RunningServer, Transaction};
use common::gate::Gate;
use common::*;
use std::collections::BTreeSet;
use std::io::Write;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// Ends as the number says.
const END: Method<u64, Bytes> = Method::new("test.end");
/// Waits at the gate, without its permit if the argument is true.
const WAIT: Method<bool, ()> = Method::new("test.wait");

fn end(tx: &Transaction<'_>, how: u64) -> Result<Bytes, HandlerError> {
    match how % 12 {
        0 => resume_unwind(Box::new("on purpose")),
        1 => return Err(ApplicationError::new(1, "no").into()),
        2 => return Ok(Bytes::from(vec![0; 100_000])),
        3 => thread::sleep(Duration::from_millis(1)),
        4 => tx.blocking(|| thread::sleep(Duration::from_millis(1))),
        5 => return Err(Refusal::busy().into()),
        6 => return Err(std::io::Error::other("on purpose").into()),
        _ => {}
    }
    Ok(Bytes::new())
}

fn start(lines: &str) -> (RunningServer, Arc<Gate>) {
    let gate = Arc::<Gate>::default();
    let waiting = Arc::clone(&gate);
    let server = server(lines).handle(END, end).handle(WAIT, move |tx, without| {
        if without {
            tx.blocking(|| waiting.pass())
        } else {
            waiting.pass()
        }
        Ok(())
    });
    (server.start().unwrap(), gate)
}

/// What each port has answered, and what its methods have together.
fn books(snapshot: &Snapshot) -> Vec<(AnswerCounts, AnswerCounts)> {
    let of_port = |port: &boneyard::internal::monitor::PortSnapshot| {
        let mut sum = AnswerCounts::default();
        port.methods.iter().for_each(|method| sum.add(&method.answers));
        (port.answers, sum)
    };
    snapshot.ports.iter().map(of_port).collect()
}

/// Asserts that the books agree, and says which statuses are in them.
#[track_caller]
fn assert_agree(house: &dyn ServerControl) -> BTreeSet<u16> {
    let snapshot = house.snapshot();
    for port in &snapshot.ports {
        assert_eq!(port.in_flight, 0);
        for method in &port.methods {
            let ran = Status::ALL
                .into_iter()
                .filter(|status| !status.never_started() || *status == Status::ServiceBusy);
            let ran: u64 = ran.map(|status| method.answers.with(status)).sum();
            // Arguments that do not decode are found out when the handler's turn has come: it counts as run.
            let most = ran + method.answers.with(Status::BadRequest);
            let times = method.times.map(|times| times.count());
            assert_eq!((times.queue_wait, times.permit_wait), (times.run, times.run), "{}", method.name);
            assert!((ran..=most).contains(&times.run), "{}: {ran}, {most}, {times:?}", method.name);
        }
    }
    let mut seen = BTreeSet::new();
    for (port, methods) in books(&snapshot) {
        assert_eq!(port, methods, "all calls were of methods that there are");
        seen.extend(Status::ALL.into_iter().filter(|status| port.with(*status) > 0).map(Status::code));
    }
    seen
}

/// Calls of all sorts, some in a hurry, some taken back, some broken, and hangs up or reads its answers.
fn traffic(address: std::net::SocketAddr, seed: u64, rounds: usize) {
    let mut random = Random(seed);
    for _ in 0..rounds {
        let mut client = Raw::connect(address);
        let (mut bytes, mut calls) = (Vec::new(), 0);
        for _ in 0..1 + random.below(40) {
            let hurry = [0, 0, 0, 1, 50][random.below(5)];
            let id = match random.below(12) {
                0 => broken(&mut client, &mut random, &mut bytes),
                1..=3 => add(&mut bytes, client.frame("server.ping", &(), hurry)),
                4 => add(&mut bytes, client.frame("load.spin", &(random.below(100) as u64), hurry)),
                _ => add(&mut bytes, client.frame("test.end", &random.next(), hurry)),
            };
            calls += 1;
            if random.below(8) == 0 {
                bytes.extend(frame(FrameKind::Cancel, 0, id, b""));
            }
        }
        client.stream.write_all(&bytes).unwrap();
        for _ in 0..if random.below(3) == 0 { 0 } else { calls } {
            client.read().expect("a reply");
        }
    }
}

fn add(bytes: &mut Vec<u8>, (id, frame): (u64, Vec<u8>)) -> u64 {
    bytes.extend(frame);
    id
}

/// A call whose arguments are too short, whose body is, or whose session there is not.
fn broken(client: &mut Raw, random: &mut Random, bytes: &mut Vec<u8>) -> u64 {
    let (id, _) = client.frame("server.ping", &(), 0);
    let code = client.number("test.end");
    let body = match random.below(3) {
        0 => vec![1, 2, 3],
        1 => CallPrelude { session: 0, deadline_ms: 0 }.write().to_vec(),
        _ => [&CallPrelude { session: 77, deadline_ms: 0 }.write()[..], &[5]].concat(),
    };
    let header =
        Header { body_bytes: body.len() as u32, kind: FrameKind::Call, flags: Flags::NONE, code, call: id };
    bytes.extend(header.write());
    bytes.extend(body);
    id
}

#[test]
fn the_answers_of_the_methods_are_those_of_their_port() {
    let lines = ports(&["A", "B"])
        + "Server_Pool_Tasks=4\nServer_Max_Concurrent_Trans=3\nServer_Queue_Limit=30\nServer_Session_Calls=25\n\
           Server_Max_Frame_KB=64\nServer_CoDel_Mode=refuse\nServer_CoDel_Target=1\nServer_CoDel_Interval=10";
    let (server, gate) = start(&lines);
    let monitor = Arc::clone(server.monitor());
    let mut seen = BTreeSet::new();
    for round in 0..3 {
        thread::scope(|scope| {
            for n in 0..6 {
                let address = server.ports()[n % 2].address();
                scope.spawn(move || traffic(address, 100 * round + n as u64 + 1, 20));
            }
        });
        // Who hung up may have left calls that the server has yet to read.
        wait_until("all have left", || server.ports().iter().all(|port| port.stats().open() == 0));
        wait_until("nothing is in flight", || server.in_flight() == 0);
        seen.extend(assert_agree(monitor.control()));
    }

    // A frame that is too large, then a stop with calls that run and calls that wait.
    let mut client = Raw::connect(server.address());
    let header = Header { body_bytes: 1 << 20, kind: FrameKind::Call, flags: Flags::NONE, code: 1, call: 1 };
    client.stream.write_all(&header.write()).unwrap();
    assert_eq!(client.read().expect("a reply").status(), Status::TooLarge);
    let mut client = Raw::connect(server.address());
    // CoDel refuses a call whose worker is late.
    let before = server.ports()[0].stats().calls.get();
    (0..10).for_each(|_| _ = client.send("test.wait", &true));
    wait_until("all ten were read", || server.ports()[0].stats().calls.get() == before + 10);
    wait_until("four wait, the others are queued", || {
        gate.inside() == 4 && server.in_flight() == 4 + server.ports()[0].queued()
    });
    assert!((5..=10).contains(&server.stop_within(Duration::ZERO).lost()));
    gate.open();
    wait_until("they have ended", || {
        monitor.control().snapshot().ports.iter().all(|port| port.in_flight == 0)
    });
    seen.extend(assert_agree(monitor.control()));

    let expected = [
        Status::Ok,
        Status::Application,
        Status::BadRequest,
        Status::TooLarge,
        Status::UnknownSession,
        Status::QueueFull,
        Status::Draining,
        Status::SessionLimit,
        Status::DeadlineExceeded,
        Status::Cancelled,
        Status::ServiceBusy,
        Status::Panicked,
        Status::BadResponse,
        Status::Internal,
    ];
    let missing: Vec<_> = expected.into_iter().filter(|status| !seen.contains(&status.code())).collect();
    assert!(missing.is_empty(), "never seen: {missing:?}");
}

#[test]
fn who_has_an_answer_finds_it_counted() {
    let (server, _gate) = start("Server_Pool_Tasks=3");
    let mut client = Raw::connect(server.address());
    let counted = |method: &str| {
        let snapshot = server.monitor().control().snapshot();
        let found = snapshot.ports[0].methods.iter().find(|of| &*of.name == method);
        found.map_or(0, |of| of.answers.all())
    };
    for calls in 1..=200 {
        client.call::<_, ()>("server.ping", &()).unwrap();
        assert_eq!(counted("server.ping"), calls);
    }
    assert_eq!(counted("test.end"), 0);
}

#[test]
fn a_worker_that_is_stuck_keeps_no_count_to_itself() {
    let (server, gate) = start("Server_Pool_Tasks=1");
    let mut client = Raw::connect(server.address());
    let mut bytes: Vec<u8> = (0..300).flat_map(|_| client.frame("server.ping", &(), 0).1).collect();
    bytes.extend(client.frame("test.wait", &false, 0).1);
    client.stream.write_all(&bytes).unwrap();
    (0..300).for_each(|_| assert_eq!(client.read().expect("a reply").status(), Status::Ok));
    wait_until("the last one waits", || gate.inside() == 1);
    let (port, methods) = books(&server.monitor().control().snapshot())[0];
    assert_eq!((port.all(), methods), (300, port));
    gate.open();
    client.read().expect("a reply");
}

#[test]
fn the_slowest_calls_of_each_method_are_kept_with_the_parts_of_their_time() {
    let lines = "Server_Pool_Tasks=2\nServer_Max_Concurrent_Trans=1\nServer_Slow_Calls=3";
    let (server, _gate) = start(lines);
    let mut client = Raw::connect(server.address());
    // Of each call of the two methods what its reply says: the parts of its time, in microseconds.
    let mut told = [vec![], vec![]];
    // Two at once under one permit: one of them stands in the queue.
    for ms in [30u64, 1, 40, 2, 3] {
        let (sleep, mut calls) = client.frame("load.sleep", &ms, 0);
        calls.extend(client.frame("load.block", &ms, 0).1);
        client.stream.write_all(&calls).unwrap();
        for _ in 0..2 {
            let reply = client.read().expect("a reply");
            assert_eq!(reply.status(), Status::Ok);
            let times = reply.times();
            told[usize::from(reply.header.call != sleep)].push([
                times.queue_wait_us,
                times.permit_wait_us,
                times.run_us,
            ]);
        }
    }
    assert!(told[1].iter().any(|[queue, permit, _]| queue + permit > 20_000), "{told:?}");
    assert_eq!(client.call::<_, u64>("load.spin", &u64::MAX).unwrap_err().0, Status::Application);
    let slow = server.monitor().control().slow_calls();
    assert!(slow.windows(2).all(|pair| pair[0].total() >= pair[1].total()));
    let of = |method: &str| slow.iter().filter(|call| &*call.method == method).collect::<Vec<_>>();
    for (method, mut told) in ["load.sleep", "load.block"].into_iter().zip(told) {
        told.sort_by_key(|parts| std::cmp::Reverse(parts.iter().sum::<u32>()));
        let us = |time: &Duration| time.as_micros() as u32;
        let kept = of(method).into_iter().map(|call| call.times.map(us));
        let kept: Vec<_> = kept.map(|times| [times.queue_wait, times.permit_wait, times.run]).collect();
        assert_eq!(kept, told[..3], "{method}");
    }
    let sleeps = of("load.sleep");
    assert!(sleeps[0].total() >= Duration::from_millis(40) && sleeps[1].total() >= Duration::from_millis(30));
    assert_eq!((&*sleeps[0].port, sleeps[0].peer), ("TCPIP", client.stream.local_addr().unwrap()));
    assert_eq!(of("load.spin")[0].status, Status::Application);

    let text = server.monitor().slow("load.s*");
    assert_eq!(text.lines().count(), 2 + 3 + 1, "{text}");
    assert!(text.lines().nth(1).unwrap().trim_start().starts_with("Total ms"), "{text}");
    assert_eq!(server.monitor().slow("no.such*"), "No call of a method like no.such* in the last hour\n");
}

#[test]
fn none_are_kept_where_none_are_wanted() {
    let (server, _gate) = start("Server_Slow_Calls=0");
    Raw::connect(server.address()).call::<_, ()>("load.sleep", &5u64).unwrap();
    assert!(server.monitor().control().slow_calls().is_empty());
    assert_eq!(server.monitor().slow(""), "No calls are kept (Server_Slow_Calls=0)\n");
}

#[cfg(feature = "client")]
mod nested {
    use super::*;
    use boneyard::client::ClientOptions;
    use boneyard::{Client, ClientError};
    use std::sync::OnceLock;

    /// Calls itself so many times.
    const RELAY: Method<u32, u32> = Method::new("test.relay");

    fn relay(lines: &str) -> (RunningServer, Client) {
        let own = Arc::<OnceLock<Client>>::default();
        let me = Arc::clone(&own);
        let relay = move |_: &Transaction<'_>, n| {
            let client = me.get().expect("set before the first call");
            Ok(if n == 0 { 0 } else { client.call(RELAY, &(n - 1))? + 1 })
        };
        let server = server(lines).handle(RELAY, relay).start().unwrap();
        let options = ClientOptions::default().deadline(PATIENCE).retries(0);
        own.set(Client::with_options(server.address(), options.clone()).unwrap()).unwrap();
        let client = Client::with_options(server.address(), options).unwrap();
        (server, client)
    }

    #[test]
    fn a_call_that_was_in_a_deadlock_is_counted_too() {
        let (server, client) = relay("Server_Pool_Tasks=1");
        let told = client.call(RELAY, &1);
        let deadlock = matches!(told, Err(ClientError::NestedRefused { status: Status::NestedDeadlock, .. }));
        assert!(deadlock, "{told:?}");
        wait_until("nothing is in flight", || server.in_flight() == 0);
        let seen = assert_agree(server.monitor().control());
        assert!(seen.contains(&Status::NestedDeadlock.code()));
    }

    #[test]
    fn a_slow_call_says_what_it_was_made_for() {
        let (server, client) = relay("Server_Pool_Tasks=3");
        assert_eq!(client.call(RELAY, &2).unwrap(), 2);
        let mut chains: Vec<_> =
            server.monitor().control().slow_calls().into_iter().map(|call| call.chain).collect();
        chains.sort_by_key(Vec::len);
        let entry = "TCPIP test.relay";
        assert_eq!(chains, [vec![], vec![entry.to_owned()], vec![entry.to_owned(), entry.to_owned()]]);
        assert!(server.monitor().slow("").contains(&format!("  {entry} -> {entry}\n")));
    }
}
