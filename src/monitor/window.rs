//! The newest values of a series, at least some time apart: the one window by which history and diagnosis look back.

use std::collections::VecDeque;
use std::time::Duration;

/// Values taken at least `every` apart, the oldest first, and no more than `max` of them.
#[derive(Debug)]
pub(super) struct Window<T> {
    every: Duration,
    max: usize,
    values: VecDeque<(Duration, T)>,
}

impl<T> Window<T> {
    /// A window of `max` values.
    pub(super) fn of(max: usize) -> Window<T> {
        Window::spaced(Duration::ZERO, max)
    }

    /// A window of `max` values that are at least `every` apart.
    pub(super) fn spaced(every: Duration, max: usize) -> Window<T> {
        Window { every, max, values: VecDeque::new() }
    }

    /// Adds a value of this time, unless the last one is too recent. Returns whether it was added.
    pub(super) fn add(&mut self, at: Duration, value: T) -> bool {
        if self.values.back().is_some_and(|(last, _)| at.saturating_sub(*last) < self.every) {
            return false;
        }
        self.values.push_back((at, value));
        if self.values.len() > self.max {
            self.values.pop_front();
        }
        true
    }

    pub(super) fn oldest(&self) -> Option<&T> {
        self.values.front().map(|(_, value)| value)
    }

    pub(super) fn newest(&self) -> Option<&T> {
        self.values.back().map(|(_, value)| value)
    }

    /// All values, the oldest first.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &T> + Clone {
        self.values.iter().map(|(_, value)| value)
    }

    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.len() == self.max
    }

    pub(super) fn clear(&mut self) {
        self.values.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_kept_at_their_distance_and_the_oldest_go_first() {
        let mut window = Window::spaced(Duration::from_secs(15), 3);
        let added: Vec<u64> =
            (0..100).filter(|second| window.add(Duration::from_secs(*second), *second)).collect();
        assert_eq!(added, [0, 15, 30, 45, 60, 75, 90]);
        assert_eq!(window.iter().copied().collect::<Vec<_>>(), [60, 75, 90]);
        assert_eq!((window.oldest(), window.newest(), window.is_full()), (Some(&60), Some(&90), true));
    }
}
