//! A made server of one port, written apart from the simulation: callers or arrivals, a queue, workers, and gates
//! outside that let so many calls through. It yields the interval of each second.

use crate::metrics::{Histogram, Parts};
use crate::monitor::simulation::random::SeededRng;
use crate::monitor::snapshot::{AnswerCounts, SessionCounts, Workers};
use crate::monitor::{Interval, MethodInterval, PortInterval};
use crate::service::Status;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

/// Callers that each call one of these methods at random when they have thought, or arrivals at a rate.
#[derive(Debug, Clone)]
pub(super) struct Crowd {
    pub(super) from_s: f64,
    pub(super) callers: u32,
    pub(super) think_s: f64,
    /// Arrivals, if there are no callers.
    pub(super) per_s: f64,
    pub(super) methods: Vec<usize>,
}

impl Crowd {
    pub(super) fn of(callers: u32, think_s: f64, method: usize) -> Crowd {
        Crowd { from_s: 0.0, callers, think_s, per_s: 0.0, methods: vec![method] }
    }
}

/// A method: its mean time, the part of it that does not vary, and how many run past its gate.
#[derive(Debug, Clone, Copy)]
pub(super) struct MadeMethod {
    pub(super) mean_s: f64,
    pub(super) fixed: f64,
    pub(super) gate: usize,
}

#[derive(Debug, Clone)]
pub(super) struct World {
    pub(super) workers: usize,
    pub(super) queue_limit: usize,
    pub(super) connections: u64,
    pub(super) crowds: Vec<Crowd>,
    pub(super) methods: Vec<MadeMethod>,
}

#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
enum Happening {
    Attempt(usize),
    Done(usize),
}

struct Call {
    crowd: usize,
    method: usize,
    arrived: f64,
    started: f64,
}

#[derive(Default)]
struct Second {
    calls: u64,
    methods: Vec<(Parts<Histogram>, AnswerCounts, f64)>,
}

struct Running<'a> {
    of: &'a World,
    random: SeededRng,
    now: f64,
    /// Times in nanoseconds, and places in `happenings`.
    due: BinaryHeap<Reverse<(u64, usize)>>,
    happenings: Vec<Happening>,
    calls: Vec<Call>,
    queue: VecDeque<usize>,
    busy: usize,
    running: Vec<usize>,
    at_gate: Vec<VecDeque<usize>>,
    inside: Vec<usize>,
    second: Second,
}

impl World {
    /// The intervals of so many seconds.
    pub(super) fn run(&self, seconds: u32, seed: u64) -> Vec<Interval> {
        let count = self.methods.len();
        let mut world = Running {
            of: self,
            random: SeededRng::new(seed),
            now: 0.0,
            due: BinaryHeap::new(),
            happenings: Vec::new(),
            calls: Vec::new(),
            queue: VecDeque::new(),
            busy: 0,
            running: vec![0; count],
            at_gate: vec![VecDeque::new(); count],
            inside: vec![0; count],
            second: Second::default(),
        };
        world.begin();
        (1..=seconds).map(|second| world.second(f64::from(second))).collect()
    }

    /// Calls run per second, in the latter half of so many seconds.
    pub(super) fn per_s(&self, seconds: u32) -> f64 {
        let all = self.run(seconds, 99);
        let counted = &all[all.len() / 2..];
        let ended = |interval: &Interval| interval.ports[0].times.run.count();
        counted.iter().map(ended).sum::<u64>() as f64 / counted.len() as f64
    }
}

impl Running<'_> {
    fn begin(&mut self) {
        for (place, crowd) in self.of.crowds.iter().enumerate() {
            for _ in 0..crowd.callers {
                let spread = self.random.uniform() * (crowd.think_s + 0.001);
                self.plan(crowd.from_s + spread, Happening::Attempt(place));
            }
            if crowd.callers == 0 {
                self.plan(crowd.from_s, Happening::Attempt(place));
            }
        }
    }

    fn plan(&mut self, at: f64, what: Happening) {
        self.happenings.push(what);
        self.due.push(Reverse(((at * 1e9) as u64, self.happenings.len() - 1)));
    }

    fn second(&mut self, until: f64) -> Interval {
        let methods = self.of.methods.iter().map(|_| Default::default()).collect();
        self.second = Second { calls: 0, methods };
        while let Some(Reverse((at, what))) = self.due.peek().copied()
            && at as f64 / 1e9 < until
        {
            self.due.pop();
            self.pass(at as f64 / 1e9);
            match self.happenings[what] {
                Happening::Attempt(crowd) => self.attempt(crowd),
                Happening::Done(call) => self.done(call),
            }
        }
        self.pass(until);
        self.interval()
    }

    fn pass(&mut self, now: f64) {
        for (running, (_, _, ran)) in self.running.iter().zip(&mut self.second.methods) {
            *ran += (now - self.now) * *running as f64;
        }
        self.now = now;
    }

    fn attempt(&mut self, place: usize) {
        let crowd = &self.of.crowds[place];
        if crowd.callers == 0 {
            let next = self.now + self.random.exponential(crowd.per_s);
            self.plan(next, Happening::Attempt(place));
        }
        let method = crowd.methods[(self.random.uniform() * crowd.methods.len() as f64) as usize];
        self.second.calls += 1;
        if self.queue.len() >= self.of.queue_limit {
            self.second.methods[method].1.0[Status::QueueFull.index()] += 1;
            self.think(place);
            return;
        }
        self.calls.push(Call { crowd: place, method, arrived: self.now, started: 0.0 });
        self.queue.push_back(self.calls.len() - 1);
        self.start();
    }

    fn think(&mut self, place: usize) {
        let crowd = &self.of.crowds[place];
        if crowd.callers > 0 {
            let time = crowd.think_s * (0.5 + self.random.uniform());
            self.plan(self.now + time, Happening::Attempt(place));
        }
    }

    fn start(&mut self) {
        while self.busy < self.of.workers
            && let Some(call) = self.queue.pop_front()
        {
            self.busy += 1;
            let now = self.now;
            self.calls[call].started = now;
            let (method, waited) = (self.calls[call].method, now - self.calls[call].arrived);
            self.running[method] += 1;
            self.second.methods[method].0.queue_wait.add(Duration::from_secs_f64(waited));
            self.second.methods[method].0.permit_wait.add(Duration::ZERO);
            self.at_gate[method].push_back(call);
            self.pass_gate(method);
        }
    }

    fn pass_gate(&mut self, method: usize) {
        let MadeMethod { mean_s, fixed, gate } = self.of.methods[method];
        while self.inside[method] < gate
            && let Some(call) = self.at_gate[method].pop_front()
        {
            self.inside[method] += 1;
            let time = mean_s * (fixed + (1.0 - fixed) * self.random.exponential(1.0));
            self.plan(self.now + time, Happening::Done(call));
        }
    }

    fn done(&mut self, call: usize) {
        let Call { crowd, method, started, .. } = self.calls[call];
        let (times, answers, _) = &mut self.second.methods[method];
        times.run.add(Duration::from_secs_f64(self.now - started));
        answers.0[Status::Ok.index()] += 1;
        self.busy -= 1;
        self.running[method] -= 1;
        self.inside[method] -= 1;
        self.pass_gate(method);
        self.think(crowd);
        self.start();
    }

    fn interval(&self) -> Interval {
        let names = ["a.zero", "a.one", "a.two"];
        let methods = self.second.methods.iter().zip(names).map(|((times, answers, ran), name)| {
            let times = times.map(Histogram::distribution);
            MethodInterval { name: name.into(), busy: *ran, answers: *answers, times }
        });
        let methods: Vec<MethodInterval> = methods.collect();
        let (mut answers, mut times) = (AnswerCounts::default(), Parts::default());
        for method in &methods {
            answers.add(&method.answers);
            times.add(&method.times);
        }
        let running = self.busy as u32;
        let workers = Workers { running, idle: self.of.workers as u32 - running, ..Workers::default() };
        let port = PortInterval {
            name: "P".into(),
            workers,
            busy: methods.iter().map(|method| method.busy).sum(),
            workers_busy: f64::from(running),
            workers_blocked: 0.0,
            workers_returning: 0.0,
            connections: self.of.connections,
            in_calls: 0.0,
            waiting: self.queue.len() as f64,
            waiting_min: 0,
            set_aside: 0.0,
            queue_limit: self.of.queue_limit as u64,
            without_permit: 0.0,
            calls: self.second.calls,
            answers,
            closed: Default::default(),
            queue_filled: 0,
            times,
            methods,
        };
        Interval {
            length: Duration::from_secs(1),
            cores: 16,
            cores_used: 0.1,
            cores_idle_and_stolen: Some((15.8, 0.0)),
            cores_wanted: 0.0,
            limit: None,
            permits_out: f64::from(running),
            connections: (self.of.connections, None),
            refused_descriptors: 0,
            refused_connects: 0,
            connects_most: None,
            sessions: SessionCounts::default(),
            limits: Vec::new(),
            ports: vec![port],
        }
    }
}
