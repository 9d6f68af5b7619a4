//! Availability: the highest rate of a minute, and how much longer calls take than they could.
//!
//! The expansion factor is Domino's: of each method the recent average time over the best it ever had, and of these the
//! mean, weighted by how often each was called; recent are the last five quarters of a minute. Calls that do not end
//! are in no average, so they count as what they are by now: those that run by how long they have run, those that wait
//! by how long their port has finished nothing.

use super::snapshot::{MethodSnapshot, PortSnapshot, Snapshot, WorkerSnapshot};
use crate::metrics::Distribution;
use std::time::{Duration, Instant};

/// Shortest best time of a method: what a call of microseconds waits for a thread to wake up says nothing about load.
const BEST_MIN: Duration = Duration::from_millis(1);

/// The expansion factor at which the server is full is two to the power of this.
const RANGE: f64 = 6.0;

/// Follows the availability of a server from sample to sample.
#[derive(Debug, Default)]
pub(super) struct AvailabilityTracker {
    /// Finished calls of each port, and since when calls wait without that changing.
    unfinished: Vec<(u64, Instant)>,
    current: Availability,
}

/// Rates and availability of a server.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Availability {
    pub(super) per_minute: u64,
    /// Most answers ever in a minute.
    pub(super) per_minute_peak: u64,
    /// When that was, since the server started.
    pub(super) peak_at: Duration,
    /// How many times longer calls take than they could; 1 or more.
    pub(super) expansion_factor: f64,
}

impl Default for Availability {
    fn default() -> Self {
        Availability { per_minute: 0, per_minute_peak: 0, peak_at: Duration::ZERO, expansion_factor: 1.0 }
    }
}

impl AvailabilityTracker {
    /// Adds a sample: the snapshot before the recent ones and the last one, what the workers did at the last one, and
    /// the answers of the last minute.
    pub(super) fn update(
        &mut self,
        (before, snapshot): (Option<&Snapshot>, &Snapshot),
        workers: &[WorkerSnapshot],
        per_minute: u64,
    ) {
        let current = &mut self.current;
        current.per_minute = per_minute;
        if per_minute > current.per_minute_peak {
            (current.per_minute_peak, current.peak_at) = (per_minute, snapshot.uptime);
        }
        let mut expansion = Expansion::between(before.unwrap_or(snapshot), snapshot);
        expansion.add_running(snapshot, workers);
        for (port, since) in snapshot.ports.iter().zip(unfinished_since(&mut self.unfinished, snapshot)) {
            expansion.add_waiting(port, snapshot.taken.saturating_duration_since(since));
        }
        current.expansion_factor = expansion.factor();
    }

    pub(super) fn current(&self) -> Availability {
        self.current
    }
}

impl Availability {
    /// 100 for an idle server, 0 for a full one.
    pub(super) fn index(&self) -> u64 {
        (100.0 - 100.0 * self.expansion_factor.log2() / RANGE).clamp(0.0, 100.0).round() as u64
    }
}

/// Returns since when each port has finished nothing while calls wait; now, where none waits.
fn unfinished_since(unfinished: &mut Vec<(u64, Instant)>, snapshot: &Snapshot) -> Vec<Instant> {
    unfinished.resize(snapshot.ports.len(), (0, snapshot.taken));
    let since = |((before, since), port): (&mut (u64, Instant), &PortSnapshot)| {
        // A refusal does not count: the listener answers it.
        let finished = port.answers.all() - port.answers.refused();
        if port.waiting == 0 || finished != *before {
            (*before, *since) = (finished, snapshot.taken);
        }
        *since
    };
    unfinished.iter_mut().zip(&snapshot.ports).map(since).collect()
}

/// Calls, and how many times longer than at best they took, added up.
#[derive(Debug, Default)]
struct Expansion {
    calls: f64,
    sum: f64,
}

impl Expansion {
    /// Calls that ended between two snapshots.
    fn between(before: &Snapshot, after: &Snapshot) -> Expansion {
        let mut ended = Expansion::default();
        for (before, after) in before.ports.iter().zip(&after.ports) {
            let mut earlier = before.methods.iter().peekable();
            for method in &after.methods {
                let (recent, total) = since(earlier.next_if(|earlier| earlier.name == method.name), method);
                ended.add(recent, total.as_secs_f64(), best(method));
            }
        }
        ended
    }

    fn add(&mut self, calls: u64, total_s: f64, best: Duration) {
        self.calls += calls as f64;
        self.sum += (total_s / best.max(BEST_MIN).as_secs_f64()).max(calls as f64);
    }

    /// Adds the calls that run now, except of methods that have never ended: those may be meant to last.
    fn add_running(&mut self, snapshot: &Snapshot, workers: &[WorkerSnapshot]) {
        let running = workers.iter().filter_map(|worker| Some((&worker.port, worker.task.as_ref()?)));
        for (port, task) in running {
            let port = snapshot.ports.iter().find(|known| known.name == *port);
            let method = port.and_then(|port| port.methods.iter().find(|known| known.name == task.method));
            if let Some(method) = method.filter(|method| method.times.run.count() > 0) {
                self.add(1, task.ran.as_secs_f64(), best(method));
            }
        }
    }

    /// Adds the calls that wait at a port which has finished nothing for `still`, as calls like those it has had.
    fn add_waiting(&mut self, port: &PortSnapshot, still: Duration) {
        let (mut calls, mut sum_s) = (0, 0.0);
        for method in &port.methods {
            let count = method.times.run.count();
            calls += count;
            sum_s += count as f64 * best(method).as_secs_f64();
        }
        let best = Duration::from_secs_f64(sum_s / calls.max(1) as f64);
        self.add(port.waiting, port.waiting as f64 * still.as_secs_f64(), best);
    }

    fn factor(&self) -> f64 {
        if self.calls > 0.0 { self.sum / self.calls } else { 1.0 }
    }
}

/// Calls since `earlier`, and all their time.
fn since(earlier: Option<&MethodSnapshot>, method: &MethodSnapshot) -> (u64, Duration) {
    let total = |method: &MethodSnapshot| {
        let times = &method.times;
        (times.run.count(), times.queue_wait.sum() + times.permit_wait.sum() + times.run.sum())
    };
    let (before, now) = (earlier.map(total).unwrap_or_default(), total(method));
    (now.0.saturating_sub(before.0), now.1.saturating_sub(before.1))
}

/// The best time of a method, its waits included.
fn best(method: &MethodSnapshot) -> Duration {
    let times = method.times.map(Distribution::min);
    times.queue_wait + times.permit_wait + times.run
}

#[cfg(test)]
mod tests {
    use super::super::history::History;
    use super::super::sample_snapshots::{method, port, snapshot};
    use super::super::snapshot::{HandlerState, Task};
    use super::*;
    use crate::sync::Arc;
    use std::time::Instant;

    const S: Duration = Duration::from_secs(1);

    /// A tracker with the history that it is given snapshots of.
    #[derive(Default)]
    struct Samples(History, AvailabilityTracker);

    impl Samples {
        fn add(&mut self, snapshot: Snapshot, workers: &[WorkerSnapshot], per_minute: u64) -> Availability {
            let snapshot = Arc::new(snapshot);
            self.0.add(Arc::clone(&snapshot));
            self.1.update((self.0.minute_ago().as_deref(), &snapshot), workers, per_minute);
            self.1.current()
        }
    }

    #[test]
    fn methods_are_weighted_by_their_calls() {
        let (mut samples, start) = (Samples::default(), Instant::now());
        let mut sample = |s: u32, read: &[u64], write: &[u64]| {
            let mut port = port("TCPIP");
            port.methods = vec![method("read", read), method("write", write)];
            samples.add(snapshot(start, S * s, vec![port]), &[], 0).expansion_factor
        };
        assert_eq!(sample(0, &[10], &[20]), 1.0, "nothing has happened since");
        assert_eq!(sample(1, &[10, 10, 10], &[20]), 1.0);
        // Two at their best, one at three times, and one at twice its best.
        let (read, write) = ([10, 10, 10, 30], [20, 40]);
        assert_eq!(sample(2, &read, &write), (1.0 + 1.0 + 3.0 + 2.0) / 4.0);
        let later = (3..200).map(|s| sample(s, &read, &write)).last();
        assert_eq!(later, Some(1.0), "what was is forgotten");
        assert_eq!(sample(200, &[10, 10, 10, 30, 10], &[20, 40]), 1.0);
    }

    #[test]
    fn calls_shorter_than_a_wake_up_do_not_count() {
        let (mut samples, start) = (Samples::default(), Instant::now());
        for (s, ran) in [(0, [0].as_slice()), (1, &[0, 1, 1, 0])] {
            let mut port = port("TCPIP");
            port.methods = vec![method("ping", ran)];
            samples.add(snapshot(start, S * s, vec![port]), &[], 0);
        }
        assert_eq!(samples.1.current().expansion_factor, 1.0);
    }

    /// The index at each of the seconds that a port has had two calls of 10 ms and finishes nothing, while so many
    /// calls wait and a worker runs that method for as long.
    fn wedged(seconds: u32, waiting: u64, running: bool) -> Vec<u64> {
        let (mut samples, start) = (Samples::default(), Instant::now());
        let sample = |s: u32| {
            let mut port = port("TCPIP");
            (port.waiting, port.methods) = (waiting, vec![method("read", &[10, 10])]);
            let worker =
                WorkerSnapshot { port: "TCPIP".into(), worker: 1, task: running.then(|| task(S * s)) };
            samples.add(snapshot(start, S * s, vec![port]), &[worker], 0).index()
        };
        (0..seconds).map(sample).collect()
    }

    fn task(ran: Duration) -> Task {
        Task {
            state: HandlerState::Running,
            thread: None,
            since: ran,
            method: "read".into(),
            peer: "127.0.0.1:5000".parse().unwrap(),
            call: 1,
            session: 0,
            ran,
            left_ms: None,
            chain: Vec::new(),
        }
    }

    #[test]
    fn a_server_where_nothing_moves_is_not_available_however_long_that_lasts() {
        for (waiting, running) in [(5, true), (5, false), (0, true)] {
            let index = wedged(200, waiting, running);
            assert_eq!((index[0], index[1..].iter().max()), (100, Some(&0)), "{waiting} {running}");
        }
        assert_eq!(wedged(200, 0, false), [100; 200], "nothing to do");
    }

    #[test]
    fn waiting_calls_count_by_their_age_and_only_while_nothing_is_finished() {
        let (mut samples, start) = (Samples::default(), Instant::now());
        let mut sample = |s: u32, ended: &[u64], waiting: u64| {
            let mut port = port("TCPIP");
            port.answers.0[0] = ended.len() as u64;
            (port.waiting, port.methods) = (waiting, vec![method("read", ended)]);
            samples.add(snapshot(start, S * s, vec![port]), &[], 0).expansion_factor
        };
        assert_eq!(sample(0, &[1000], 0), 1.0);
        assert_eq!(sample(1, &[1000, 1000], 3), 1.0, "they have come just now");
        assert_eq!(sample(2, &[1000, 1000], 3), 1.0, "a second is what such a call takes");
        // One ended at its best; three wait for four times that.
        assert_eq!(sample(5, &[1000, 1000], 3), (1.0 + 3.0 * 4.0) / 4.0);
        assert_eq!(sample(6, &[1000, 1000, 1000], 3), 1.0, "it goes on");
    }

    #[test]
    fn a_method_that_has_never_ended_does_not_count() {
        let (mut samples, start) = (Samples::default(), Instant::now());
        for s in 0..200 {
            let worker = WorkerSnapshot { port: "TCPIP".into(), worker: 1, task: Some(task(S * s)) };
            samples.add(snapshot(start, S * s, vec![port("TCPIP")]), &[worker], 0);
        }
        assert_eq!(samples.1.current().index(), 100);
    }

    #[test]
    fn the_highest_minute_is_kept_with_its_time() {
        let (mut samples, start) = (Samples::default(), Instant::now());
        for (s, per_minute) in [(1, 5), (2, 9), (3, 9), (4, 2)] {
            samples.add(snapshot(start, S * s, Vec::new()), &[], per_minute);
        }
        let Availability { per_minute, per_minute_peak, peak_at, .. } = samples.1.current();
        assert_eq!((per_minute, per_minute_peak, peak_at), (2, 9, S * 2));
    }

    #[test]
    fn the_index_is_that_of_domino() {
        let index = |expansion_factor| Availability { expansion_factor, ..Availability::default() }.index();
        let factors = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 1e6];
        assert_eq!(factors.map(index), [100, 83, 67, 50, 33, 17, 0, 0]);
    }
}
