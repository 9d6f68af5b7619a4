//! Measurements of one worker that are not yet in the methods' counters.
//!
//! Workers that add to one counter for each call would bounce the cache line between cores. So each counts in memory of
//! its own, a few methods at once, since calls of several methods alternate in one burst.
//!
//! Invariant: a call is counted in exactly one place, here or in the methods' counters.
//!
//! Knows no threads: the owner keeps others out.

use super::counter::Batch;
use super::histogram::LocalHistogram;
use super::method_stats::{MethodsStats, Parts};
use crate::service::Status;

/// Methods counted at once, at 2.5 KiB each. For one more the oldest is flushed.
const METHODS_MAX: usize = 4;

/// Calls of one method until a flush: the 16-bit counts must not overflow.
const CALLS_MAX: u16 = u16::MAX;

/// An answered call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CallRecord {
    pub(crate) method: u16,
    pub(crate) status: Status,
    pub(crate) ran: bool,
    /// In nanoseconds; zero unless it ran.
    pub(crate) times_ns: Parts<u64>,
}

/// Calls of a few methods.
#[derive(Debug, Default)]
pub(crate) struct LocalStats {
    methods: Vec<LocalMethodStats>,
    /// Index of the method that is flushed next to make room.
    oldest: usize,
}

/// Calls of one method. Aligned to its own cache lines.
#[derive(Debug, Default)]
#[repr(align(128))]
struct LocalMethodStats {
    method: u16,
    calls: u16,
    answers: Batch<{ Status::ALL.len() }>,
    times: Parts<LocalHistogram>,
    whole: LocalHistogram,
}

impl LocalStats {
    /// Counts a call, and flushes to `stats` what is full.
    pub(crate) fn add(&mut self, record: &CallRecord, stats: &MethodsStats) {
        let found = self.methods.iter().position(|local| local.method == record.method);
        let place = found.unwrap_or_else(|| self.make_room(record.method, stats));
        let local = &mut self.methods[place];
        local.answers.add(record.status.index());
        if record.ran {
            local.times.queue_wait.add(record.times_ns.queue_wait);
            local.times.permit_wait.add(record.times_ns.permit_wait);
            local.times.run.add(record.times_ns.run);
            local.whole.add(record.times_ns.whole());
        }
        local.calls += 1;
        if local.calls == CALLS_MAX {
            local.flush(stats);
        }
    }

    /// Finds a place for a method that has none, and returns its index.
    #[cold]
    fn make_room(&mut self, method: u16, stats: &MethodsStats) -> usize {
        if self.methods.len() < METHODS_MAX {
            self.methods.push(LocalMethodStats { method, ..LocalMethodStats::default() });
            return self.methods.len() - 1;
        }
        let place = self.oldest;
        self.oldest = (place + 1) % METHODS_MAX;
        self.methods[place].flush(stats);
        self.methods[place].method = method;
        place
    }

    /// Adds everything to the counters; nothing is left here.
    pub(crate) fn flush(&mut self, stats: &MethodsStats) {
        self.methods.iter_mut().for_each(|local| local.flush(stats));
    }
}

impl LocalMethodStats {
    fn flush(&mut self, stats: &MethodsStats) {
        if std::mem::take(&mut self.calls) == 0 {
            return;
        }
        if let Some(stats) = stats.of(self.method) {
            stats.answers.add_all(&mut self.answers);
            stats.times.queue_wait.add_all(&mut self.times.queue_wait);
            stats.times.permit_wait.add_all(&mut self.times.permit_wait);
            stats.times.run.add_all(&mut self.times.run);
            stats.whole.add_all(&mut self.whole);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn calls_of_many_methods_are_counted_once() {
        let (stats, mut local) = (MethodsStats::new(7), LocalStats::default());
        let record = |n: u64| CallRecord {
            method: (n % 7 + 1) as u16,
            status: if n.is_multiple_of(10) { Status::Cancelled } else { Status::Ok },
            ran: !n.is_multiple_of(10),
            times_ns: Parts { queue_wait: 1000 * n, permit_wait: 0, run: n % 100_000 },
        };
        for n in 0..70_000 {
            local.add(&record(n), &stats);
            if n % 9_999 == 0 {
                local.flush(&stats);
            }
        }
        local.flush(&stats);
        assert_eq!(stats.called().count(), 7);
        for (method, counted) in stats.called() {
            let own: Vec<_> = (0..70_000).map(record).filter(|of| of.method == method && of.ran).collect();
            let of = |status: Status| counted.answers.get(status.index());
            let ran = own.len() as u64;
            assert_eq!((of(Status::Ok), of(Status::Cancelled)), (ran, 10_000 - ran));
            let times = counted.distributions();
            let sum = |ns: fn(&CallRecord) -> u64| Duration::from_nanos(own.iter().map(ns).sum());
            assert_eq!(times.queue_wait.sum(), sum(|of| of.times_ns.queue_wait));
            assert_eq!((times.run.sum(), times.run.count()), (sum(|of| of.times_ns.run), ran));
            let whole = counted.whole.distribution();
            assert_eq!((whole.sum(), whole.count()), (sum(|of| of.times_ns.whole()), ran));
            assert_eq!((times.permit_wait.below_us(1), times.permit_wait.max()), (ran, Duration::ZERO));
            let longest = own.iter().map(|of| Duration::from_nanos(of.times_ns.queue_wait)).max();
            assert_eq!(Some(times.queue_wait.max()), longest);
        }
    }

    #[test]
    fn sixteen_bits_are_enough() {
        let (stats, mut local) = (MethodsStats::new(1), LocalStats::default());
        let times_ns = Parts { queue_wait: 1, permit_wait: 0, run: 5 };
        let record = CallRecord { method: 1, status: Status::Ok, ran: true, times_ns };
        (0..150_000).for_each(|_| local.add(&record, &stats));
        local.flush(&stats);
        let (_, counted) = stats.called().next().expect("it was called");
        assert_eq!((counted.answers.sum(), counted.times.run.distribution().count()), (150_000, 150_000));
    }
}
