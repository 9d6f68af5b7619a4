//! Detects stalled ports: calls wait, and none has finished for `Server_Stall_Seconds`. A stall is logged once, with
//! what every worker does, since it may be over before an administrator looks; and again when it is over.
//!
//! Invariants: judged by snapshots, so no stall is reported too early, and each at most one sample late. Time in which
//! the process did not run does not count.

use super::snapshot::Snapshot;
use std::time::{Duration, Instant};

/// Distance of two samples. If it was much longer, the process did not run, and nothing could finish.
const SAMPLE: Duration = Duration::from_secs(1);

/// The ports, in the order of the INI, and when the last sample was taken.
#[derive(Debug, Default)]
pub(super) struct StallDetector(Vec<PortProgress>, Option<Instant>);

#[derive(Debug, Default)]
struct PortProgress {
    /// Calls that it had finished.
    finished: u64,
    /// Since when calls wait and none has finished; `None` while none waits.
    since: Option<Instant>,
    logged: bool,
}

/// Change of a port's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StallEvent {
    /// It has stalled for this time.
    Stalled(Duration),
    /// It has resumed after a stall of this time.
    Resumed(Duration),
}

impl StallDetector {
    /// Adds a snapshot. Returns what has changed, by place of the port.
    pub(super) fn update(
        &mut self,
        snapshot: &Snapshot,
        limit: Option<Duration>,
    ) -> Vec<(usize, StallEvent)> {
        self.0.resize_with(snapshot.ports.len(), PortProgress::default);
        self.skip_gap(snapshot.taken);
        let ports = self.0.iter_mut().zip(&snapshot.ports).enumerate();
        let events = ports.map(|(place, (progress, port))| {
            // A refusal does not count: the listener answers it.
            let finished = port.answers.all() - port.answers.refused();
            (place, progress.update(port.waiting, finished, snapshot.taken, limit))
        });
        events.filter_map(|(place, event)| Some((place, event?))).collect()
    }

    /// Leaves out time in which no sample was taken.
    fn skip_gap(&mut self, now: Instant) {
        let gap = self.1.replace(now).map(|last| now.saturating_duration_since(last));
        if let Some(lost) = gap.filter(|gap| *gap > 2 * SAMPLE).map(|gap| gap - SAMPLE) {
            self.0.iter_mut().for_each(|progress| progress.since = progress.since.map(|since| since + lost));
        }
    }
}

impl PortProgress {
    fn update(
        &mut self,
        waiting: u64,
        finished: u64,
        now: Instant,
        limit: Option<Duration>,
    ) -> Option<StallEvent> {
        let since = *self.since.get_or_insert(now);
        let length = now.saturating_duration_since(since);
        if waiting == 0 || finished != self.finished {
            let logged = std::mem::take(&mut self.logged);
            (self.finished, self.since) = (finished, (waiting > 0).then_some(now));
            return logged.then_some(StallEvent::Resumed(length));
        }
        let stalled = !self.logged && limit.is_some_and(|limit| length >= limit);
        self.logged |= stalled;
        stalled.then_some(StallEvent::Stalled(length))
    }
}

/// Logs stalls and their ends. A new stall is followed by `threads`, the state of all workers of all ports: a port may
/// have stalled for lack of permits that others hold.
pub(super) fn log(events: &[(usize, StallEvent)], snapshot: &Snapshot, threads: impl FnOnce() -> String) {
    for (place, event) in events {
        let port = &snapshot.ports[*place];
        match event {
            StallEvent::Stalled(time) => log::error!(
                "port {}: stalled, waiting={} no call finished for {:.0} s (Server_Stall_Seconds)",
                port.name,
                port.waiting,
                time.as_secs_f64(),
            ),
            StallEvent::Resumed(time) => {
                log::warn!("port {}: resumed after a stall of {:.0} s", port.name, time.as_secs_f64());
            }
        }
    }
    if events.iter().any(|(_, event)| matches!(event, StallEvent::Stalled(_))) {
        threads().lines().for_each(|line| log::error!("{line}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The events of samples a second apart, each of calls that wait and calls that have finished.
    fn events(limit: Option<u64>, samples: &[(u64, u64)]) -> Vec<Option<StallEvent>> {
        let (mut progress, start) = (PortProgress::default(), Instant::now());
        let at = |second: usize| start + Duration::from_secs(second as u64);
        let limit = limit.map(Duration::from_secs);
        let update = |(second, (waiting, finished)): (usize, &(u64, u64))| {
            progress.update(*waiting, *finished, at(second), limit)
        };
        samples.iter().enumerate().map(update).collect()
    }

    #[test]
    fn a_stall_is_reported_once_and_when_it_is_over() {
        let time = Duration::from_secs;
        let samples = [(0, 7), (2, 7), (3, 7), (3, 7), (4, 7), (2, 8), (2, 8), (2, 8), (0, 8)];
        let mut expected = [None; 9];
        (expected[3], expected[5]) = (Some(StallEvent::Stalled(time(2))), Some(StallEvent::Resumed(time(4))));
        (expected[7], expected[8]) = (Some(StallEvent::Stalled(time(2))), Some(StallEvent::Resumed(time(3))));
        assert_eq!(events(Some(2), &samples), expected);
        assert_eq!(events(None, &samples), [None; 9]);
    }

    #[test]
    fn a_process_that_did_not_run_has_not_stalled() {
        let (mut stalls, start) = (StallDetector(vec![PortProgress::default()], None), Instant::now());
        let mut update = |second| {
            let (now, limit) = (start + Duration::from_secs(second), Some(Duration::from_secs(5)));
            stalls.skip_gap(now);
            stalls.0[0].update(3, 7, now, limit)
        };
        assert_eq!([0, 1, 2, 62, 63].map(&mut update), [None; 5], "it was suspended for a minute");
        assert!([64, 65, 66].map(update).iter().any(Option::is_some), "and is stalled now");
    }

    #[test]
    fn a_port_that_finishes_calls_or_has_none_is_not_stalled() {
        assert_eq!(
            events(Some(1), &[(5, 1), (5, 2), (5, 3), (5, 4), (0, 4), (0, 4), (0, 4), (1, 4)]),
            [None; 8]
        );
    }
}
