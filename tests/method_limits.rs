//! `[Limits]` and `Server_Client_Calls` on a real server: no more of a method's calls run, and no more of them or of a
//! client's are there, than they say; calls that wait hold nothing, and each is answered once however it ends.
//!
//! Handlers wait at a gate and count themselves, so nothing here depends on how fast the machine is.
#![cfg(all(feature = "client", feature = "server"))]

mod common;
mod process;

use boneyard::client::ClientOptions;
use boneyard::internal::monitor::{MethodLimitSnapshot, SettingChange};
use boneyard::internal::wire::FrameKind;
use boneyard::service::{ApplicationError, Status};
use boneyard::{Client, ClientError, Method, RunningServer, Server, Transaction};
use common::gate::{Gate, Inside};
use common::*;
use process::Directory;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Waits at the gate.
const HOLD: Method<(), ()> = Method::new("test.hold");
/// Waits at the gate without its permit.
const BLOCK: Method<(), ()> = Method::new("test.block");
/// Counts itself while it runs: returns, sleeps, waits without its permit or unwinds.
const COUNT: Method<u32, ()> = Method::new("test.count");
/// Calls itself so many times, one within the other.
const DEEP: Method<u32, u32> = Method::new("test.deep");

struct Fixture {
    server: RunningServer,
    gate: Arc<Gate>,
    counted: Arc<Gate>,
}

fn count(tx: &Transaction<'_>, counted: &Gate, what: u32) {
    let _inside = Inside::new(counted);
    match what % 4 {
        0 => {}
        1 => std::thread::sleep(Duration::from_micros(200)),
        2 => tx.blocking(std::thread::yield_now),
        _ => std::panic::resume_unwind(Box::new("on purpose")),
    }
}

/// The server before its start, with the four methods.
fn prepared(lines: &str, gate: &Arc<Gate>, counted: &Arc<Gate>, own: &Arc<OnceLock<SocketAddr>>) -> Server {
    let (held, blocked, counted, own) =
        (Arc::clone(gate), Arc::clone(gate), Arc::clone(counted), Arc::clone(own));
    let deep = move |_: &Transaction<'_>, depth: u32| {
        let Some(inner) = depth.checked_sub(1) else { return Ok(0) };
        let options = ClientOptions::default().deadline(Duration::from_secs(600)).retries(0);
        let client = Client::with_options(*own.get().expect("set"), options).expect("it listens");
        client.call(DEEP, &inner).map(|n| n + 1).map_err(|error| match error {
            ClientError::Application { code, message } => ApplicationError::new(code, message).into(),
            ClientError::NestedDeadlock(message) => ApplicationError::new(77, message).into(),
            other => ApplicationError::new(1, other.to_string()).into(),
        })
    };
    server(lines)
        .handle(HOLD, move |_, ()| {
            held.pass();
            Ok(())
        })
        .handle(BLOCK, move |tx, ()| {
            tx.blocking(|| blocked.pass());
            Ok(())
        })
        .handle(COUNT, move |tx, what| {
            count(tx, &counted, what);
            Ok(())
        })
        .handle(DEEP, deep)
}

fn start(lines: &str) -> Fixture {
    let (gate, counted, own) = (Arc::default(), Arc::default(), Arc::default());
    let server = prepared(lines, &gate, &counted, &own).start().expect("starts");
    own.set(server.address()).expect("set once");
    Fixture { server, gate, counted }
}

impl Fixture {
    fn connect(&self, port: usize) -> Raw {
        Raw::connect(self.server.ports()[port].address())
    }

    /// The one limited method.
    fn limit(&self) -> MethodLimitSnapshot {
        let limits = self.server.monitor().control().snapshot().limits;
        let [limit] = &limits[..] else { panic!("one method is limited: {limits:?}") };
        limit.clone()
    }

    fn wait_for(&self, running: u64, waiting: u64) {
        wait_until(&format!("{running} run and {waiting} wait"), || {
            let limit = self.limit();
            (limit.running, limit.waiting) == (running, waiting)
        });
    }

    fn set(&self, key: &str, value: &str) -> SettingChange {
        let set = self.server.monitor().control().set(key, value);
        set.unwrap_or_else(|error| panic!("{key}={value}: {error}"))
    }
}

fn statuses(raw: &mut Raw, count: usize) -> Vec<Status> {
    (0..count).map(|_| raw.read().expect("a reply").status()).collect()
}

#[test]
fn calls_of_a_full_method_wait_without_worker_and_permit_and_the_rest_is_refused() {
    let lines =
        ports(&["A", "B"]) + "Server_Pool_Tasks=3\nServer_Max_Concurrent_Trans=6\n[Limits]\nTEST.Hold=2,3\n";
    let fixture = start(&lines);
    let mut raw: Vec<Raw> = (0..5).map(|n| fixture.connect(n % 2)).collect();
    raw.iter_mut().for_each(|raw| _ = raw.send("test.hold", &()));
    fixture.wait_for(2, 3);
    wait_until("the others' workers sleep", || {
        fixture.server.ports().iter().map(|port| port.idle_workers()).sum::<usize>() == 4
    });
    assert_eq!((fixture.server.permits_out(), fixture.gate.inside()), (2, 2));
    assert_eq!(fixture.server.ports().iter().map(|port| port.queued()).sum::<usize>(), 0);
    for port in 0..2 {
        let mut other = fixture.connect(port);
        let (status, fault) = other.call::<_, ()>("test.hold", &()).unwrap_err();
        assert_eq!(status, Status::MethodLimit);
        assert!(fault.retry_after_ms > 0);
    }
    assert_eq!(fixture.limit().refused, 2);
    fixture.gate.open();
    raw.iter_mut().for_each(|raw| assert_eq!(statuses(raw, 1), [Status::Ok]));
    fixture.wait_for(0, 0);
    assert_eq!((fixture.gate.peak(), fixture.gate.entered()), (2, 5));
}

/// Calls in bursts over several connections and ports; however they end, no more run than may, and all are answered.
fn storm(lines: &str, limit: &str, run: usize) {
    let fixture = start(&format!("{}{lines}[Limits]\ntest.count={limit}\n", ports(&["A", "B"])));
    let mut raw: Vec<Raw> = (0..6).map(|n| fixture.connect(n % 2)).collect();
    let (mut answers, mut random) = (0, Random(7));
    for _ in 0..30 {
        let sent: Vec<usize> = raw.iter_mut().map(|raw| burst(raw, &mut random)).collect();
        for (raw, sent) in raw.iter_mut().zip(sent) {
            for status in statuses(raw, sent) {
                answers += usize::from(status == Status::Ok || status == Status::Panicked);
                let known = [Status::Ok, Status::Panicked, Status::MethodLimit, Status::UnknownSession];
                assert!(known.contains(&status), "{status:?}");
            }
        }
    }
    assert!(fixture.counted.peak() <= run, "{} ran at once", fixture.counted.peak());
    assert_eq!(fixture.counted.entered(), answers);
    wait_for_permits(&fixture.server);
    fixture.wait_for(0, 0);
}

fn burst(raw: &mut Raw, random: &mut Random) -> usize {
    let calls = 1 + random.below(30);
    let frames: Vec<u8> =
        (0..calls).flat_map(|_| raw.frame("test.count", &(random.below(4) as u32), 0).1).collect();
    raw.stream.write_all(&frames).unwrap();
    calls
}

#[test]
fn no_more_run_than_may_however_they_come_and_end() {
    storm("Server_Pool_Tasks=4\nServer_Max_Concurrent_Trans=8\n", "3,1000", 3);
    storm("Server_Pool_Tasks=4\nServer_Max_Concurrent_Trans=2\n", "1,9", 1);
    storm("Server_Pool_Tasks=3\nServer_Nested_Reserve=1\nServer_Max_Concurrent_Trans=2\n", "2,0", 2);
}

#[test]
fn no_more_run_than_may_where_calls_run_where_they_were_read() {
    storm("Server_Run_Where_Read=1\nServer_Pool_Tasks=2\nServer_Max_Concurrent_Trans=3\n", "1,1000", 1);
}

#[test]
fn a_call_in_the_line_is_answered_when_it_is_cancelled_or_late_or_its_client_has_gone() {
    let fixture = start("Server_Pool_Tasks=2\nServer_Max_Concurrent_Trans=2\n[Limits]\ntest.block=1,3\n");
    let (mut raw, mut gone) = (fixture.connect(0), fixture.connect(0));
    raw.send("test.block", &());
    fixture.wait_for(1, 0);
    let (late, frame) = raw.frame("test.block", &(), 50);
    raw.stream.write_all(&frame).unwrap();
    gone.send("test.block", &());
    let cancelled = raw.send("test.block", &());
    // No wait for the line: the cancel may come before the call is in it.
    raw.stream.write_all(&self::frame(FrameKind::Cancel, 0, cancelled, b"")).unwrap();
    drop(gone);
    let mut answers: Vec<_> = (0..2).map(|_| raw.read().unwrap()).collect();
    answers.sort_by_key(|answer| answer.header.call);
    let answers: Vec<_> = answers.iter().map(|answer| (answer.header.call, answer.status())).collect();
    assert_eq!(answers, [(late, Status::DeadlineExceeded), (cancelled, Status::Cancelled)]);
    wait_until("the one that has gone does not wait", || fixture.server.in_flight() == 1);
    fixture.wait_for(1, 0);
    fixture.gate.open();
    assert_eq!(statuses(&mut raw, 1), [Status::Ok]);
    assert_eq!(fixture.gate.entered(), 1);
}

#[test]
fn a_limit_changes_while_the_server_runs_and_counts_what_runs() {
    let directory = Directory::new();
    let file = directory.file("server.ini", "Server_Pool_Tasks=6\n");
    let (gate, counted, own) = (Arc::default(), Arc::default(), Arc::default());
    let mut config = config("Server_Pool_Tasks=6\nServer_Max_Concurrent_Trans=6\nAdmin_Socket=off");
    config.file = Some(file.clone());
    let passed: Arc<Gate> = Arc::clone(&gate);
    let server = Server::new(config).handle(HOLD, move |_, ()| {
        passed.pass();
        Ok(())
    });
    let fixture = Fixture { server: server.start().expect("starts"), gate, counted };
    let _: (&Arc<Gate>, Arc<OnceLock<SocketAddr>>) = (&fixture.counted, own);
    let text = || std::fs::read_to_string(&file).unwrap();
    let mut raw = fixture.connect(0);
    (0..3).for_each(|_| _ = raw.send("test.hold", &()));
    wait_until("three run", || fixture.gate.inside() == 3);
    let now = SettingChange { effective: true, written: true, not_kept: None };
    assert_eq!(fixture.set("test.hold", "2,9"), now);
    assert_eq!(text(), "Server_Pool_Tasks=6\n[Limits]\ntest.hold=2,9\n");
    (0..4).for_each(|_| _ = raw.send("test.hold", &()));
    fixture.wait_for(3, 4);
    assert_eq!(fixture.set("Test.Hold", "4,9"), now);
    fixture.wait_for(4, 3);
    wait_until("another runs", || fixture.gate.inside() == 4);
    assert_eq!(fixture.set("test.hold", "1,9"), now);
    fixture.wait_for(4, 3);
    assert_eq!(fixture.set("test.hold", "0"), now);
    assert!(fixture.server.monitor().control().snapshot().limits.is_empty());
    wait_until("all workers run", || fixture.gate.inside() == 6);
    assert_eq!(fixture.set("test.hold", "6,0"), now);
    assert_eq!(text(), "Server_Pool_Tasks=6\n[Limits]\ntest.hold=6,0\n");
    fixture.gate.open();
    assert_eq!(statuses(&mut raw, 7), [Status::Ok; 7]);
    fixture.wait_for(0, 0);
    assert_eq!(fixture.set("test.hold", ""), now);
    assert_eq!(text(), "Server_Pool_Tasks=6\n[Limits]\ntest.hold=\n");
    let wrong =
        |key: &str, value: &str| fixture.server.monitor().control().set(key, value).unwrap_err().to_string();
    assert!(wrong("test.hold", "1").contains("expected RUN,WAIT"));
    assert!(wrong("test.hodl", "1,1").contains("did you mean test.hold?"));
}

#[test]
fn a_stop_waits_for_the_line_or_refuses_it() {
    let lines = "Server_Pool_Tasks=2\nServer_Max_Concurrent_Trans=2\n[Limits]\ntest.hold=1,9\n";
    let fixture = start(lines);
    let mut raw = fixture.connect(0);
    (0..4).for_each(|_| _ = raw.send("test.hold", &()));
    fixture.wait_for(1, 3);
    let gate = Arc::clone(&fixture.gate);
    let opener = std::thread::spawn(move || {
        assert_eq!(raw.read().expect("a GoAway").header.kind, FrameKind::GoAway);
        gate.open();
        statuses(&mut raw, 4)
    });
    let stopped = fixture.server.stop_within(PATIENCE);
    assert_eq!((stopped.refused, stopped.unfinished), (0, 0));
    assert_eq!(opener.join().unwrap(), [Status::Ok; 4]);

    let fixture = start(lines);
    let mut raw = fixture.connect(0);
    (0..4).for_each(|_| _ = raw.send("test.hold", &()));
    fixture.wait_for(1, 3);
    let stopped = fixture.server.stop_within(Duration::from_millis(50));
    assert_eq!((stopped.refused, stopped.unfinished), (3, 1));
    assert_eq!(raw.read().expect("a GoAway").header.kind, FrameKind::GoAway);
    assert_eq!(statuses(&mut raw, 3), [Status::Draining; 3]);
    fixture.gate.open();
}

#[test]
fn a_limited_method_that_calls_itself_is_told_so() {
    let fixture = start("Server_Pool_Tasks=8\nServer_Max_Concurrent_Trans=8\n[Limits]\ntest.deep=2,9\n");
    let options = ClientOptions::default().deadline(Duration::from_secs(600)).retries(0);
    let client = Client::with_options(fixture.server.address(), options).unwrap();
    assert_eq!(client.call(DEEP, &1), Ok(1), "there are two places");
    let ends: Vec<_> = (0..6).map(|_| client.start(DEEP, &2).unwrap()).collect();
    let mut deadlocks = 0;
    for end in ends {
        match end.wait() {
            Ok(2) => {}
            Err(ClientError::Application { code: 77, message }) => {
                deadlocks += 1;
                assert!(message.contains("avoided by a higher limit of test.deep in [Limits]"), "{message}");
            }
            other => panic!("neither done nor a deadlock: {other:?}"),
        }
    }
    assert!(deadlocks > 0, "three calls never fit two places");
    wait_for_permits(&fixture.server);
    fixture.wait_for(0, 0);
    assert_eq!(client.call(DEEP, &1), Ok(1));
}

#[test]
fn a_nested_call_at_a_full_line_is_a_deadlock_and_not_refused() {
    let fixture = start("Server_Pool_Tasks=8\nServer_Max_Concurrent_Trans=8\n[Limits]\ntest.deep=1,0\n");
    let options = ClientOptions::default().deadline(Duration::from_secs(600)).retries(0);
    let client = Client::with_options(fixture.server.address(), options).unwrap();
    match client.call(DEEP, &1) {
        Err(ClientError::Application { code: 77, .. }) => {}
        other => panic!("not a deadlock: {other:?}"),
    }
    fixture.wait_for(0, 0);
    assert_eq!(client.call(DEEP, &0), Ok(0));
}

#[test]
fn a_client_has_no_more_calls_in_progress_than_it_may() {
    let lines =
        ports(&["A", "B"]) + "Server_Pool_Tasks=3\nServer_Max_Concurrent_Trans=6\nServer_Client_Calls=3";
    let fixture = start(&lines);
    let mut raw: Vec<Raw> = (0..4).map(|n| fixture.connect(n % 2)).collect();
    (0..3).for_each(|n| _ = raw[n].send("test.hold", &()));
    wait_until("three run", || fixture.gate.inside() == 3);
    for raw in &mut raw {
        let (status, fault) = raw.call::<_, ()>("test.count", &0u32).unwrap_err();
        assert_eq!(status, Status::ClientLimit);
        assert!(fault.retry_after_ms > 0);
    }
    let address = fixture.server.ports()[1].address();
    let mut other = Raw::greet(connect_from(Ipv4Addr::new(127, 0, 0, 2), address));
    other.call::<_, ()>("test.count", &0u32).expect("another client");
    fixture.set("Server_Client_Calls", "0");
    raw[3].call::<_, ()>("test.count", &0u32).expect("there is no limit");
    fixture.set("Server_Client_Calls", "4");
    raw[3].call::<_, ()>("test.count", &0u32).expect("there is room for one");
    fixture.gate.open();
    (0..3).for_each(|n| assert_eq!(statuses(&mut raw[n], 1), [Status::Ok]));
    let refused = |port: usize| fixture.server.ports()[port].stats().answered(Status::ClientLimit);
    assert_eq!((refused(0), refused(1)), (2, 2));
}

#[test]
fn calls_in_progress_count_from_the_moment_a_client_limit_is_set() {
    let fixture = start(&(ports(&["A", "B"]) + "Server_Pool_Tasks=3\nServer_Max_Concurrent_Trans=6"));
    let mut raw: Vec<Raw> = (0..3).map(|n| fixture.connect(n % 2)).collect();
    (0..2).for_each(|n| _ = raw[n].send("test.hold", &()));
    wait_until("two run", || fixture.gate.inside() == 2);
    fixture.set("Server_Client_Calls", "2");
    // The listeners count what runs within a moment.
    wait_until("the limit is in force", || {
        raw[2].call::<_, ()>("test.count", &0u32).is_err_and(|(status, _)| status == Status::ClientLimit)
    });
    fixture.gate.open();
    (0..2).for_each(|n| assert_eq!(statuses(&mut raw[n], 1), [Status::Ok]));
    raw[2].call::<_, ()>("test.count", &0u32).expect("there is room again");
}

#[test]
fn a_limit_of_a_method_that_the_program_has_not_is_an_error_at_the_start() {
    let server = || {
        let (gate, counted, own) = (Arc::default(), Arc::default(), Arc::default());
        prepared("Ports=A\n[Limits]\nserver.ping=1,1\ntest.HOLD=1,1\ntest.hodl=1,1\n", &gate, &counted, &own)
    };
    let expected = "line 6: test.hodl=1,1: unknown method, expected a method of the program that serves; did you mean \
                    test.hold?";
    assert_eq!(server().start().unwrap_err().to_string(), expected);
    assert_eq!(server().dry_run().unwrap_err().to_string(), expected);
    let without_handlers = Server::new(config("[Limits]\nserver.ping=1,1\ntest.hold=1,1\n"));
    let tried = without_handlers.dry_run().unwrap();
    assert!(tried.warnings.iter().any(|warning| warning.message.contains("test.hold=1,1")), "{tried:?}");
}
