//! Ports that stand still: calls wait, and none is finished for `Server_Stall_Seconds`. The log is told once, with what
//! every worker does, since by the time somebody looks it has passed; and again when it is over.
//!
//! Judged by snapshots, so no port is said to stand still too early, and each at most a look late.

use super::ServerMonitor;
use super::snapshot::Snapshot;
use crate::config::Config;
use std::time::{Duration, Instant};

/// Between two looks. If it was much longer, nobody looked because the process did not run, and nobody could finish.
const LOOK: Duration = Duration::from_secs(1);

/// What is known of each port, in the order of the INI, and when it was looked last.
#[derive(Debug, Default)]
pub(super) struct StallDetector(Vec<Watched>, Option<Instant>);

#[derive(Debug, Default)]
struct Watched {
    /// Calls that it had finished.
    finished: u64,
    /// Since when calls wait and none was finished; `None` while none waits.
    since: Option<Instant>,
    /// It was told of.
    told: bool,
}

/// What there is to say of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StallEvent {
    /// It stands still, and has for so long.
    Stalled(Duration),
    /// It did for so long, and goes on.
    Over(Duration),
}

impl StallDetector {
    /// Takes a snapshot in. Says what is new, by place of the port.
    fn look(&mut self, snapshot: &Snapshot, limit: Option<Duration>) -> Vec<(usize, StallEvent)> {
        self.0.resize_with(snapshot.ports.len(), Watched::default);
        self.excuse(snapshot.taken);
        let ports = self.0.iter_mut().zip(&snapshot.ports).enumerate();
        let judged = ports.map(|(place, (watched, port))| {
            // A refusal is no sign of life: the listener gives it.
            let finished = port.answers.all() - port.answers.refused();
            (place, watched.look(port.waiting, finished, snapshot.taken, limit))
        });
        judged.filter_map(|(place, word)| Some((place, word?))).collect()
    }
}

impl StallDetector {
    /// Leaves time out in which nobody looked.
    fn excuse(&mut self, now: Instant) {
        let gap = self.1.replace(now).map(|last| now.saturating_duration_since(last));
        if let Some(lost) = gap.filter(|gap| *gap > 2 * LOOK).map(|gap| gap - LOOK) {
            self.0.iter_mut().for_each(|watched| watched.since = watched.since.map(|since| since + lost));
        }
    }
}

impl Watched {
    fn look(
        &mut self,
        waiting: u64,
        finished: u64,
        now: Instant,
        limit: Option<Duration>,
    ) -> Option<StallEvent> {
        let since = *self.since.get_or_insert(now);
        let still = now.saturating_duration_since(since);
        if waiting == 0 || finished != self.finished {
            let told = std::mem::take(&mut self.told);
            (self.finished, self.since) = (finished, (waiting > 0).then_some(now));
            return told.then_some(StallEvent::Over(still));
        }
        let stalled = !self.told && limit.is_some_and(|limit| still >= limit);
        self.told |= stalled;
        stalled.then_some(StallEvent::Stalled(still))
    }
}

impl ServerMonitor {
    /// Tells the log of ports that stand still or do so no longer.
    pub(super) fn tell_of_stalls(&self, snapshot: &Snapshot) {
        let Config { stall_limit, .. } = self.control().config();
        let words = self.stalls.lock().look(snapshot, stall_limit.value);
        for (place, word) in &words {
            let port = &snapshot.ports[*place];
            match word {
                StallEvent::Stalled(time) => log::error!(
                    "port {}: {} calls wait, and none was finished for {:.0} s (Server_Stall_Seconds)",
                    port.name,
                    port.waiting,
                    time.as_secs_f64(),
                ),
                StallEvent::Over(time) => {
                    log::warn!("port {}: goes on, after {:.0} s", port.name, time.as_secs_f64());
                }
            }
        }
        // Of all ports: those that stand still may do so for want of permits that others have.
        if words.iter().any(|(_, word)| matches!(word, StallEvent::Stalled(_))) {
            self.threads().lines().for_each(|line| log::error!("{line}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said at looks a second apart at which so many calls wait and have been finished.
    fn said(limit: Option<u64>, looks: &[(u64, u64)]) -> Vec<Option<StallEvent>> {
        let (mut watched, start) = (Watched::default(), Instant::now());
        let at = |second: usize| start + Duration::from_secs(second as u64);
        let limit = limit.map(Duration::from_secs);
        let look = |(second, (waiting, finished)): (usize, &(u64, u64))| {
            watched.look(*waiting, *finished, at(second), limit)
        };
        looks.iter().enumerate().map(look).collect()
    }

    #[test]
    fn a_port_is_told_of_once_and_when_it_is_over() {
        let time = Duration::from_secs;
        let looks = [(0, 7), (2, 7), (3, 7), (3, 7), (4, 7), (2, 8), (2, 8), (2, 8), (0, 8)];
        let mut expected = [None; 9];
        (expected[3], expected[5]) = (Some(StallEvent::Stalled(time(2))), Some(StallEvent::Over(time(4))));
        (expected[7], expected[8]) = (Some(StallEvent::Stalled(time(2))), Some(StallEvent::Over(time(3))));
        assert_eq!(said(Some(2), &looks), expected);
        assert_eq!(said(None, &looks), [None; 9]);
    }

    #[test]
    fn a_process_that_did_not_run_does_not_stand_still() {
        let (mut stalls, start) = (StallDetector(vec![Watched::default()], None), Instant::now());
        let mut said = |second| {
            let (now, limit) = (start + Duration::from_secs(second), Some(Duration::from_secs(5)));
            stalls.excuse(now);
            stalls.0[0].look(3, 7, now, limit)
        };
        assert_eq!([0, 1, 2, 62, 63].map(&mut said), [None; 5], "it was suspended for a minute");
        assert!([64, 65, 66].map(said).iter().any(Option::is_some), "and stands still now");
    }

    #[test]
    fn who_finishes_something_or_has_nothing_to_do_does_not_stand_still() {
        assert_eq!(
            said(Some(1), &[(5, 1), (5, 2), (5, 3), (5, 4), (0, 4), (0, 4), (0, 4), (1, 4)]),
            [None; 8]
        );
    }
}
