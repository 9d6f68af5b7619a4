//! A server under all that can happen to it at once, by chance: bursts, panics, waits, cancels, refusals of every sort,
//! connections that end in the middle of calls. Whatever came, the limits held and the books are right.
//!
//! Each run draws a new seed and says it when it fails. `OVERLOAD_SEED=n` repeats a run as far as threads allow;
//! `OVERLOAD_STEPS=n` makes it as long as one likes.
#![cfg(feature = "server")]

mod common;

use boneyard::internal::wire::FrameKind;
use boneyard::server::RunningServer;
use boneyard::service::{ApplicationError, HandlerError, Status};
use boneyard::{Method, Transaction};
use common::gate::{Gate, Inside};
use common::outcomes::{Answers, Outcomes};
use common::*;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::io::Write;
use std::net::SocketAddr;
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// A task's number, and a seed of what it does.
const TASK: Method<(u64, u64), ()> = Method::new("test.task");

const PERMITS: usize = 3;
const CALLERS: usize = 6;

/// How often each task was begun, by number.
type Begun = Mutex<HashMap<u64, usize>>;

/// What the handlers saw.
#[derive(Default)]
struct Sight {
    running: Gate,
    begun: Begun,
}

fn task(tx: &Transaction<'_>, sight: &Sight, number: u64, seed: u64) -> Result<(), HandlerError> {
    *sight.begun.lock().unwrap().entry(number).or_default() += 1;
    let mut random = Random(seed | 1);
    for _ in 0..random.below(3) {
        let run = Inside::new(&sight.running);
        match random.below(8) {
            0 => resume_unwind(Box::new("while it runs")),
            1 => return Err(ApplicationError::new(1, "no").into()),
            2 => thread::sleep(Duration::from_millis(1)),
            3 => thread::yield_now(),
            _ => {}
        }
        drop(run);
        tx.blocking(|| match random.below(12) {
            0 => resume_unwind(Box::new("while it waits")),
            1 => thread::sleep(Duration::from_millis(1)),
            _ => {}
        });
    }
    Ok(())
}

fn start(sight: &Arc<Sight>) -> RunningServer {
    let lines = format!(
        "{}Server_Max_Concurrent_Trans={PERMITS}\nServer_Pool_Tasks=4\nServer_Queue_Limit=20\n\
         Server_Session_Calls=12\nServer_CoDel_Mode=refuse\nServer_CoDel_Target=2\nServer_CoDel_Interval=10",
        ports(&["A", "B"])
    );
    let sight = Arc::clone(sight);
    let server = server(&lines).handle(TASK, move |tx, (number, seed)| task(tx, &sight, number, seed));
    server.start().unwrap()
}

/// One of those who call: what happened to it.
struct Peer {
    random: Random,
    addresses: [SocketAddr; 2],
    next: u64,
    /// How each task was answered.
    told: HashMap<u64, Status>,
    answers: Answers,
    calls: u64,
    /// Calls whose connection this end closed before they were answered.
    abandoned: u64,
}

/// A connection with its books.
struct Line {
    raw: Raw,
    outcomes: Outcomes,
    /// Tasks by call.
    tasks: HashMap<u64, u64>,
}

impl Line {
    fn connect(address: SocketAddr) -> Line {
        Line { raw: Raw::connect(address), outcomes: Outcomes::default(), tasks: HashMap::new() }
    }
}

impl Peer {
    fn run(&mut self, steps: usize) {
        let mut line = None;
        for _ in 0..steps {
            let address = self.addresses[self.random.below(2)];
            let current = line.get_or_insert_with(|| Line::connect(address));
            match self.random.below(20) {
                0..=8 => self.call(current),
                9..=11 => cancel(current, &mut self.random),
                12 => current.raw.stream.write_all(&frame(FrameKind::Ping, 0, 7, b"")).unwrap(),
                13..=16 => {
                    for _ in 0..self.random.below(current.outcomes.out() + 1) {
                        self.hear(current);
                    }
                }
                17 | 18 => self.settle(current),
                _ => self.hang_up(line.take()),
            }
        }
        if let Some(line) = &mut line {
            self.settle(line);
        }
        self.hang_up(line);
    }

    /// A burst of calls, some of which are in a hurry.
    fn call(&mut self, line: &mut Line) {
        let calls: Vec<_> = (0..1 + self.random.below(8))
            .map(|_| {
                let hurry = if self.random.below(3) == 0 { 1 + self.random.below(4) as u32 } else { 0 };
                self.next += 1;
                let (id, frame) = line.raw.frame("test.task", &(self.next, self.random.next()), hurry);
                line.tasks.insert(id, self.next);
                (id, frame)
            })
            .collect();
        line.outcomes.send(&mut line.raw, calls);
    }

    /// Reads until an answer has come.
    fn hear(&mut self, line: &mut Line) {
        loop {
            let frame = line.raw.read().expect("the server keeps its connections");
            if frame.header.kind == FrameKind::Reply {
                let status = line.outcomes.answered(&frame);
                self.told.insert(line.tasks[&frame.header.call], status);
                return;
            }
            assert_eq!(frame.header.kind, FrameKind::Pong);
        }
    }

    fn settle(&mut self, line: &mut Line) {
        while line.outcomes.out() > 0 {
            self.hear(line);
        }
    }

    fn hang_up(&mut self, line: Option<Line>) {
        let Some(Line { raw, outcomes, .. }) = line else { return };
        self.answers.add(outcomes.answers());
        self.calls += outcomes.made();
        self.abandoned += outcomes.out() as u64;
        if self.random.below(2) == 0 {
            reset(raw.stream);
        }
    }
}

fn cancel(line: &mut Line, random: &mut Random) {
    let last = line.tasks.len() as u64;
    // One of the latest, answered or not, or one that never was.
    let call = (last + 2).saturating_sub(random.below(12) as u64);
    line.raw.stream.write_all(&frame(FrameKind::Cancel, 0, call, b"")).unwrap();
}

fn from_environment(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

#[test]
fn whatever_happens_the_limits_hold_and_the_books_are_right() {
    let seed = from_environment("OVERLOAD_SEED").unwrap_or_else(|| RandomState::new().hash_one("seed"));
    let steps = from_environment("OVERLOAD_STEPS").unwrap_or(12_000) as usize;
    println!("OVERLOAD_SEED={seed} OVERLOAD_STEPS={steps}");
    let sight = Arc::<Sight>::default();
    let server = start(&sight);
    let addresses = [0, 1].map(|port: usize| server.ports()[port].address());
    let mut seeds = Random(seed | 1);
    let mut callers: Vec<Peer> = (0..CALLERS as u64)
        .map(|number| Peer {
            random: Random(seeds.next() | 1),
            addresses,
            next: number << 32,
            told: HashMap::new(),
            answers: Answers::default(),
            calls: 0,
            abandoned: 0,
        })
        .collect();
    thread::scope(|scope| {
        for caller in &mut callers {
            scope.spawn(move || caller.run(steps / CALLERS));
        }
    });
    let open = || server.ports().iter().map(|port| port.stats().open()).sum::<u64>();
    wait_until("all connections are closed", || open() == 0);
    wait_for_permits(&server);

    let mut seen = Answers::default();
    callers.iter().for_each(|caller| seen.add(caller.answers));
    let (made, answered) = (Answers::of(&server), seen.sum());
    let calls: u64 = callers.iter().map(|caller| caller.calls).sum();
    let abandoned: u64 = callers.iter().map(|caller| caller.abandoned).sum();
    println!("{calls} calls, {abandoned} of them abandoned: {seen:?}");
    assert_eq!(calls, answered + abandoned, "each call was answered or its caller hung up");
    assert!(made.more_than(seen) <= abandoned, "answers that nobody saw went to those who hung up");
    for port in server.ports() {
        assert_eq!(port.stats().calls.get(), port.stats().answers.sum(), "{}", port.name());
        assert_eq!((port.queued(), port.in_flight()), (0, 0), "{}", port.name());
        wait_until("all workers sleep", || port.idle_workers() == port.workers());
    }
    assert!(server.permits_peak() as usize <= PERMITS && sight.running.peak() <= PERMITS);
    let begun = sight.begun.lock().unwrap();
    assert!(begun.values().all(|times| *times == 1), "a task was begun twice");
    for (number, status) in callers.iter().flat_map(|caller| &caller.told) {
        assert_eq!(begun.contains_key(number), !status.never_started(), "task {number}: {status:?}");
    }
    assert_eq!(server.stop().lost(), 0);
}
