//! Retry budget: a tenth of all calls may be repeated, and a few saved.
//!
//! Pure counting. Without it, repetitions multiply the load of a server that is already overloaded.

use crate::sync::Ordering;
use crate::sync::unordered::AtomicU64;

/// Cost of a repetition; each call deposits 1.
const COST: u64 = 10;

/// Largest balance, with which a client begins: ten repetitions.
const BALANCE_MAX: u64 = 10 * COST;

/// Balance of one client.
#[derive(Debug)]
pub(super) struct RetryBudget(AtomicU64);

impl RetryBudget {
    pub(super) fn new() -> RetryBudget {
        RetryBudget(AtomicU64::new(BALANCE_MAX))
    }

    /// Counts a call that begins.
    pub(super) fn deposit(&self) {
        self.change(|balance| (balance < BALANCE_MAX).then_some(balance + 1));
    }

    /// Returns whether one call may be repeated, and pays for it.
    pub(super) fn spend(&self) -> bool {
        self.change(|balance| balance.checked_sub(COST))
    }

    fn change(&self, change: impl Fn(u64) -> Option<u64>) -> bool {
        // Relaxed: the number orders nothing else.
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, change).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Spends all; returns how often that was possible.
    fn spend_all(budget: &RetryBudget) -> usize {
        std::iter::from_fn(|| budget.spend().then_some(())).count()
    }

    #[test]
    fn a_new_client_may_repeat_ten_calls_and_then_one_in_ten() {
        let budget = RetryBudget::new();
        assert_eq!(spend_all(&budget), 10);
        let spent = (0..1000).map(|_| {
            budget.deposit();
            spend_all(&budget)
        });
        assert_eq!(spent.sum::<usize>(), 100);
    }

    #[test]
    fn no_more_than_ten_repetitions_are_saved() {
        let budget = RetryBudget::new();
        (0..1000).for_each(|_| budget.deposit());
        assert_eq!(spend_all(&budget), 10);
    }
}
