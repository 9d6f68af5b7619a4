//! The simulation: ports, queues, workers, permits and processors, from event to event.
//!
//! A worker takes the first call of its port's queue that its method's limit allows, which is one over all ports, with
//! a permit; a freed permit goes to a handler that has waited, or else in turn to the ports that have work and an idle
//! worker. All that runs shares the processors. Refused calls change nothing but a count: the times of callers and
//! arrivals have no memory.
//!
//! Invariants: the same load and seed give the same outcome; the number of events is bounded. Turns of connections,
//! deadlines, CoDel and nested calls are not simulated.

use super::outcome::{Outcome, Tally};
use super::random::SeededRng;
use super::state::{CallPhase, MethodLine, PortState, SimulatedCall, SourceState};
use super::station::Station;
use super::workload::{Contention, MethodWorkload, SourceKind, Workload};
use std::collections::VecDeque;

/// Events of a simulation: some milliseconds of a processor.
const EVENTS: u32 = 24_000;

/// Share of them before anything is counted.
const WARM_UP: f64 = 0.2;

/// Most calls that are in progress at the beginning.
const INITIAL_MAX: u32 = 100_000;

/// Least share of the processors that work outside handlers takes where it is simulated.
const BACKGROUND_MIN: f64 = 0.02;

/// Simulates a load.
pub(in crate::monitor) fn simulate(load: &Workload, seed: u64) -> Outcome {
    simulate_for(load, seed, EVENTS)
}

/// Simulates a load for so many events.
pub(super) fn simulate_for(load: &Workload, seed: u64, events: u32) -> Outcome {
    let mut engine = Engine::new(load, seed);
    engine.begin();
    let warm_up = (f64::from(events) * WARM_UP) as u32;
    for event in 0..events {
        if event == warm_up {
            engine.count_from_now();
        }
        if !engine.step() {
            break;
        }
    }
    engine.pass_all();
    engine.tally.outcome(load)
}

struct Engine<'a> {
    load: &'a Workload,
    random: SeededRng,
    now: f64,
    calls: Vec<SimulatedCall>,
    unused: Vec<u32>,
    processors: Station,
    /// Calls held up by nothing that depends on others.
    clock: Station,
    contended: Vec<Station>,
    sources: Vec<SourceState<'a>>,
    ports: Vec<PortState<'a>>,
    /// The limited methods.
    lines: Vec<MethodLine>,
    permits_out: u32,
    returning: VecDeque<u32>,
    /// The port that is considered first.
    turn: usize,
    /// Mean time on a processor of a call outside its handler; 0 where that is not simulated.
    background_s: f64,
    tally: Tally,
}

impl<'a> Engine<'a> {
    fn new(load: &'a Workload, seed: u64) -> Engine<'a> {
        let mut contended = Vec::new();
        let mut station = |method: &MethodWorkload| {
            matches!(method.contention, Contention::Damped { .. }).then(|| {
                contended.push(Station::new());
                contended.len() - 1
            })
        };
        let (lines, of_ports) = MethodLine::all(load);
        let ports = load.ports.iter().zip(of_ports).map(|(port, lines)| {
            let stations = port.methods.iter().map(&mut station).collect();
            PortState::new(port, lines, stations)
        });
        let ports = ports.collect();
        let sources = load
            .ports
            .iter()
            .enumerate()
            .flat_map(|(port, of)| of.sources.iter().map(move |source| SourceState::new(source, port)));
        let background_s = load.processors.background_s;
        let much = load.measured_per_s() * background_s >= BACKGROUND_MIN * load.processors.cores;
        Engine {
            load,
            random: SeededRng::new(seed),
            now: 0.0,
            calls: Vec::new(),
            unused: Vec::new(),
            processors: Station::new(),
            clock: Station::new(),
            contended,
            sources: sources.collect(),
            ports,
            lines,
            permits_out: 0,
            returning: VecDeque::new(),
            turn: 0,
            background_s: if much { background_s } else { 0.0 },
            tally: Tally::new(0.0, load),
        }
    }

    /// Puts the calls in place that were in progress: first those that ran, with what was left of their times.
    fn begin(&mut self) {
        for run in [true, false] {
            for source in 0..self.sources.len() {
                self.put_in_place(source, run);
            }
        }
        self.dispatch();
        (0..self.sources.len()).for_each(|source| self.refresh(source));
    }

    fn count_from_now(&mut self) {
        self.tally = Tally::new(self.now, self.load);
        self.sources.iter_mut().for_each(|state| state.at = self.now);
    }

    fn put_in_place(&mut self, source: usize, run: bool) {
        let SourceState { source: of, port, in_flight, .. } = self.sources[source];
        let all = match of.kind {
            SourceKind::Callers { count, .. } => (of.in_flight.round() as u32).min(count).min(INITIAL_MAX),
            // The backlog would be worked off at some time, and is no part of the calls that come.
            SourceKind::Arrivals { .. } if !run => return,
            SourceKind::Arrivals { .. } => INITIAL_MAX,
        };
        let mut left = all.saturating_sub(in_flight);
        for &(method, share) in &of.methods {
            let busy = self.ports[port].methods[method].busy.round() as u32;
            let wanted = if run { busy } else { (share * f64::from(all)).round() as u32 };
            for _ in 0..wanted.min(left) {
                let call = self.make_call(source, method);
                if run {
                    self.calls[call as usize].factor = self.left_of_a_run(port, method);
                }
                self.enqueue(call);
                left -= 1;
            }
        }
    }

    /// The rest of a call that runs at some instant, as a multiple of the mean time: long ones are met more often.
    fn left_of_a_run(&mut self, port: usize, method: usize) -> f64 {
        let spread = &self.ports[port].methods[method].spread;
        let mut at = self.random.uniform() * spread.iter().sum::<f64>();
        let met = spread.iter().find(|time| {
            at -= **time;
            at < 0.0
        });
        (self.random.uniform() * met.copied().unwrap_or(1.0)).max(1e-9)
    }

    /// Goes on to the next event and carries it out. Returns `false` if there is none.
    fn step(&mut self) -> bool {
        let (mut at, mut next) = (self.processors.next_end(), Event::Processors);
        let mut consider = |time: f64, event: Event| {
            if time < at {
                (at, next) = (time, event);
            }
        };
        consider(self.clock.next_end(), Event::Clock);
        for (place, station) in self.contended.iter().enumerate() {
            consider(station.next_end(), Event::Contended(place));
        }
        for (place, source) in self.sources.iter().enumerate() {
            consider(source.next, Event::Arrival(place));
        }
        if !at.is_finite() {
            return false;
        }
        self.tally.pass(at, self.permits_out, self.processors.len(), self.processors.pace());
        self.now = at.max(self.now);
        let ended = match next {
            Event::Arrival(source) => {
                self.arrive(source);
                return true;
            }
            Event::Processors => self.processors.take(self.now),
            Event::Clock => self.clock.take(self.now),
            Event::Contended(place) => self.contended[place].take(self.now),
        };
        if let Some(call) = ended {
            if next == Event::Processors {
                self.set_processor_pace();
            }
            self.go_on(call);
        }
        true
    }

    fn arrive(&mut self, source: usize) {
        let of = self.sources[source].source;
        let mut at = self.random.uniform();
        let chosen = of.methods.iter().find(|(_, share)| {
            at -= share;
            at < 0.0
        });
        let Some((method, _)) = chosen.or(of.methods.last()) else { return };
        let call = self.make_call(source, *method);
        // Not a rate: the next time is to be found anew even where the rate is as before.
        self.sources[source].rate = f64::NAN;
        self.refresh(source);
        if self.background_s > 0.0 {
            self.calls[call as usize].phase = CallPhase::Background;
            self.use_processor(call, self.background_s);
        } else {
            self.admit(call);
        }
    }

    fn make_call(&mut self, source: usize, method: usize) -> u32 {
        let state = &mut self.sources[source];
        state.in_flight += 1;
        let call = SimulatedCall {
            port: state.port,
            method,
            source,
            phase: CallPhase::Queued,
            has_place: false,
            factor: 0.0,
            arrived: self.now,
            started: self.now,
        };
        if let Some(number) = self.unused.pop() {
            self.calls[number as usize] = call;
            return number;
        }
        self.calls.push(call);
        (self.calls.len() - 1) as u32
    }

    fn use_processor(&mut self, call: u32, time: f64) {
        self.processors.add(self.now, time, call);
        self.set_processor_pace();
    }

    fn set_processor_pace(&mut self) {
        let pace = self.load.processors.share(self.processors.len().max(1));
        self.processors.set_pace(self.now, pace);
    }

    /// Puts a call into the queue, or refuses it.
    fn admit(&mut self, call: u32) {
        let SimulatedCall { port, method, source, .. } = self.calls[call as usize];
        if self.is_refused(port, method) {
            self.tally.ports[port].refused += 1.0;
            self.leave(call, source);
            return;
        }
        self.calls[call as usize].phase = CallPhase::Queued;
        self.calls[call as usize].arrived = self.now;
        self.enqueue(call);
        self.dispatch();
        if self.ports[port].is_full() {
            self.refresh_port(port);
        }
    }

    /// Returns whether a call of this method would be refused.
    fn is_refused(&self, port: usize, method: usize) -> bool {
        let port = &self.ports[port];
        port.lines[method].is_some_and(|line| self.lines[line].is_full()) || port.is_full()
    }

    fn enqueue(&mut self, call: u32) {
        let port = self.calls[call as usize].port;
        self.pass(port);
        self.ports[port].queue.push_back(call);
        self.ports[port].waiting += 1;
    }

    /// Starts whatever can start.
    fn dispatch(&mut self) {
        while self.load.permits.is_none_or(|most| self.permits_out < most) {
            if let Some(call) = self.returning.pop_front() {
                self.end(call);
            } else if !self.start_next() {
                return;
            }
        }
    }

    /// Starts a call of the next port that has one and an idle worker. Returns `false` if there is none.
    fn start_next(&mut self) -> bool {
        let count = self.ports.len();
        let due = (0..count).map(|more| (self.turn + more) % count).find(|port| {
            let port = &self.ports[*port];
            port.idle > 0 && !port.queue.is_empty()
        });
        let Some(port) = due else { return false };
        let was_full = self.ports[port].is_full();
        self.pass(port);
        let call = self.ports[port].queue.pop_front();
        if let Some(call) = call.filter(|call| self.take_place(*call)) {
            self.turn = (port + 1) % count;
            self.start(call);
        }
        if was_full && !self.ports[port].is_full() {
            self.refresh_port(port);
        }
        true
    }

    /// Gives a call a place under its method's limit, or sets it aside and returns `false`.
    fn take_place(&mut self, number: u32) -> bool {
        let SimulatedCall { port, method, has_place, .. } = self.calls[number as usize];
        let Some(line) = self.ports[port].lines[method].filter(|_| !has_place) else { return true };
        let line = &mut self.lines[line];
        if line.has_room() {
            line.taken += 1;
            return true;
        }
        line.aside.push_back(number);
        self.ports[port].aside[method] += 1;
        false
    }

    /// Gives the place of a call that has ended to the first that was set aside, which may be of another port.
    fn pass_place(&mut self, place: usize) {
        let was_full = self.lines[place].is_full();
        let Some(next) = self.lines[place].aside.pop_front() else {
            self.lines[place].taken -= 1;
            if was_full {
                self.refresh_line(place);
            }
            return;
        };
        let SimulatedCall { port, method, .. } = self.calls[next as usize];
        self.pass(port);
        self.calls[next as usize].has_place = true;
        self.ports[port].aside[method] -= 1;
        self.ports[port].queue.push_front(next);
        if was_full {
            self.refresh_line(place);
        }
    }

    fn start(&mut self, number: u32) {
        let SimulatedCall { port, method, arrived, factor, .. } = self.calls[number as usize];
        let state = &mut self.ports[port];
        state.idle -= 1;
        state.waiting -= 1;
        state.running[method] += 1;
        self.permits_out += 1;
        let tally = &mut self.tally.ports[port];
        tally.started += 1;
        tally.wait_sum += self.now - arrived;
        let of = &state.methods[method];
        let factor = if factor > 0.0 { factor } else { self.random.one_of(&of.spread) };
        let call = &mut self.calls[number as usize];
        (call.factor, call.started, call.phase) = (factor, self.now, CallPhase::Processor);
        self.set_contended_pace(port, method);
        let time = of.processor_s * factor;
        if time > 0.0 { self.use_processor(number, time) } else { self.go_on(number) }
    }

    fn set_contended_pace(&mut self, port: usize, method: usize) {
        let state = &self.ports[port];
        let Some(place) = state.stations[method] else { return };
        let stretch = state.methods[method].contention.stretch(state.running[method].max(1));
        self.contended[place].set_pace(self.now, 1.0 / stretch.max(1e-6));
    }

    /// Brings a call that has ended a phase into the next one.
    fn go_on(&mut self, number: u32) {
        let SimulatedCall { port, method, phase, factor, .. } = self.calls[number as usize];
        let of = &self.ports[port].methods[method];
        match phase {
            CallPhase::Background => self.admit(number),
            CallPhase::Queued => {}
            CallPhase::Processor => self.hold(number, CallPhase::Held, of.held_s * factor),
            CallPhase::Held if of.blocked_s > 0.0 => {
                self.permits_out -= 1;
                self.hold(number, CallPhase::Blocked, of.blocked_s * factor);
                self.dispatch();
            }
            CallPhase::Held => {
                self.permits_out -= 1;
                self.end(number);
                self.dispatch();
            }
            CallPhase::Blocked => {
                self.returning.push_back(number);
                self.dispatch();
            }
        }
    }

    fn hold(&mut self, number: u32, phase: CallPhase, time: f64) {
        let SimulatedCall { port, method, .. } = self.calls[number as usize];
        self.calls[number as usize].phase = phase;
        let state = &self.ports[port];
        match state.stations[method] {
            // Some part of every call takes time, so that no chain of calls ends at one instant.
            _ if time <= 0.0 && state.methods[method].processor_s > 0.0 => self.go_on(number),
            Some(place) => self.contended[place].add(self.now, time.max(1e-9), number),
            None => self.clock.add(self.now, time.max(1e-9), number),
        }
    }

    /// Ends a call, which holds no permit any more.
    fn end(&mut self, number: u32) {
        let SimulatedCall { port, method, source, started, .. } = self.calls[number as usize];
        self.pass(port);
        let state = &mut self.ports[port];
        state.idle += 1;
        state.running[method] -= 1;
        let line = state.lines[method];
        let tally = &mut self.tally.ports[port].methods[method];
        tally.ended += 1;
        tally.run_sum += self.now - started;
        self.set_contended_pace(port, method);
        if let Some(line) = line {
            self.pass_place(line);
        }
        self.leave(number, source);
    }

    fn leave(&mut self, number: u32, source: usize) {
        self.unused.push(number);
        self.sources[source].in_flight -= 1;
        self.refresh(source);
    }

    fn refresh_port(&mut self, port: usize) {
        for source in 0..self.sources.len() {
            if self.sources[source].port == port {
                self.refresh(source);
            }
        }
    }

    /// Brings the sources of a limited method alone up to date.
    fn refresh_line(&mut self, line: usize) {
        for place in 0..self.sources.len() {
            let SourceState { source, port, .. } = self.sources[place];
            let [(method, _)] = source.methods[..] else { continue };
            if self.ports[port].lines[method] == Some(line) {
                self.refresh(place);
            }
        }
    }

    /// Brings the rate of a source up to date. While all its calls would be refused, they are only counted.
    fn refresh(&mut self, place: usize) {
        let state = &self.sources[place];
        let refused = match state.source.methods[..] {
            [(method, _)] => self.is_refused(state.port, method),
            _ => self.ports[state.port].is_full(),
        };
        let rate = state.source.rate(state.in_flight);
        let state = &mut self.sources[place];
        if rate == state.rate && refused == state.refused {
            return;
        }
        if state.refused {
            self.tally.ports[state.port].refused += (self.now - state.at) * state.rate;
        }
        (state.at, state.rate, state.refused) = (self.now, rate, refused);
        state.next = if refused { f64::INFINITY } else { self.now + self.random.exponential(rate) };
    }

    /// Adds the time until now to the sums of a port, before it changes.
    fn pass(&mut self, port: usize) {
        let state = &self.ports[port];
        let methods = state.running.iter().copied().zip(state.aside.iter().copied());
        self.tally.ports[port].pass(self.now, state.waiting, methods);
    }

    fn pass_all(&mut self) {
        (0..self.ports.len()).for_each(|port| self.pass(port));
        for state in self.sources.iter().filter(|state| state.refused) {
            self.tally.ports[state.port].refused += (self.now - state.at) * state.rate;
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Event {
    Processors,
    Clock,
    Contended(usize),
    Arrival(usize),
}
