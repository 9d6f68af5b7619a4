//! A quiet caller beside a flood waits for turns, not for the flood. Counted, not timed: how many calls of the flood
//! begin between the admission of a quiet call and its start.
//!
//! Handlers write themselves down when they begin. Those of slow calls go on one at a time, when the test says so, and
//! so each step of the queue can be seen.
#![cfg(feature = "server")]

mod common;

use boneyard::Method;
use boneyard::internal::wire::FrameKind;
use boneyard::server::{PortHandle, RunningServer};
use boneyard::service::Status;
use common::*;
use std::io::Write;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// Begins, and goes on when it may.
const SLOW: Method<(), ()> = Method::new("test.slow");
/// Begins and runs for [`SHORT`].
const BRIEF: Method<(), ()> = Method::new("test.brief");
/// The quiet caller's.
const QUIET: Method<(), ()> = Method::new("test.quiet");

/// Less than what the server takes for a short call, which is 50 us.
const SHORT: Duration = Duration::from_micros(20);

/// As many of [`BRIEF`] as can begin in a turn of 500 us, and the one that finds it over.
const TURN_CALLS: usize = 500 / 20 + 2;

const ROUNDS: usize = 20;

/// Calls of the flood that are out at once on its connection.
const FLOOD: usize = 2_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Flood,
    Quiet,
}

/// Who has begun, in order, and how many of the slow may go on.
#[derive(Default)]
struct Stage {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    begun: Vec<Who>,
    waiting: usize,
    tickets: usize,
    /// Everybody goes on.
    over: bool,
}

impl Stage {
    fn begin(&self, who: Who) {
        self.state.lock().unwrap().begun.push(who);
    }

    fn begin_and_wait(&self) {
        let mut state = self.state.lock().unwrap();
        state.begun.push(Who::Flood);
        state.waiting += 1;
        while state.tickets == 0 && !state.over {
            state = self.changed.wait(state).unwrap();
        }
        state.tickets = state.tickets.saturating_sub(1);
        state.waiting -= 1;
    }

    /// Lets so many of the waiting go on.
    fn release(&self, count: usize) {
        let mut state = self.state.lock().unwrap();
        state.tickets += count;
        self.changed.notify_all();
    }

    fn end(&self) {
        self.state.lock().unwrap().over = true;
        self.changed.notify_all();
    }

    /// How many wait and have no ticket.
    fn waiting(&self) -> usize {
        let state = self.state.lock().unwrap();
        state.waiting.saturating_sub(state.tickets)
    }

    fn begun(&self) -> usize {
        self.state.lock().unwrap().begun.len()
    }

    /// Calls of the flood that began after the first `from` beginnings and before the next quiet call; `None` while
    /// that has not begun.
    fn floods_before_quiet(&self, from: usize) -> Option<usize> {
        self.state.lock().unwrap().begun[from..].iter().position(|who| *who == Who::Quiet)
    }
}

fn start(lines: &str) -> (RunningServer, Arc<Stage>) {
    let stage = Arc::<Stage>::default();
    let [slow, brief, quiet] = [(); 3].map(|()| Arc::clone(&stage));
    let server = server(lines)
        .handle(SLOW, move |_, ()| {
            slow.begin_and_wait();
            Ok(())
        })
        .handle(BRIEF, move |_, ()| {
            brief.begin(Who::Flood);
            let start = Instant::now();
            while start.elapsed() < SHORT {
                std::hint::spin_loop();
            }
            Ok(())
        })
        .handle(QUIET, move |_, ()| {
            quiet.begin(Who::Quiet);
            Ok(())
        });
    (server.start().unwrap(), stage)
}

/// Sends so many calls at once.
fn flood(client: &mut Raw, method: &str, calls: usize) {
    let bytes: Vec<u8> = (0..calls).flat_map(|_| client.frame(method, &(), 0).1).collect();
    client.stream.write_all(&bytes).unwrap();
}

/// Returns when all that was sent before is admitted: `calls` have come, and the listener has put the last of them
/// into the queue, since it answers somebody else.
fn admitted(port: &PortHandle, calls: u64, witness: &mut Raw) {
    wait_until("the call has come", || port.stats().calls.get() == calls);
    witness.stream.write_all(&frame(FrameKind::Ping, 0, calls, b"")).unwrap();
    let pong = witness.read().expect("a Pong");
    assert_eq!((pong.header.kind, pong.header.call), (FrameKind::Pong, calls));
}

fn answers(client: &mut Raw, count: usize) {
    (0..count).for_each(|_| assert_eq!(client.read().expect("a reply").status(), Status::Ok));
}

/// Rounds of a quiet call at `port` while slow calls of others hold all `permits`: the most of them that ever began
/// before it.
fn rounds_beside_slow(port: &PortHandle, stage: &Stage, permits: usize) -> usize {
    let (mut quiet, mut witness) = (Raw::connect(port.address()), Raw::connect(port.address()));
    let mut most = 0;
    for _ in 0..ROUNDS {
        wait_until("every permit is in use", || stage.waiting() == permits);
        let (calls, begun) = (port.stats().calls.get(), stage.begun());
        quiet.send("test.quiet", &());
        admitted(port, calls + 1, &mut witness);
        while stage.floods_before_quiet(begun).is_none() {
            let before = stage.begun();
            stage.release(1);
            wait_until("another begins", || stage.begun() > before);
        }
        most = most.max(stage.floods_before_quiet(begun).expect("it has begun"));
        answers(&mut quiet, 1);
    }
    most
}

#[test]
fn a_quiet_session_waits_for_one_slow_call_of_each_session_that_floods() {
    for (workers, permits, floods) in [(1, 1, 1), (4, 4, 1), (4, 2, 1), (2, 2, 3)] {
        let (server, stage) =
            start(&format!("Server_Pool_Tasks={workers}\nServer_Max_Concurrent_Trans={permits}"));
        let port = &server.ports()[0];
        let mut clients: Vec<Raw> = (0..floods).map(|_| Raw::connect(port.address())).collect();
        for client in &mut clients {
            flood(client, "test.slow", FLOOD);
        }
        let window = boneyard::internal::admission::WINDOW_CALLS_MAX;
        wait_until("each has its window out", || port.in_flight() == floods * window);
        let most = rounds_beside_slow(port, &stage, permits);
        let place = format!("{workers} workers, {permits} permits, {floods} floods");
        assert!(most <= floods, "{place}: {most} calls of the flood began before a quiet one");
        stage.end();
        clients.iter_mut().for_each(|client| answers(client, FLOOD));
    }
}

#[test]
fn a_quiet_port_waits_for_one_slow_call_of_a_port_that_is_flooded() {
    for permits in [1, 2] {
        let lines = format!(
            "{}Server_Pool_Tasks=4\nServer_Max_Concurrent_Trans={permits}",
            ports(&["Flood", "Quiet"])
        );
        let (server, stage) = start(&lines);
        let (flooded, quiet) = (&server.ports()[0], &server.ports()[1]);
        let mut clients: Vec<Raw> = (0..4).map(|_| Raw::connect(flooded.address())).collect();
        clients.iter_mut().for_each(|client| flood(client, "test.slow", 500));
        wait_until("the flood is in", || flooded.in_flight() == 2_000);
        let most = rounds_beside_slow(quiet, &stage, permits);
        assert!(most <= 1, "{permits} permits: {most} calls of the flood began before one at the other port");
        assert_eq!(server.permits_peak() as usize, permits);
        stage.end();
        clients.iter_mut().for_each(|client| answers(client, 500));
    }
}

/// Rounds in which all workers are held, a flood of short calls and then one quiet call are queued, and the workers
/// let go: in each, how many of the flood began before the quiet call, the fewest first.
fn rounds_beside_brief(
    flooded: &PortHandle,
    quieter: &PortHandle,
    stage: &Stage,
    held: usize,
) -> [usize; ROUNDS] {
    let [mut holder, mut flooder] = [(); 2].map(|()| Raw::connect(flooded.address()));
    let [mut quiet, mut witness] = [(); 2].map(|()| Raw::connect(quieter.address()));
    // So that it is known for short.
    flood(&mut flooder, "test.brief", 500);
    answers(&mut flooder, 500);
    let mut before = [(); ROUNDS].map(|()| {
        wait_until("nothing is in flight", || flooded.in_flight() == 0);
        (0..held).for_each(|_| assert!(holder.send("test.slow", &()) > 0));
        wait_until("all are held", || stage.waiting() == held);
        flood(&mut flooder, "test.brief", FLOOD);
        let window = boneyard::internal::admission::WINDOW_CALLS_MAX;
        wait_until("the window is out", || flooded.in_flight() == held + window);
        let (calls, begun) = (quieter.stats().calls.get(), stage.begun());
        quiet.send("test.quiet", &());
        admitted(quieter, calls + 1, &mut witness);
        stage.release(held);
        answers(&mut quiet, 1);
        let before = stage.floods_before_quiet(begun).expect("it has begun");
        answers(&mut holder, held);
        answers(&mut flooder, FLOOD);
        before
    });
    before.sort_unstable();
    before
}

#[test]
fn a_quiet_session_waits_for_one_turn_of_a_session_that_floods_with_short_calls() {
    for workers in [1, 2] {
        let (server, stage) =
            start(&format!("Server_Pool_Tasks={workers}\nServer_Max_Concurrent_Trans={workers}"));
        let port = &server.ports()[0];
        let before = rounds_beside_brief(port, port, &stage, workers);
        // Of two workers, the one that has taken the quiet call may lose its processor before it begins it, while the
        // other goes on with the flood: not each round shows the order of the queue then, but most do.
        let shown = if workers == 1 { ROUNDS - 1 } else { ROUNDS / 2 };
        assert!(before[shown] <= TURN_CALLS, "{workers} workers: short calls before a quiet one: {before:?}");
    }
}

/// With one permit: with two, the second goes on with the flood while the first wakes the quiet port's worker.
#[test]
fn a_quiet_port_waits_for_one_turn_of_a_port_that_is_flooded_with_short_calls() {
    let lines = format!("{}Server_Pool_Tasks=2\nServer_Max_Concurrent_Trans=1", ports(&["Flood", "Quiet"]));
    let (server, stage) = start(&lines);
    let before = rounds_beside_brief(&server.ports()[0], &server.ports()[1], &stage, 1);
    assert!(before[ROUNDS - 1] <= TURN_CALLS, "short calls before one at the other port: {before:?}");
}
