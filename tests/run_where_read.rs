//! `Server_Run_Where_Read` on a real server: short calls run on the listening thread, and what turns out to be slow, or
//! waits, or panics there holds up nobody, while pool and throttle keep their limits.
#![cfg(all(feature = "client", feature = "server"))]

mod common;

use boneyard::service::Status;
use boneyard::{Client, Method, RunningServer, Transaction};
use common::gate::{Gate, Inside};
use common::*;
use std::net::SocketAddr;
use std::panic::catch_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// A method that is known to be short, until it is told to do something else.
const DO: Method<u32, u32> = Method::new("test.do");
/// Returns at once.
const SHORT: u32 = 0;
/// Waits at the gate with its permit.
const HOLD: u32 = 1;
/// Waits at the gate without its permit.
const BLOCK: u32 = 2;
const PANIC: u32 = 3;
/// Calls the same method of the same server.
const CALL: u32 = 4;

/// A call that ran no longer does not make its method slow (`metrics/service_times.rs`).
const SHORT_US: u32 = 40;

struct Fixture {
    server: RunningServer,
    gate: Arc<Gate>,
    /// Counts the handlers that run.
    running: Arc<Gate>,
}

impl Fixture {
    /// A server whose method is known to be short.
    fn start(lines: &str) -> Fixture {
        let (gate, running, address) =
            (Arc::<Gate>::default(), Arc::<Gate>::default(), Arc::<OnceLock<SocketAddr>>::default());
        let (held, counted, own) = (Arc::clone(&gate), Arc::clone(&running), Arc::clone(&address));
        let run = move |tx: &Transaction<'_>, what| {
            let _running = Inside::new(&counted);
            match what {
                HOLD => held.pass(),
                BLOCK => tx.blocking(|| held.pass()),
                PANIC => std::panic::resume_unwind(Box::new("on purpose")),
                CALL => {
                    let client = Client::connect(*own.get().expect("set")).expect("it listens");
                    return Ok(client.call(DO, &SHORT).expect("the other worker is free") + CALL);
                }
                _ => {}
            }
            Ok(what)
        };
        let server = server(&format!("Server_Run_Where_Read=1\n{lines}")).handle(DO, run).start().unwrap();
        address.set(server.address()).expect("set once");
        let fixture = Fixture { server, gate, running };
        fixture.make_short();
        fixture
    }

    /// Calls until a call runs where it is read, and so shortly that the next will, too.
    fn make_short(&self) {
        let mut client = self.connect();
        wait_until("it is known to be short", || {
            let before = self.ran_where_read();
            client.send("test.do", &SHORT);
            let run_us = client.read().expect("a reply").times().run_us;
            self.ran_where_read() > before && run_us < SHORT_US
        });
    }

    fn connect(&self) -> Raw {
        Raw::connect(self.server.address())
    }

    fn ran_where_read(&self) -> u64 {
        self.server.ports()[0].stats().ran_where_read.get()
    }

    fn passed(&self) -> u64 {
        self.server.ports()[0].stats().listener_passed.get()
    }

    fn call(&self, client: &mut Raw, what: u32) {
        assert_eq!(client.call::<_, u32>("test.do", &what).unwrap(), what);
    }

    /// Sends a call that certainly runs where it is read: its method is known to be short, and no worker is awake.
    fn send_alone(&self, client: &mut Raw, what: u32) -> u64 {
        self.make_short();
        wait_for_permits(&self.server);
        let before = self.ran_where_read();
        let id = client.send("test.do", &what);
        wait_until("it runs where it was read", || self.ran_where_read() == before + 1);
        id
    }
}

#[test]
fn without_the_setting_every_call_has_a_worker() {
    let server = load_server("Server_Pool_Tasks=2");
    let mut client = Raw::connect(server.address());
    for n in 0..100_u64 {
        let bytes = n.to_le_bytes().to_vec();
        assert_eq!(client.call::<_, Vec<u8>>("load.echo", &bytes).unwrap(), bytes);
    }
    assert_eq!(server.ports()[0].stats().ran_where_read.get(), 0);
}

#[test]
fn a_slow_call_holds_up_no_other_and_the_pool_keeps_its_limit() {
    let fixture = Fixture::start("Server_Pool_Tasks=2\nServer_Max_Concurrent_Trans=2");
    let mut clients: Vec<Raw> = (0..4).map(|_| fixture.connect()).collect();
    let mut held = vec![fixture.send_alone(&mut clients[0], HOLD)];
    // The other worker serves, though nobody listens at first.
    fixture.call(&mut clients[3], SHORT);
    assert!(fixture.passed() >= 1);
    held.extend(clients[1..3].iter_mut().map(|client| client.send("test.do", &HOLD)));
    wait_until("two run and one waits", || {
        (fixture.gate.inside(), fixture.server.ports()[0].queued()) == (2, 1)
    });
    assert_eq!(fixture.server.permits_out(), 2);
    assert_eq!(fixture.server.ports()[0].idle_workers(), 0);
    fixture.gate.open();
    for (client, id) in clients.iter_mut().zip(held) {
        let frame = client.read().expect("a reply");
        assert_eq!((frame.header.call, frame.status()), (id, Status::Ok));
    }
    wait_for_permits(&fixture.server);
    assert_eq!((fixture.gate.peak(), fixture.server.ports()[0].idle_workers()), (2, 2));
    assert_eq!(fixture.server.stop().lost(), 0);
}

#[test]
fn the_listening_goes_from_thread_to_thread() {
    for what in [HOLD, BLOCK] {
        let fixture = Fixture::start("Server_Pool_Tasks=2\nServer_Max_Concurrent_Trans=1");
        fixture.gate.open();
        let mut clients = [fixture.connect(), fixture.connect()];
        // With the gate open a call that holds its permit is short: only those that wait pass the listening on.
        for _ in 0..50 {
            let before = fixture.passed();
            fixture.send_alone(&mut clients[0], what);
            assert_eq!(clients[0].read().expect("a reply").status(), Status::Ok);
            fixture.call(&mut clients[1], SHORT);
            assert!(what == HOLD || fixture.passed() > before);
        }
        wait_for_permits(&fixture.server);
        assert_eq!((fixture.running.inside(), fixture.server.ports()[0].idle_workers()), (0, 2));
        assert_eq!(fixture.server.permits_peak(), 1);
    }
}

#[test]
fn a_call_that_waits_gives_its_permit_back_and_takes_one_again() {
    let fixture = Fixture::start("Server_Pool_Tasks=2\nServer_Max_Concurrent_Trans=1");
    let (mut waiting, mut other) = (fixture.connect(), fixture.connect());
    let id = fixture.send_alone(&mut waiting, BLOCK);
    wait_until("it waits", || fixture.gate.inside() == 1);
    fixture.call(&mut other, SHORT);
    assert!(fixture.passed() >= 1);
    fixture.gate.open();
    let frame = waiting.read().expect("a reply");
    assert_eq!((frame.header.call, frame.status()), (id, Status::Ok));
    assert_eq!(fixture.server.permits_peak(), 1);
}

#[test]
fn a_handler_there_may_call_its_own_server_and_may_panic() {
    let fixture = Fixture::start("Server_Pool_Tasks=2");
    let mut client = fixture.connect();
    fixture.send_alone(&mut client, CALL);
    assert_eq!(client.read().expect("a reply").result::<u32>().unwrap(), CALL);
    assert!(fixture.passed() >= 1);
    fixture.send_alone(&mut client, PANIC);
    assert_eq!(client.read().expect("a reply").status(), Status::Panicked);
    fixture.call(&mut client, SHORT);
    wait_for_permits(&fixture.server);
    assert_eq!(fixture.server.ports()[0].idle_workers(), 2);
}

#[test]
fn a_server_stops_though_a_call_there_never_ends() {
    let fixture = Fixture::start("Server_Pool_Tasks=2");
    let (mut stuck, mut other) = (fixture.connect(), fixture.connect());
    fixture.send_alone(&mut stuck, HOLD);
    fixture.call(&mut other, SHORT);
    let stopped = fixture.server.stop_within(Duration::from_millis(50));
    assert_eq!((stopped.unfinished, stopped.refused), (1, 0));
    assert_eq!(stopped.held_by[0].method, "test.do");
    fixture.gate.open();
}

/// A value of a session that waits when it is dropped, which the listener does.
#[derive(Default)]
struct WaitsAtItsEnd;

/// Values dropped, and those of them whose wait was taken for a worker's, which gives back a permit that is not held.
static DROPPED: [AtomicUsize; 2] = [AtomicUsize::new(0), AtomicUsize::new(0)];

impl Drop for WaitsAtItsEnd {
    fn drop(&mut self) {
        let waited = catch_unwind(|| boneyard::service::blocking(std::thread::yield_now));
        DROPPED[1].fetch_add(usize::from(waited.is_err()), Ordering::SeqCst);
        DROPPED[0].fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_thread_that_listens_is_no_worker() {
    const KEEP: Method<(), ()> = Method::new("test.keep");
    let server = server("Server_Run_Where_Read=1\nServer_Pool_Tasks=1\nServer_Max_Concurrent_Trans=1")
        .handle(KEEP, |tx, ()| {
            tx.with_session(|_: &mut WaitsAtItsEnd| ());
            Ok(())
        });
    let server = server.start().unwrap();
    let stats = || server.ports()[0].stats();
    let mut rounds = 0;
    wait_until("a call has run where it was read, and values were dropped after", || {
        let mut client = Raw::connect(server.address());
        for _ in 0..20 {
            client.call::<_, ()>("test.keep", &()).unwrap();
        }
        let dropped = DROPPED[0].load(Ordering::SeqCst);
        drop(client);
        wait_until("the listener has dropped the value", || DROPPED[0].load(Ordering::SeqCst) > dropped);
        wait_for_permits(&server);
        rounds += 1;
        rounds >= 20 && stats().ran_where_read.get() > 0
    });
    assert_eq!(DROPPED[1].load(Ordering::SeqCst), 0);
    assert_eq!((server.permits_peak(), server.ports()[0].idle_workers()), (1, 1));
    assert_eq!(server.stop().lost(), 0);
}

#[test]
fn workers_kept_for_nested_calls_are_kept() {
    let fixture = Fixture::start("Server_Pool_Tasks=2\nServer_Nested_Reserve=1");
    let (mut stuck, mut other) = (fixture.connect(), fixture.connect());
    let id = fixture.send_alone(&mut stuck, HOLD);
    let waits = other.send("test.do", &SHORT);
    wait_until("it waits for the one worker that may run it", || fixture.server.ports()[0].queued() == 1);
    fixture.gate.open();
    assert_eq!(stuck.read().expect("a reply").header.call, id);
    assert_eq!(other.read().expect("a reply").header.call, waits);
    // With the gate open: the call it makes runs on the worker that is kept.
    fixture.send_alone(&mut stuck, CALL);
    let frame = stuck.read().expect("a reply");
    assert_eq!(frame.result::<u32>().unwrap(), CALL);
}

#[test]
fn a_lowered_limit_holds_for_the_listening_thread() {
    let fixture = Fixture::start("Server_Pool_Tasks=3\nServer_Max_Concurrent_Trans=3");
    let mut clients: Vec<Raw> = (0..3).map(|_| fixture.connect()).collect();
    fixture.send_alone(&mut clients[0], HOLD);
    let control = fixture.server.monitor().control();
    control.set("Server_Max_Concurrent_Trans", "1").expect("a live setting");
    clients[1].send("test.do", &SHORT);
    wait_until("it waits for the one permit", || fixture.server.ports()[0].queued() == 1);
    assert_eq!(fixture.running.inside(), 1);
    fixture.gate.open();
    for client in &mut clients[..2] {
        assert_eq!(client.read().expect("a reply").status(), Status::Ok);
    }
    wait_for_permits(&fixture.server);
    fixture.call(&mut clients[2], SHORT);
}

#[test]
fn calls_of_many_connections_are_all_answered_within_the_limits() {
    let fixture = Fixture::start("Server_Pool_Tasks=3\nServer_Max_Concurrent_Trans=2");
    fixture.gate.open();
    std::thread::scope(|scope| {
        for seed in 1..=8 {
            let fixture = &fixture;
            scope.spawn(move || {
                let (mut client, mut random) = (fixture.connect(), Random(seed));
                for _ in 0..100 {
                    let calls: Vec<u32> = (0..=random.below(6)).map(|_| random.below(3) as u32).collect();
                    let mut ids: Vec<u64> = calls.iter().map(|what| client.send("test.do", what)).collect();
                    while !ids.is_empty() {
                        let frame = client.read().expect("a reply");
                        assert_eq!(frame.status(), Status::Ok);
                        ids.retain(|id| *id != frame.header.call);
                    }
                }
            });
        }
    });
    wait_for_permits(&fixture.server);
    assert!(fixture.server.permits_peak() <= 2);
    assert_eq!(fixture.server.ports()[0].idle_workers(), 3);
    assert_eq!(fixture.server.stop().lost(), 0);
}
