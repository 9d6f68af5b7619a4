//! The sources of a port's calls: callers that wait for their answers, or calls that arrive by themselves.
//!
//! - Refusals: as many callers as connections come again and again; where one connection has several calls out, calls
//!   arrive at the rate at which they were made. Either may be the other, unless far more is refused than run.
//! - Calls in progress that grow steadily: they arrive by themselves.
//! - Calls in progress whose number hardly changes: callers that wait, most of them at once.
//! - Else as many callers as connections, most of which think; or arrivals, if there are fewer connections than calls.
//!
//! Callers who call one method each react otherwise to a change than callers who call all; both are readings of the
//! same measurements, the former the first.

use super::workload::{CallSource, SourceKind};

/// Least share of the attempts that is refused where refusals count.
const REFUSED_MIN: f64 = 0.01;

/// Calls in progress per connection up to which each connection may be a caller.
const CALLER_OF_CONNECTION: f64 = 1.05;

/// Attempts, as a multiple of the calls run, above which they are callers that come again at once.
const SPINNING: f64 = 5.0;

/// Variance of the calls in progress, as a share of their mean, below which they are callers that wait.
const STEADY: f64 = 0.6;

/// Fewest readings for a variance, and for a growth.
const READINGS_MIN: usize = 3;
const GROWTH_READINGS_MIN: usize = 4;

/// Callers of a method alone, in its part, from which on they are taken for callers of that method.
const CALLERS_MIN: f64 = 1.5;

/// The calls of a port in the time measured.
#[derive(Debug, Clone, Default)]
pub(super) struct PortCalls {
    /// Calls in progress at the end of each step, the oldest first; and connections then.
    pub(super) in_flight: Vec<f64>,
    pub(super) connections: Vec<u64>,
    /// Calls that arrived.
    pub(super) arrived_per_s: f64,
    pub(super) methods: Vec<MethodCalls>,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct MethodCalls {
    /// Calls run, and refused for lack of a place.
    pub(super) per_s: f64,
    pub(super) refused_per_s: f64,
    /// Mean number of them that run or wait.
    pub(super) in_flight: f64,
}

/// The sources, and other readings.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Sources {
    pub(super) sources: Vec<CallSource>,
    pub(super) alternatives: Vec<Vec<CallSource>>,
}

impl PortCalls {
    pub(super) fn sources(&self) -> Sources {
        let attempts = self.sum(|method| method.per_s + method.refused_per_s);
        if attempts <= 0.0 {
            return self.without_answers();
        }
        let refused = self.sum(|method| method.refused_per_s);
        let in_flight = self.in_flight();
        let connections = self.connections.last().copied().unwrap_or(0) as f64;
        let per_connection = in_flight <= CALLER_OF_CONNECTION * connections;
        if refused >= REFUSED_MIN * attempts {
            let spinning = attempts > SPINNING * (attempts - refused);
            let [first, other] = match (per_connection, spinning) {
                (true, true) => return self.callers(connections.max(in_flight)),
                (true, false) => [self.callers(connections.max(in_flight)), self.arrivals(attempts)],
                (false, false) => [self.arrivals(attempts), self.callers(2.0 * in_flight)],
                (false, true) => [self.callers(2.0 * in_flight), self.arrivals(attempts)],
            };
            let mut read = first;
            read.alternatives.push(other.sources);
            return read;
        }
        if let Some(callers) = self.growth() {
            return match callers {
                Some(callers) => self.callers(callers),
                None => self.arrivals(self.arrived_per_s.max(attempts)),
            };
        }
        match self.steady() {
            Some(callers) => self.callers(callers),
            None if self.most_in_flight() <= CALLER_OF_CONNECTION * connections => self.callers(connections),
            None => self.arrivals(attempts),
        }
    }

    fn sum(&self, of: impl Fn(&MethodCalls) -> f64) -> f64 {
        self.methods.iter().map(of).sum()
    }

    fn in_flight(&self) -> f64 {
        self.sum(|method| method.in_flight)
    }

    fn most_in_flight(&self) -> f64 {
        self.in_flight.iter().copied().fold(self.in_flight(), f64::max)
    }

    /// Calls in progress that grow steadily: the number of callers where connections grow as well, `None` where calls
    /// arrive by themselves.
    fn growth(&self) -> Option<Option<f64>> {
        let (readings, count) = (&self.in_flight, self.in_flight.len());
        let (first, last) = (*readings.first()?, *readings.last()?);
        let ups = readings.windows(2).filter(|pair| pair[1] > pair[0]).count();
        let grown = last - first;
        let mean = readings.iter().sum::<f64>() / count as f64;
        let steady = count >= GROWTH_READINGS_MIN && 4 * ups >= 3 * (count - 1);
        if !steady || grown < 5.0 || grown < 0.3 * mean {
            return None;
        }
        let connections = *self.connections.last()? as f64 - *self.connections.first()? as f64;
        Some((connections >= 0.5 * grown).then_some(last))
    }

    /// The number of callers, if the calls in progress hardly change in number: each of so many is in progress
    /// independently of the others, or all of them wait.
    fn steady(&self) -> Option<f64> {
        let readings = &self.in_flight;
        let count = readings.len() as f64;
        let mean = readings.iter().sum::<f64>() / count.max(1.0);
        if readings.len() < READINGS_MIN || mean < 1.0 {
            return None;
        }
        let variance =
            readings.iter().map(|reading| (reading - mean).powi(2)).sum::<f64>() / (count - 1.0).max(1.0);
        let share = variance / mean;
        (share <= STEADY).then(|| (mean / (1.0 - share)).max(self.most_in_flight()))
    }

    /// Calls are in progress and none has ended: as many callers, that wait.
    fn without_answers(&self) -> Sources {
        let in_flight = self.in_flight();
        if in_flight < 0.5 { Sources::default() } else { self.callers(in_flight) }
    }

    fn arrivals(&self, per_s: f64) -> Sources {
        let source = CallSource {
            kind: SourceKind::Arrivals { per_s },
            methods: self.shares(|_| true),
            in_flight: self.in_flight(),
        };
        Sources { sources: vec![source], alternatives: Vec::new() }
    }

    /// So many callers in all, by what they call.
    fn callers(&self, count: f64) -> Sources {
        let attempts = self.sum(|method| method.per_s + method.refused_per_s);
        let in_flight = self.in_flight();
        let count = count.max(in_flight).max(1.0);
        let think_s = if attempts > 0.0 { (count - in_flight) / attempts } else { 0.0 };
        let of = |method: &MethodCalls| method.in_flight + think_s * (method.per_s + method.refused_per_s);
        let alone = |method: &MethodCalls| of(method) >= CALLERS_MIN;
        let mut sources: Vec<CallSource> = Vec::new();
        for (place, method) in self.methods.iter().enumerate().filter(|(_, method)| alone(method)) {
            let attempts = method.per_s + method.refused_per_s;
            sources.push(callers(of(method), method.in_flight, attempts, vec![(place, 1.0)]));
        }
        let others = self.methods.iter().filter(|method| !alone(method));
        let (rest, rest_in_flight, rest_per_s) = others.fold((0.0, 0.0, 0.0), |sum, method| {
            (sum.0 + of(method), sum.1 + method.in_flight, sum.2 + method.per_s + method.refused_per_s)
        });
        if rest > 0.0 {
            sources.push(callers(rest, rest_in_flight, rest_per_s, self.shares(|method| !alone(method))));
        }
        let mixed =
            (sources.len() > 1).then(|| vec![callers(count, in_flight, attempts, self.shares(|_| true))]);
        Sources { sources, alternatives: mixed.into_iter().collect() }
    }

    /// The methods of which this is true, with their shares of the attempts; of those in progress where none ended.
    fn shares(&self, of: impl Fn(&MethodCalls) -> bool) -> Vec<(usize, f64)> {
        let part = |method: &MethodCalls| method.per_s + method.refused_per_s;
        let all: f64 = self.methods.iter().filter(|method| of(method)).map(part).sum();
        let in_flight: f64 =
            self.methods.iter().filter(|method| of(method)).map(|method| method.in_flight).sum();
        let share = |method: &MethodCalls| match all > 0.0 {
            true => part(method) / all,
            false => method.in_flight / in_flight.max(1e-9),
        };
        let methods = self.methods.iter().enumerate().filter(|(_, method)| of(method));
        methods.map(|(place, method)| (place, share(method))).filter(|(_, share)| *share > 0.0).collect()
    }
}

fn callers(count: f64, in_flight: f64, attempts_per_s: f64, methods: Vec<(usize, f64)>) -> CallSource {
    let count = count.round().clamp(1.0, 1e7);
    let think_s = if attempts_per_s > 0.0 { (count - in_flight).max(0.0) / attempts_per_s } else { 0.0 };
    CallSource { kind: SourceKind::Callers { count: count as u32, think_s }, methods, in_flight }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calls(in_flight: &[f64], connections: u64, methods: &[(f64, f64, f64)]) -> PortCalls {
        let method = |(per_s, refused_per_s, in_flight): &(f64, f64, f64)| MethodCalls {
            per_s: *per_s,
            refused_per_s: *refused_per_s,
            in_flight: *in_flight,
        };
        PortCalls {
            in_flight: in_flight.to_vec(),
            connections: vec![connections; in_flight.len()],
            arrived_per_s: methods.iter().map(|(per_s, refused, _)| per_s + refused).sum(),
            methods: methods.iter().map(method).collect(),
        }
    }

    fn first(calls: &PortCalls) -> SourceKind {
        calls.sources().sources[0].kind
    }

    #[test]
    fn a_backlog_that_stands_is_callers_that_wait() {
        let standing = calls(&[40.0; 6], 500, &[(400.0, 0.0, 40.0)]);
        assert_eq!(first(&standing), SourceKind::Callers { count: 40, think_s: 0.0 });
        // A call takes long enough that some are under way to their callers.
        let nearly = calls(&[36.0, 39.0, 37.0, 38.0], 40, &[(4000.0, 0.0, 37.5)]);
        let SourceKind::Callers { count, think_s } = first(&nearly) else { panic!("callers") };
        assert!((39..=40).contains(&count) && think_s < 0.001, "{count} {think_s}");
    }

    #[test]
    fn calls_in_progress_that_grow_arrive_by_themselves_unless_clients_connect() {
        let mut growing = calls(&[10.0, 30.0, 50.0, 70.0, 90.0], 3, &[(400.0, 0.0, 50.0)]);
        growing.arrived_per_s = 420.0;
        assert_eq!(first(&growing), SourceKind::Arrivals { per_s: 420.0 });
        growing.connections = vec![10, 30, 50, 70, 90];
        assert!(matches!(first(&growing), SourceKind::Callers { count: 90, .. }));
    }

    #[test]
    fn without_a_backlog_connections_are_callers_that_think() {
        let idle = calls(&[2.0, 0.0, 5.0, 1.0], 30, &[(100.0, 0.0, 2.0)]);
        assert_eq!(first(&idle), SourceKind::Callers { count: 30, think_s: 0.28 });
        let one_connection = calls(&[12.0, 0.0, 35.0, 1.0], 1, &[(100.0, 0.0, 12.0)]);
        assert_eq!(first(&one_connection), SourceKind::Arrivals { per_s: 100.0 });
    }

    #[test]
    fn refused_calls_come_again_and_are_not_as_many_callers() {
        // 60 connections that come again at once: 10,000 attempts a second are no 10,000 callers.
        let spinning = calls(&[18.0; 5], 60, &[(400.0, 10_000.0, 18.0)]);
        let SourceKind::Callers { count: 60, think_s } = first(&spinning) else { panic!("callers") };
        assert!((think_s - 42.0 / 10_400.0).abs() < 1e-9);
        // Over few connections calls arrive at their own rate: 3.2 times of what is run.
        let open = calls(&[140.0; 5], 8, &[(400.0, 880.0, 140.0)]);
        assert_eq!(first(&open), SourceKind::Arrivals { per_s: 1280.0 });
        // One call for each connection, and hardly more refused than run: it may be either.
        let either = calls(&[5.0; 5], 8, &[(200.0, 200.0, 5.0)]);
        assert!(matches!(first(&either), SourceKind::Callers { count: 8, .. }));
        assert_eq!(either.sources().alternatives[0][0].kind, SourceKind::Arrivals { per_s: 400.0 });
        assert_eq!(spinning.sources().alternatives, Vec::<Vec<CallSource>>::new());
    }

    #[test]
    fn callers_are_told_apart_by_what_they_call() {
        let two = calls(&[36.0; 5], 36, &[(3.0, 0.0, 6.0), (300.0, 0.0, 30.0)]);
        let read = two.sources();
        let counts: Vec<_> = read.sources.iter().map(|source| source.kind).collect();
        let of = |count| SourceKind::Callers { count, think_s: 0.0 };
        assert_eq!(counts, [of(6), of(30)]);
        assert_eq!(read.alternatives[0][0].kind, of(36));
        let stuck = calls(&[5.0; 3], 5, &[(0.0, 0.0, 5.0)]);
        assert_eq!(first(&stuck), of(5));
        assert_eq!(calls(&[0.0; 3], 5, &[]).sources(), Sources::default());
    }
}
