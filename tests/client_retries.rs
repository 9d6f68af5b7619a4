//! Retries, hedging, throttling and cancels of the client. Against a scripted server where a real one cannot be made
//! to behave so.
#![cfg(all(feature = "client", feature = "server"))]

mod common;
mod scripted_server;

use boneyard::client::{Client, ClientError, ClientOptions, DeadlineSource};
use boneyard::server::RunningServer;
use boneyard::service::{Fault, Repeat, Status};
use boneyard::{Method, Pending};
use common::gate::Gate;
use common::{PATIENCE, Raw, wait_until};
use scripted_server::{DOUBLE, Peer, ScriptedServer, pair_with, welcome};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// A deadline that is missed on purpose. A call must be sent within it on a busy machine too.
const SOON: Duration = Duration::from_secs(2);

/// As [`DOUBLE`], but idempotent.
const AGAIN: Method<u32, u64> = DOUBLE.idempotent();

/// Waits at the gate.
const WAIT: Method<(), ()> = Method::new("test.wait");
/// Counts its call and returns.
const COUNT: Method<(), ()> = Method::new("test.count");
/// The first call waits at the gate, the others return.
const STICK: Method<(), ()> = Method::new("test.stick").idempotent();

fn options() -> ClientOptions {
    ClientOptions::default()
}

fn fault(retry_after_ms: u32) -> Fault {
    Fault { code: 0, retry_after_ms, message: String::new() }
}

/// Returns whether the status is a refusal that may pass a little later.
fn is_for_load(status: &Status) -> bool {
    matches!(status.repeat(), Repeat::ByClient(_))
}

/// Calls on another thread, so that this one can act as the server.
fn calling(client: &Client, method: Method<u32, u64>) -> thread::JoinHandle<Result<u64, ClientError>> {
    let client = client.clone();
    thread::spawn(move || client.call(method, &21))
}

/// Asserts that the client sends nothing more.
fn nothing_more(client: Client, mut peer: Peer) {
    drop(client);
    peer.closed();
}

#[test]
fn a_refused_call_is_repeated_as_another_call_until_it_is_accepted() {
    for status in Status::ALL.into_iter().filter(is_for_load) {
        let (_server, client, mut peer) = pair_with(options(), welcome());
        let json = client.clone();
        let json = thread::spawn(move || json.call_json("test.double", "21"));
        for _ in 0..2 {
            let call = peer.call();
            peer.refuse(&call, status, fault(1));
        }
        let call = peer.call();
        peer.answer(&call, &42u64);
        assert_eq!(json.join().unwrap().as_deref(), Ok("42"), "{status:?}");
        let caller = calling(&client, DOUBLE);
        let [first, second] = [(); 2].map(|()| {
            let call = peer.call();
            peer.refuse(&call, status, fault(0));
            call
        });
        assert!(second.id > first.id && second.arguments == first.arguments);
        let call = peer.call();
        peer.refuse(&call, status, fault(7));
        let error = caller.join().unwrap().unwrap_err();
        assert_eq!(error.retry_after(), Some(Duration::from_millis(7)), "the last refusal is the error");
        nothing_more(client, peer);
    }
}

#[test]
fn only_refusals_for_load_are_repeated() {
    for status in Status::ALL.into_iter().filter(|status| !is_for_load(status)) {
        let (_server, client, mut peer) = pair_with(options(), welcome());
        let caller = calling(&client, AGAIN);
        let call = peer.call();
        peer.refuse(&call, status, fault(0));
        assert!(caller.join().unwrap().is_err(), "{status:?}");
        nothing_more(client, peer);
    }
}

#[test]
fn a_pending_call_is_one_attempt() {
    let (_server, client, mut peer) = pair_with(options(), welcome());
    let pending = client.start(AGAIN, &21).unwrap();
    let call = peer.call();
    peer.refuse(&call, Status::QueueFull, fault(0));
    assert_eq!(pending.wait(), Err(ClientError::QueueFull { retry_after: None }));
    nothing_more(client, peer);
}

#[test]
fn a_call_is_not_repeated_after_its_deadline() {
    let (_server, client, mut peer) = pair_with(options(), welcome());
    let caller = calling(&client, DOUBLE);
    let call = peer.call();
    peer.refuse(&call, Status::QueueFull, fault(u32::MAX));
    let retry_after = Some(Duration::from_millis(u32::MAX.into()));
    assert_eq!(
        caller.join().unwrap(),
        Err(ClientError::QueueFull { retry_after }),
        "and nobody waits for it"
    );
    nothing_more(client, peer);
}

#[test]
fn a_server_that_is_not_ready_is_reconnected_to() {
    let server = ScriptedServer::new();
    let client = server.client_with(options());
    let caller = calling(&client, DOUBLE);
    drop(server.accept_raw());
    let peer = server.accept_with({
        let mut bytes = Vec::new();
        boneyard::internal::proto::goaway(
            &boneyard::service::Refusal::new(Status::Draining, "bye"),
            &mut bytes,
        );
        bytes
    });
    thread::spawn(move || peer.serve());
    let peer = server.accept();
    let serving = thread::spawn(move || peer.serve());
    assert_eq!(caller.join().unwrap(), Ok(42));
    drop(client);
    assert_eq!(serving.join().unwrap(), 1);
}

#[test]
fn a_lost_call_is_repeated_only_if_it_is_idempotent() {
    let (server, client, mut peer) = pair_with(options(), welcome());
    let caller = calling(&client, DOUBLE);
    peer.call();
    drop(peer);
    let error = caller.join().unwrap().unwrap_err();
    assert!(matches!(error, ClientError::Disconnected { may_have_run: true, .. }), "{error:?}");
    assert!(!server.is_called());
    let caller = calling(&client, AGAIN);
    let mut peer = server.accept();
    peer.call();
    drop(peer);
    let peer = server.accept();
    let serving = thread::spawn(move || peer.serve());
    assert_eq!(caller.join().unwrap(), Ok(42));
    drop(client);
    assert_eq!(serving.join().unwrap(), 1);
}

#[test]
fn an_error_does_not_hide_that_an_earlier_attempt_may_have_run() {
    let (server, client, mut peer) = pair_with(options().retries(1), welcome());
    let caller = calling(&client, AGAIN);
    peer.call();
    drop(peer);
    let mut peer = server.accept();
    let call = peer.call();
    peer.refuse(&call, Status::QueueFull, fault(0));
    let error = caller.join().unwrap().unwrap_err();
    assert!(matches!(error, ClientError::Disconnected { may_have_run: true, .. }), "{error:?}");
}

#[test]
fn the_first_answer_of_a_hedged_call_counts_and_the_other_call_is_cancelled() {
    let (_server, client, mut peer) = pair_with(options().hedge_after(Duration::ZERO), welcome());
    for answered in [0, 1] {
        let caller = calling(&client, AGAIN);
        let calls = [peer.call(), peer.call()];
        assert_eq!(calls[0].arguments, calls[1].arguments);
        peer.answer(&calls[answered], &42u64);
        assert_eq!(caller.join().unwrap(), Ok(42));
        assert_eq!(peer.cancel(), calls[1 - answered].id);
    }
    // A refusal of one is no answer while the other is in flight.
    for refused in [0, 1] {
        let caller = calling(&client, AGAIN);
        let calls = [peer.call(), peer.call()];
        peer.refuse(&calls[refused], Status::QueueFull, fault(0));
        peer.answer(&calls[1 - refused], &42u64);
        assert_eq!(caller.join().unwrap(), Ok(42));
    }
    let caller = calling(&client, DOUBLE);
    let call = peer.call();
    peer.answer(&call, &42u64);
    assert_eq!(caller.join().unwrap(), Ok(42), "what is not idempotent is not hedged");
    nothing_more(client, peer);
}

#[test]
fn both_attempts_of_a_late_hedged_call_are_cancelled() {
    let (_server, client, mut peer) = pair_with(options().hedge_after(Duration::ZERO), welcome());
    let soon = client.with_deadline(SOON);
    let caller = calling(&soon, AGAIN);
    let mut calls = [peer.call().id, peer.call().id];
    let late = ClientError::DeadlineExceeded { detected_by: DeadlineSource::Client, may_have_run: true };
    assert_eq!(caller.join().unwrap(), Err(late));
    let mut cancelled = [peer.cancel(), peer.cancel()];
    calls.sort();
    cancelled.sort();
    assert_eq!(cancelled, calls);
}

/// A server with one worker, and the gates of WAIT, COUNT and STICK.
struct BusyServer {
    server: RunningServer,
    gate: Arc<Gate>,
    counted: Arc<Gate>,
    stuck: Arc<Gate>,
}

impl BusyServer {
    fn new(lines: &str) -> BusyServer {
        let [gate, counted, stuck] = [(); 3].map(|()| Arc::<Gate>::default());
        let inside = [&gate, &counted, &stuck].map(Arc::clone);
        let [waiting, counting, sticking] = inside;
        let first = AtomicBool::new(true);
        let server = common::server(lines)
            .handle(WAIT, move |_, ()| {
                waiting.pass();
                Ok(())
            })
            .handle(COUNT, move |_, ()| {
                counting.enter();
                counting.leave();
                Ok(())
            })
            .handle(STICK, move |_, ()| {
                if first.swap(false, Ordering::SeqCst) {
                    sticking.pass();
                }
                Ok(())
            });
        BusyServer { server: server.start().unwrap(), gate, counted, stuck }
    }

    /// A server whose only worker waits at the gate and whose queue is full, so that it refuses every call; with the
    /// connection that filled it.
    fn full() -> (BusyServer, Raw) {
        let house =
            BusyServer::new("Server_Pool_Tasks=1\nServer_Max_Concurrent_Trans=1\nServer_Queue_Limit=1");
        let mut raw = Raw::connect(house.server.address());
        raw.send("test.wait", &());
        wait_until("the worker is busy", || house.gate.inside() == 1);
        raw.send("test.wait", &());
        wait_until("the queue is full", || house.server.ports()[0].queued() == 1);
        (house, raw)
    }

    fn client(&self, options: ClientOptions) -> Client {
        Client::with_options(self.server.address(), options.deadline(PATIENCE)).unwrap()
    }

    /// Calls received, refused ones included.
    fn calls(&self) -> u64 {
        self.server.ports()[0].stats().calls.get()
    }

    fn cancels(&self) -> u64 {
        self.server.ports()[0].stats().cancels.get()
    }
}

#[test]
fn refused_calls_succeed_once_there_is_room_and_none_runs_twice() {
    const CALLERS: u64 = 4;
    let (house, _raw) = BusyServer::full();
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            // Separate clients, so that none spends the other's budget.
            let client = house.client(options().retries(10));
            thread::spawn(move || client.call(COUNT, &()))
        })
        .collect();
    wait_until("all are refused", || house.calls() >= 2 + CALLERS);
    house.gate.open();
    for caller in callers {
        assert_eq!(caller.join().unwrap(), Ok(()));
    }
    assert_eq!(house.counted.entered() as u64, CALLERS);
}

#[test]
fn a_server_that_refuses_everything_gets_at_most_a_tenth_more_calls_and_ten() {
    const CALLS: u64 = 200;
    let (house, _raw) = BusyServer::full();
    let client = house.client(options().throttle(false));
    let before = house.calls();
    for _ in 0..CALLS {
        assert!(matches!(client.clone().call(COUNT, &()), Err(ClientError::QueueFull { .. })));
    }
    let attempts = house.calls() - before;
    assert!(attempts > CALLS + 10 && attempts <= CALLS + 10 + CALLS / 10, "{attempts}");
    assert_eq!(house.counted.entered(), 0);
}

#[test]
fn a_server_that_refuses_everything_is_soon_sent_a_tenth_and_after_its_recovery_all() {
    const CALLS: u64 = 400;
    let (house, _raw) = BusyServer::full();
    let client = house.client(options().retries(0));
    let before = house.calls();
    let throttled = (0..CALLS).filter(|_| client.clone().call(COUNT, &()) == Err(ClientError::Throttled));
    let throttled = throttled.count() as u64;
    assert_eq!(house.calls() - before, CALLS - throttled);
    // 20 and a tenth of the rest, which chance draws.
    assert!((30..120).contains(&(CALLS - throttled)), "{throttled} of {CALLS} were held back");
    wait_until("a call that nobody waits for is held back too", || {
        matches!(client.start(COUNT, &()), Err(ClientError::Throttled))
    });
    house.gate.open();
    let mut in_a_row = 0;
    wait_until("a hundred calls in a row are sent", || {
        for _ in 0..100 {
            in_a_row = if client.call(COUNT, &()).is_ok() { in_a_row + 1 } else { 0 };
        }
        in_a_row >= 100
    });
}

#[test]
fn the_hedge_of_a_stuck_call_overtakes_it_and_the_stuck_call_is_cancelled() {
    let house = BusyServer::new("Server_Pool_Tasks=4\nServer_Max_Concurrent_Trans=4");
    let client = house.client(options().hedge_after(Duration::from_millis(20)));
    assert_eq!(client.call(STICK, &()), Ok(()), "while the first of its calls is stuck");
    wait_until("that is inside", || house.stuck.inside() == 1);
    wait_until("the first is cancelled", || house.cancels() == 1);
    house.stuck.open();
}

#[test]
fn at_most_a_tenth_of_the_calls_and_ten_are_hedged() {
    const CALLS: u64 = 300;
    let house = BusyServer::new("");
    let client = house.client(options().hedge_after(Duration::ZERO));
    for _ in 0..CALLS {
        assert_eq!(client.call(boneyard::service::builtin::PING, &()), Ok(()));
    }
    assert!((CALLS..=CALLS + 10 + CALLS / 10).contains(&house.calls()), "{}", house.calls());
}

#[test]
fn dropped_and_late_calls_are_cancelled_and_never_run() {
    let house = BusyServer::new("Server_Pool_Tasks=1\nServer_Max_Concurrent_Trans=1");
    let client = house.client(options());
    let running = client.start(WAIT, &()).unwrap();
    wait_until("the worker is busy", || house.gate.inside() == 1);
    let dropped: Vec<Pending<()>> = (0..10).map(|_| client.start(COUNT, &()).unwrap()).collect();
    let soon = client.with_deadline(SOON);
    let late = ClientError::DeadlineExceeded { detected_by: DeadlineSource::Client, may_have_run: true };
    assert_eq!(soon.call(COUNT, &()), Err(late));
    wait_until("the late one is cancelled", || house.cancels() == 1);
    drop(dropped);
    wait_until("the dropped ones are cancelled", || house.cancels() == 11);
    let kept = client.start(COUNT, &()).unwrap();
    house.gate.open();
    assert_eq!((running.wait(), kept.wait()), (Ok(()), Ok(())));
    drop((client, soon));
    let port = &house.server.ports()[0];
    wait_until("the connection is closed", || port.stats().open() == 0 && port.in_flight() == 0);
    assert_eq!((house.counted.entered(), house.cancels()), (1, 11), "what is answered is not cancelled");
}

#[test]
fn queued_calls_of_a_dropped_client_are_cancelled() {
    let house = BusyServer::new("Server_Pool_Tasks=1\nServer_Max_Concurrent_Trans=1");
    let mut raw = Raw::connect(house.server.address());
    raw.send("test.wait", &());
    wait_until("the worker is busy", || house.gate.inside() == 1);
    let client = house.client(options());
    let pending: Vec<_> = (0..10).map(|_| client.start(COUNT, &()).unwrap()).collect();
    wait_until("all are queued", || house.server.ports()[0].queued() == 10);
    drop((client, pending));
    let stats = house.server.ports()[0].stats();
    wait_until("its connection is closed", || stats.open() == 1);
    house.gate.open();
    wait_until("all are answered", || house.server.in_flight() == 0);
    assert_eq!((house.counted.entered(), stats.answered(Status::Cancelled)), (0, 10));
}
