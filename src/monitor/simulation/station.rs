//! A place where calls spend time at one common pace, which changes with how many are there: the processors, a lock, or
//! no more than the clock.
//!
//! Its own time runs at that pace, so a change of the pace moves no call.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

#[derive(Debug, Default)]
pub(super) struct Station {
    /// Its own time, as of `at`.
    own: f64,
    at: f64,
    pace: f64,
    /// Ends in its own time, as bits, which are in the order of numbers that are not negative; with the calls.
    ends: BinaryHeap<Reverse<(u64, u32)>>,
}

impl Station {
    pub(super) fn new() -> Station {
        Station { pace: 1.0, ..Station::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn pace(&self) -> f64 {
        self.pace
    }

    fn advance(&mut self, now: f64) {
        self.own += (now - self.at) * self.pace;
        self.at = now;
    }

    /// Changes the pace; above 0.
    pub(super) fn set_pace(&mut self, now: f64, pace: f64) {
        if pace != self.pace {
            self.advance(now);
            self.pace = pace;
        }
    }

    /// Adds a call that takes this time at pace 1.
    pub(super) fn add(&mut self, now: f64, time: f64, call: u32) {
        self.advance(now);
        self.ends.push(Reverse(((self.own + time.max(0.0)).to_bits(), call)));
    }

    /// When the next call ends; never if there is none.
    pub(super) fn next_end(&self) -> f64 {
        self.ends.peek().map_or(f64::INFINITY, |Reverse((end, _))| {
            self.at + (f64::from_bits(*end) - self.own).max(0.0) / self.pace
        })
    }

    /// Takes the call that ends next.
    pub(super) fn take(&mut self, now: f64) -> Option<u32> {
        self.advance(now);
        self.ends.pop().map(|Reverse((_, call))| call)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_share_the_pace_and_end_in_order() {
        let mut station = Station::new();
        station.add(0.0, 2.0, 1);
        station.add(0.0, 1.0, 2);
        assert_eq!(station.next_end(), 1.0);
        station.set_pace(0.0, 0.5);
        assert_eq!(station.next_end(), 2.0);
        assert_eq!(station.take(2.0), Some(2));
        station.set_pace(2.0, 1.0);
        assert_eq!((station.next_end(), station.take(3.0), station.take(3.0)), (3.0, Some(1), None));
        assert_eq!((station.next_end(), station.len()), (f64::INFINITY, 0));
    }
}
