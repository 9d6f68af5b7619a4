//! What only many looks together tell: peaks, and how much longer calls take than they could.
//!
//! The expansion factor is Domino's: of each method the recent average over the best it ever did, and of these the
//! mean, weighted by how often each was called; recent is the last five quarters of a minute.

use super::picture::{MethodPicture, Picture};
use crate::stats::Distribution;
use crate::sync::Arc;
use std::collections::VecDeque;
use std::time::Duration;

/// Looks between two pictures that are kept, and how many of these are kept.
const LOOKS: u64 = 15;
const KEPT: usize = 5;

/// What a method is taken to last at best, however short it is: what a call of microseconds waits for a thread
/// to wake up says nothing about load.
const BEST_MIN: Duration = Duration::from_millis(1);

/// The expansion factor at which the server is full is two to the power of this.
const RANGE: f64 = 6.0;

#[derive(Debug, Default)]
pub(super) struct Trends {
    looks: u64,
    kept: VecDeque<Arc<Picture>>,
    figures: Figures,
}

/// What they come to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Figures {
    /// Answers in the last minute.
    pub(super) per_minute: u64,
    /// The most there ever were in a minute.
    pub(super) per_minute_peak: u64,
    /// When that was, since the server started.
    pub(super) peak_at: Duration,
    /// How many times longer calls take than they could; 1 or more.
    pub(super) expansion_factor: f64,
}

impl Default for Figures {
    fn default() -> Self {
        Figures { per_minute: 0, per_minute_peak: 0, peak_at: Duration::ZERO, expansion_factor: 1.0 }
    }
}

impl Trends {
    /// Takes a look into account.
    pub(super) fn look(&mut self, picture: &Arc<Picture>, per_minute: u64) {
        if self.looks.is_multiple_of(LOOKS) {
            self.kept.push_back(Arc::clone(picture));
            let surplus = self.kept.len().saturating_sub(KEPT);
            self.kept.drain(..surplus);
        }
        self.looks += 1;
        let figures = &mut self.figures;
        figures.per_minute = per_minute;
        if per_minute > figures.per_minute_peak {
            (figures.per_minute_peak, figures.peak_at) = (per_minute, picture.uptime);
        }
        figures.expansion_factor = self.kept.front().map_or(1.0, |before| expansion_factor(before, picture));
    }

    pub(super) fn figures(&self) -> Figures {
        self.figures
    }
}

impl Figures {
    /// 100 for a server that is at leisure, 0 for one that is full.
    pub(super) fn availability_index(&self) -> u64 {
        (100.0 - 100.0 * self.expansion_factor.log2() / RANGE).clamp(0.0, 100.0).round() as u64
    }
}

fn expansion_factor(before: &Picture, after: &Picture) -> f64 {
    let (mut calls, mut sum) = (0.0, 0.0);
    for (before, after) in before.ports.iter().zip(&after.ports) {
        let mut earlier = before.methods.iter().peekable();
        for method in &after.methods {
            let (recent, total) = since(earlier.next_if(|earlier| earlier.name == method.name), method);
            let best = best(method).max(BEST_MIN);
            calls += recent as f64;
            sum += (total.as_secs_f64() / best.as_secs_f64()).max(recent as f64);
        }
    }
    if calls > 0.0 { sum / calls } else { 1.0 }
}

/// Calls since `earlier`, and all their time.
fn since(earlier: Option<&MethodPicture>, method: &MethodPicture) -> (u64, Duration) {
    let total = |method: &MethodPicture| {
        let times = &method.times;
        (times.run.count(), times.queue_wait.sum() + times.permit_wait.sum() + times.run.sum())
    };
    let (before, now) = (earlier.map(total).unwrap_or_default(), total(method));
    (now.0.saturating_sub(before.0), now.1.saturating_sub(before.1))
}

fn best(method: &MethodPicture) -> Duration {
    let times = method.times.map(Distribution::min);
    times.queue_wait + times.permit_wait + times.run
}

#[cfg(test)]
mod tests {
    use super::super::stand_in::{method, picture, port};
    use super::*;
    use std::time::Instant;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn what_takes_longer_than_at_best_counts_by_how_often_it_is_called() {
        let (mut trends, start) = (Trends::default(), Instant::now());
        let mut look = |s: u32, read: &[u64], write: &[u64]| {
            let mut port = port("TCPIP");
            port.methods = vec![method("read", read), method("write", write)];
            trends.look(&Arc::new(picture(start, S * s, vec![port])), 0);
            trends.figures().expansion_factor
        };
        assert_eq!(look(0, &[10], &[20]), 1.0, "nothing has happened since");
        assert_eq!(look(1, &[10, 10, 10], &[20]), 1.0);
        // Two at their best, one at three times, and one at twice its best.
        let (read, write) = ([10, 10, 10, 30], [20, 40]);
        assert_eq!(look(2, &read, &write), (1.0 + 1.0 + 3.0 + 2.0) / 4.0);
        let later = (3..200).map(|s| look(s, &read, &write)).last();
        assert_eq!(later, Some(1.0), "what was is forgotten");
        assert_eq!(look(200, &[10, 10, 10, 30, 10], &[20, 40]), 1.0);
    }

    #[test]
    fn what_is_shorter_than_a_wake_up_says_nothing() {
        let (mut trends, start) = (Trends::default(), Instant::now());
        for (s, ran) in [(0, [0].as_slice()), (1, &[0, 1, 1, 0])] {
            let mut port = port("TCPIP");
            port.methods = vec![method("ping", ran)];
            trends.look(&Arc::new(picture(start, S * s, vec![port])), 0);
        }
        assert_eq!(trends.figures().expansion_factor, 1.0);
    }

    #[test]
    fn the_highest_minute_is_kept_with_its_time() {
        let (mut trends, start) = (Trends::default(), Instant::now());
        for (s, per_minute) in [(1, 5), (2, 9), (3, 9), (4, 2)] {
            trends.look(&Arc::new(picture(start, S * s, Vec::new())), per_minute);
        }
        let Figures { per_minute, per_minute_peak, peak_at, .. } = trends.figures();
        assert_eq!((per_minute, per_minute_peak, peak_at), (2, 9, S * 2));
    }

    #[test]
    fn the_index_is_dominos() {
        let index =
            |expansion_factor| Figures { expansion_factor, ..Figures::default() }.availability_index();
        let factors = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 1e6];
        assert_eq!(factors.map(index), [100, 83, 67, 50, 33, 17, 0, 0]);
    }
}
