//! How many calls may be made again: a tenth of all calls, and a few saved.
//!
//! Pure counting. Without it, calls made again multiply the load of a server that is already too busy.

use crate::sync::Ordering;
use crate::sync::unordered::AtomicU64;

/// What a repetition costs, where each call pays in 1.
const COST: u64 = 10;

/// The most that is saved, and what a client begins with: ten repetitions.
const SAVED_MAX: u64 = 10 * COST;

/// One client's savings.
#[derive(Debug)]
pub(super) struct RetryBudget(AtomicU64);

impl RetryBudget {
    pub(super) fn new() -> RetryBudget {
        RetryBudget(AtomicU64::new(SAVED_MAX))
    }

    /// A call begins.
    pub(super) fn pay_in(&self) {
        self.change(|saved| (saved < SAVED_MAX).then_some(saved + 1));
    }

    /// May one call be made again? Then that is paid.
    pub(super) fn spend(&self) -> bool {
        self.change(|saved| saved.checked_sub(COST))
    }

    fn change(&self, change: impl Fn(u64) -> Option<u64>) -> bool {
        // Relaxed: the number orders nothing else.
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, change).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes again as often as it may.
    fn spend_all(budget: &RetryBudget) -> usize {
        std::iter::from_fn(|| budget.spend().then_some(())).count()
    }

    #[test]
    fn a_new_client_may_repeat_ten_calls_and_then_one_in_ten() {
        let budget = RetryBudget::new();
        assert_eq!(spend_all(&budget), 10);
        let spent = (0..1000).map(|_| {
            budget.pay_in();
            spend_all(&budget)
        });
        assert_eq!(spent.sum::<usize>(), 100);
    }

    #[test]
    fn no_more_than_ten_repetitions_are_saved() {
        let budget = RetryBudget::new();
        (0..1000).for_each(|_| budget.pay_in());
        assert_eq!(spend_all(&budget), 10);
    }
}
