//! What a server answered in each minute of the last hour.

use std::collections::VecDeque;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

/// Minutes kept.
const HOUR: usize = 60;

/// Counts of whole minutes, the oldest first, and of the one that has begun.
#[derive(Debug, Default)]
pub(super) struct MinuteRates {
    whole: VecDeque<u64>,
    /// When this minute began, since the start, and what had been answered then.
    began: (Duration, u64),
    answers: u64,
}

impl MinuteRates {
    /// So much has been answered since the start. Returns what was in a minute that is over with this.
    pub(super) fn add(&mut self, uptime: Duration, answers: u64) -> Option<u64> {
        self.answers = answers;
        if uptime.saturating_sub(self.began.0) < MINUTE {
            return None;
        }
        let count = answers.saturating_sub(self.began.1);
        self.began = (uptime, answers);
        self.whole.push_back(count);
        let surplus = self.whole.len().saturating_sub(HOUR);
        self.whole.drain(..surplus);
        Some(count)
    }

    /// What was answered in the last hour, or since the start; up to a minute more.
    pub(super) fn in_last_hour(&self) -> u64 {
        self.whole.iter().sum::<u64>() + self.answers.saturating_sub(self.began.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_is_kept() {
        let mut minutes = MinuteRates::default();
        let over: Vec<_> =
            (1..=180).filter_map(|n| minutes.add(n * Duration::from_secs(30), n.into())).collect();
        assert_eq!(over, [2; 90]);
        assert_eq!(minutes.in_last_hour(), 120);
        assert_eq!(minutes.add(Duration::from_secs(5410), 185), None);
        assert_eq!(minutes.in_last_hour(), 125);
    }
}
