//! What servers with pools, limits and queues fall to. Each test has the name of a hazard, and holds that it does not
//! come to pass.
//!
//! Handlers wait at gates and count themselves, so nothing here depends on how fast the machine is.

mod common;
#[path = "hazards/lack.rs"]
mod lack;
#[path = "hazards/nested.rs"]
mod nested;
mod process;
#[path = "hazards/stop.rs"]
mod stop;

use boneyard::client::ClientOptions;
use boneyard::internal::bench::{self, Pacing, Plan, Target};
use boneyard::internal::wire::limits::HEADER_BYTES;
use boneyard::internal::wire::{Codec, Flags, FrameKind};
use boneyard::server::RunningServer;
use boneyard::service::{ApplicationError, Bytes, Status};
use boneyard::{Client, ClientError, Method, Refusal};
use common::gate::{Gate, thread_names};
use common::outcomes::{Answers, Outcomes};
use common::*;
use std::io::Write;
use std::net::TcpStream;
use std::panic::resume_unwind;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

/// Waits at the gate.
const WAIT: Method<(), ()> = Method::new("test.wait");
/// As [`WAIT`], without its permit.
const BLOCK: Method<(), ()> = Method::new("test.block");
/// Ends in the way that the number names, or sleeps so many milliseconds, half of them without its permit.
const END: Method<u64, Bytes> = Method::new("test.end");
const WEIGH: Method<Bytes, usize> = Method::new("test.weigh");

const REFUSES: u64 = 1_000;
const PANICS: u64 = 1_001;
const PANICS_BLOCKED: u64 = 1_002;
const SAYS_TOO_MUCH: u64 = 1_003;
const IS_BUSY: u64 = 1_004;
const FAILS: u64 = 1_005;
const WAS_REFUSED: u64 = 1_006;

/// A server whose handlers wait at the gate, or end in whatever way their caller wants.
fn start(lines: &str) -> (RunningServer, Arc<Gate>) {
    let gate = Arc::<Gate>::default();
    let (wait, block) = (Arc::clone(&gate), Arc::clone(&gate));
    let server = server(lines)
        .handle(WAIT, move |_, ()| {
            wait.pass();
            Ok(())
        })
        .handle(BLOCK, move |tx, ()| {
            tx.blocking(|| block.pass());
            Ok(())
        })
        .handle(WEIGH, |_, bytes| Ok(bytes.len()))
        .handle(END, |tx, how| match how {
            REFUSES => Err(ApplicationError::new(7, "no").into()),
            PANICS => resume_unwind(Box::new("on purpose")),
            PANICS_BLOCKED => tx.blocking(|| resume_unwind(Box::new("on purpose"))),
            IS_BUSY => Err(Refusal::busy().into()),
            FAILS => Err(std::io::Error::other("on purpose").into()),
            WAS_REFUSED => Err(ClientError::QueueFull { retry_after: None }.into()),
            SAYS_TOO_MUCH => Ok(Bytes::from(vec![0; 5 << 20])),
            ms => {
                tx.blocking(|| thread::sleep(Duration::from_millis(ms / 2)));
                thread::sleep(Duration::from_millis(ms.div_ceil(2)));
                Ok(Bytes::default())
            }
        });
    (server.start().expect("starts"), gate)
}

fn cancel(client: &mut Raw, call: u64) {
    client.stream.write_all(&frame(FrameKind::Cancel, 0, call, b"")).unwrap();
}

/// A client that makes no call again and holds none back.
fn plain_client(server: &RunningServer) -> Client {
    let options = ClientOptions::default().deadline(PATIENCE).retries(0).throttle(false);
    Client::with_options(server.address(), options).unwrap()
}

/// Nothing waits, nothing runs, no permit is out, each worker sleeps, and each call that came was answered.
#[track_caller]
fn settled(server: &RunningServer) {
    wait_for_permits(server);
    for port in server.ports() {
        wait_until("all workers sleep", || port.idle_workers() == port.workers());
        assert_eq!((port.queued(), port.in_flight()), (0, 0));
        assert_eq!(port.stats().calls.get(), port.stats().answers.sum(), "{}", port.name());
    }
}

#[test]
fn a_permit_or_a_counter_leaks_or_underflows() {
    const PERMITS: usize = 2;
    let lines = format!(
        "{}Server_Max_Concurrent_Trans={PERMITS}\nServer_Pool_Tasks=3\nServer_Queue_Limit=30\nServer_Session_Calls=20",
        ports(&["A", "B"])
    );
    let (server, gate) = start(&lines);
    let mut random = Random(1);
    for _ in 0..30 {
        for n in 0..6 {
            let mut client = Raw::connect(server.ports()[n % 2].address());
            let mut outcomes = Outcomes::default();
            let calls: Vec<_> = (0..30)
                .map(|_| {
                    let how = [0, 0, 1, REFUSES, PANICS, PANICS_BLOCKED][random.below(6)];
                    client.frame("test.end", &how, random.below(3) as u32)
                })
                .collect();
            outcomes.send(&mut client, calls);
            (0..5).for_each(|_| cancel(&mut client, 1 + random.below(30) as u64));
            match n {
                0 => reset(client.stream),
                1 => drop(client),
                _ => outcomes.settle(&mut client),
            }
        }
    }
    let open = || server.ports().iter().map(|port| port.stats().open()).sum::<u64>();
    wait_until("all connections are closed", || open() == 0);
    settled(&server);
    let answers = Answers::of(&server);
    for status in [Status::Ok, Status::Application, Status::Panicked, Status::SessionLimit] {
        assert!(answers.with(status) > 0, "{status:?} was never answered: {answers:?}");
    }
    // None was lost on the way: as many as ever run at once.
    let mut client = Raw::connect(server.address());
    let ids: Vec<u64> = (0..PERMITS + 1).map(|_| client.send("test.wait", &())).collect();
    wait_until("every permit is in use", || gate.inside() == PERMITS);
    gate.open();
    ids.iter().for_each(|_| assert_eq!(client.read().expect("a reply").status(), Status::Ok));
    settled(&server);
    assert_eq!((gate.peak(), server.permits_peak() as usize), (PERMITS, PERMITS));
}

/// Presses a server with three times what it can do, for so long that its queue is as long as it gets.
fn flood(server: &RunningServer, capacity: f64, deadline: Option<Duration>) -> bench::BenchReport {
    let target =
        Target::Method { name: "load.sleep".to_owned(), codec: Codec::Json, arguments: b"2".to_vec() };
    let plan = Plan {
        address: server.address(),
        target,
        connections: 16,
        pace: Pacing::Open(3.0 * capacity),
        warm_up: Duration::ZERO,
        duration: Duration::from_millis(700),
        deadline,
        seed: 1,
    };
    bench::run(&plan, |_, _| {}).unwrap()
}

#[test]
fn it_never_recovers_after_a_flood() {
    const WORKERS: usize = 4;
    let tight = Some(Duration::from_millis(50));
    for (lines, deadline) in [
        ("", tight),
        // Far above what a busy machine adds: an overload ends with the first interval in which a call waited less.
        ("Server_CoDel_Mode=refuse\nServer_CoDel_Target=100\nServer_CoDel_Interval=50\n", None),
        ("Server_Queue_Limit=100\n", None),
        ("Server_Session_Calls=5\n", tight),
    ] {
        let lines = format!("{lines}Server_Pool_Tasks={WORKERS}\nServer_Max_Concurrent_Trans={WORKERS}");
        let (server, _) = start(&lines);
        let outcome = flood(&server, WORKERS as f64 * 500.0, deadline);
        assert!(outcome.ok > 0 && !outcome.errors.is_empty(), "{lines}: no flood: {outcome}");
        assert_eq!((outcome.unanswered, outcome.connections_lost), (0, 0), "{lines}: {outcome}");
        wait_until("the queue is empty", || server.ports()[0].queued() == 0);
        let before = Answers::of(&server);
        let client = plain_client(&server);
        thread::scope(|scope| {
            for _ in 0..WORKERS {
                scope.spawn(|| {
                    for _ in 0..50 {
                        assert_eq!(client.call(END, &0), Ok(Bytes::default()), "{lines}");
                    }
                });
            }
        });
        settled(&server);
        let after = Answers::of(&server);
        assert_eq!((after.more_than(before), after.with(Status::Ok) - before.with(Status::Ok)), (200, 200));
    }
}

#[test]
fn a_limit_of_n_admits_one_less_or_one_more() {
    const MEET: Method<(), ()> = Method::new("test.meet");
    for (permits, workers) in [(1, 1), (1, 4), (2, 2), (3, 5), (20, 25)] {
        // Each handler leaves with N - 1 others or never: N at once are reached, time and again.
        let (barrier, gate) = (Barrier::new(permits), Arc::<Gate>::default());
        let inside = Arc::clone(&gate);
        let lines = format!(
            "{}Server_Max_Concurrent_Trans={permits}\nServer_Pool_Tasks={workers}",
            ports(&["A", "B"])
        );
        let server = server(&lines)
            .handle(MEET, move |_, ()| {
                inside.enter();
                barrier.wait();
                inside.leave();
                Ok(())
            })
            .start()
            .unwrap();
        let mut clients: Vec<Raw> = (0..4).map(|n| Raw::connect(server.ports()[n % 2].address())).collect();
        let mut all_outcomes: Vec<Outcomes> = clients.iter().map(|_| Outcomes::default()).collect();
        for (client, outcomes) in clients.iter_mut().zip(&mut all_outcomes) {
            outcomes.calls(client, permits * 20, "test.meet", &());
        }
        for (client, outcomes) in clients.iter_mut().zip(&mut all_outcomes) {
            outcomes.settle(client);
            assert_eq!(outcomes.answers().with(Status::Ok), outcomes.made());
        }
        settled(&server);
        let place = format!("{permits} permits, 2 x {workers} workers");
        assert_eq!((gate.peak(), server.permits_peak() as usize), (permits, permits), "{place}");
        assert_eq!(gate.entered(), 80 * permits, "{place}");
    }
}

#[test]
fn health_is_behind_the_same_limit_as_the_calls() {
    let lines = format!(
        "{}Server_Pool_Tasks=3\nServer_Max_Concurrent_Trans=6\nServer_Queue_Limit=5",
        ports(&["A", "B"])
    );
    let (server, gate) = start(&lines);
    let mut busy: Vec<Raw> = server.ports().iter().map(|port| Raw::connect(port.address())).collect();
    for client in &mut busy {
        for _ in 0..3 {
            client.send("test.wait", &());
        }
    }
    wait_until("no worker is left", || gate.inside() == 6);
    // Of five connections each: nobody has more of the queue than one more call would be.
    let mut waiting: Vec<Raw> =
        server.ports().iter().flat_map(|port| (0..5).map(|_| Raw::connect(port.address()))).collect();
    waiting.iter_mut().for_each(|client| _ = client.send("test.wait", &()));
    wait_until("no place is left", || server.ports().iter().all(|port| port.queued() == 5));
    for port in server.ports() {
        let mut client = Raw::connect(port.address());
        assert!(!client.welcome.methods.is_empty(), "it is greeted");
        client.stream.write_all(&frame(FrameKind::Ping, 0, 77, b"")).unwrap();
        let pong = client.read().expect("a Pong");
        assert_eq!((pong.header.kind, pong.header.call), (FrameKind::Pong, 77));
        assert_eq!(client.call::<_, ()>("server.ping", &()).unwrap_err().0, Status::QueueFull, "at once");
    }
    assert_eq!(gate.inside(), 6, "and all that while nobody was free");
    gate.open();
    for (client, calls) in
        busy.iter_mut().map(|client| (client, 3)).chain(waiting.iter_mut().map(|client| (client, 1)))
    {
        (0..calls).for_each(|_| assert_eq!(client.read().expect("a reply").status(), Status::Ok));
    }
}

/// A server with one worker that waits at the gate, at the call of this connection.
fn busy(lines: &str) -> (RunningServer, Arc<Gate>, Raw, Outcomes) {
    let (server, gate) = start(&format!("{lines}Server_Pool_Tasks=1\nServer_Max_Concurrent_Trans=1"));
    let (mut client, mut outcomes) = (Raw::connect(server.address()), Outcomes::default());
    // From here on it is known what a call of test.end costs: 40 ms, half of them with the permit.
    outcomes.call(&mut client, "test.end", &40u64, 0);
    outcomes.settle(&mut client);
    outcomes.call(&mut client, "test.wait", &(), 0);
    wait_until("the worker is busy", || gate.inside() == 1);
    (server, gate, client, outcomes)
}

/// Sends to a server whose worker is busy, opens the gate, and has the books of both ends compared.
fn refused_by(lines: &str, send: impl FnOnce(&RunningServer, &mut Raw, &mut Outcomes)) -> Answers {
    let (server, gate, mut client, mut outcomes) = busy(lines);
    send(&server, &mut client, &mut outcomes);
    gate.open();
    outcomes.settle(&mut client);
    settled(&server);
    assert_eq!(Answers::of(&server), outcomes.answers(), "{lines}");
    assert_eq!(server.ports()[0].stats().calls.get(), outcomes.made(), "{lines}");
    outcomes.answers()
}

/// Calls of a server that refuses those that stood too long, until it has refused some.
fn refused_by_codel() -> Answers {
    let lines = "Server_CoDel_Mode=refuse\nServer_CoDel_Target=1\nServer_CoDel_Interval=10\n\
                 Server_Pool_Tasks=1\nServer_Max_Concurrent_Trans=1";
    let (server, _) = start(lines);
    let (mut client, mut outcomes) = (Raw::connect(server.address()), Outcomes::default());
    wait_until("calls are refused", || {
        let calls: Vec<_> = (0..50).map(|_| client.frame("test.end", &1u64, 0)).collect();
        outcomes.send(&mut client, calls);
        outcomes.settle(&mut client);
        outcomes.answers().with(Status::Overloaded) > 0
    });
    settled(&server);
    assert_eq!(Answers::of(&server), outcomes.answers());
    outcomes.answers()
}

/// Calls to a server whose buffers are full of calls that wait.
fn refused_by_full_buffers() -> Answers {
    let (server, gate, mut client, mut outcomes) = busy("Server_Buffer_Memory_MB=16\n");
    let (mut other, mut others) = (Raw::connect(server.address()), Outcomes::default());
    // Of the last not all is read as yet. Replies are short: large ones that nobody takes while the buffers are full
    // would end the connection.
    let sending = thread::spawn(move || {
        outcomes.calls(&mut client, 4, "test.weigh", &Bytes::from(vec![7; (4 << 20) - 100]));
        (client, outcomes)
    });
    wait_until("the buffers are full", || server.ports()[0].buffer_bytes() > 14 << 20);
    wait_until("the listener has seen that", || server.ports()[0].stats().buffers_full.get() > 0);
    others.call(&mut other, "server.ping", &(), 0);
    assert_eq!(others.read(&mut other), Status::BuffersFull);
    gate.open();
    let (mut client, mut outcomes) = sending.join().unwrap();
    outcomes.settle(&mut client);
    settled(&server);
    let mut answers = outcomes.answers();
    answers.add(others.answers());
    assert_eq!(Answers::of(&server), answers);
    answers
}

/// Calls of a server that stops: what it has taken is run, what comes later is refused.
fn refused_by_a_stop() -> Answers {
    let (server, gate, mut client, mut outcomes) = busy("");
    outcomes.calls(&mut client, 10, "server.ping", &());
    wait_until("ten wait", || server.ports()[0].queued() == 10);
    let stopping = thread::spawn(move || server.stop());
    assert_eq!(client.read().expect("a GoAway").header.kind, FrameKind::GoAway);
    outcomes.calls(&mut client, 10, "server.ping", &());
    (0..10).for_each(|_| assert_eq!(outcomes.read(&mut client), Status::Draining));
    gate.open();
    outcomes.settle(&mut client);
    assert_eq!(stopping.join().unwrap().lost(), 0);
    outcomes.answers()
}

#[test]
fn a_call_is_rejected_without_a_reply() {
    let mut seen = Answers::default();
    seen.add(refused_by("Server_Queue_Limit=5\n", |_, client, outcomes| {
        outcomes.calls(client, 9, "server.ping", &());
    }));
    seen.add(refused_by("Server_Session_Calls=3\n", |_, client, outcomes| {
        outcomes.calls(client, 9, "server.ping", &());
    }));
    seen.add(refused_by("Server_Client_Calls=3\n", |_, client, outcomes| {
        outcomes.calls(client, 9, "server.ping", &());
    }));
    seen.add(refused_by("[Limits]\ntest.wait=1,0\n[Server]\n", |server, client, outcomes| {
        outcomes.calls(client, 9, "test.wait", &());
        let refused = || server.ports()[0].stats().answered(Status::MethodLimit);
        wait_until("they are refused while one runs", || refused() == 9);
    }));
    seen.add(refused_by("", |server, client, outcomes| {
        // The first finds the queue empty; the last finds five calls of test.end before it.
        outcomes.call(client, "server.ping", &(), 1);
        outcomes.calls(client, 4, "test.end", &0u64);
        let dropped = outcomes.call(client, "test.end", &0u64, 0);
        wait_until("they wait", || server.ports()[0].queued() == 6);
        outcomes.call(client, "server.ping", &(), 50);
        cancel(client, dropped);
        wait_until("the cancel is heard", || server.ports()[0].stats().cancels.get() == 1);
        thread::sleep(Duration::from_millis(2));
    }));
    seen.add(refused_by("", |_, client, outcomes| {
        for how in [REFUSES, PANICS, SAYS_TOO_MUCH, IS_BUSY, FAILS, WAS_REFUSED] {
            outcomes.call(client, "test.end", &how, 0);
        }
        let (wrong, unknown, end) = (1_000, 1_001, client.number("test.end"));
        outcomes.send(
            client,
            [
                (wrong, call_frame(wrong, end, Flags::NONE, 0, b"?")),
                (unknown, call_frame(unknown, 999, Flags::NONE, 0, b"")),
            ],
        );
    }));
    seen.add(refused_by("Server_MaxUsers=1\n", |_, client, outcomes| {
        (0..2).for_each(|_| _ = outcomes.call(client, "session.open", &(), 0));
        let (id, mut frame) = client.frame("server.ping", &(), 0);
        // The prelude begins with the session.
        frame[HEADER_BYTES] = 7;
        outcomes.send(client, [(id, frame)]);
    }));
    seen.add(refused_by("", |server, client, outcomes| {
        server.restrict(true);
        outcomes.call(client, "session.open", &(), 0);
    }));
    seen.add(refused_by_codel());
    seen.add(refused_by_full_buffers());
    seen.add(refused_by_a_stop());
    // Those of the greeting are no answers to calls; the deadlock is in nested.rs; what is too large ends its
    // connection, see hostile_input.rs; NoDescriptors comes before a greeting, see lack.rs, and ConnectLimit, see
    // reconnects.rs; for whose place is wanted see sessions.rs,
    // over_the_soft_limit_the_longest_idle_goes_and_nobody_is_refused; who is too slow is told when it ends, see
    // slow_peers.rs.
    let elsewhere = [
        Status::UnsupportedVersion,
        Status::ProtocolError,
        Status::NestedDeadlock,
        Status::TooLarge,
        Status::NoDescriptors,
        Status::ConnectLimit,
        Status::SessionClosed,
        Status::TooSlow,
    ];
    for status in Status::ALL.into_iter().filter(|status| !elsewhere.contains(status)) {
        assert!(seen.with(status) > 0, "{status:?} was never answered: {seen:?}");
    }
}

#[test]
fn idle_connections_eat_workers() {
    let (server, _) = start("Server_Pool_Tasks=4\nServer_Max_Concurrent_Trans=4");
    // Both ends of each are in this process.
    let descriptors = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let count = descriptors.map_or(2_000, |most| (most.saturating_sub(300) / 2).min(2_000)) as usize;
    let threads = thread_names().len();
    let hello = greeting();
    let mut idle: Vec<TcpStream> = Vec::new();
    for n in 0..count {
        let mut stream = connect(server.address());
        // Silent, half greeted in two ways, greeted, in the middle of a call.
        let half_a_call = [&hello[..], &frame(FrameKind::Call, 1, 1, b"8 bytes.")[..20]].concat();
        let said: &[u8] = [&[], &hello[..5], &hello[..20], &hello, &half_a_call][n % 5];
        stream.write_all(said).unwrap();
        idle.push(stream);
    }
    wait_until("all are taken in", || server.ports()[0].stats().open() == count as u64);
    let client = plain_client(&server);
    for _ in 0..100 {
        assert_eq!(client.call(END, &0), Ok(Bytes::default()));
    }
    // The client's reader; threads of other tests may come and go.
    let grown = thread_names().len().saturating_sub(threads);
    assert!(grown < 100, "{grown} threads more for {count} connections");
    drop(idle);
    wait_until("all are gone", || server.ports()[0].stats().open() == 1);
}
