//! Arrival times of calls in an open loop.

use std::time::{Duration, Instant};

/// Arrival times with exponential gaps, as of many independent callers.
#[derive(Debug)]
pub(super) struct Arrivals {
    due: Instant,
    mean_ns: f64,
    state: u64,
}

impl Arrivals {
    /// `rate` arrivals a second, from `start`.
    pub(super) fn new(rate: f64, start: Instant, seed: u64) -> Arrivals {
        // xorshift must not begin at 0.
        Arrivals { due: start, mean_ns: 1e9 / rate, state: seed | 1 }
    }

    /// Time at which the next call is due.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// Moves on to the next call.
    pub(super) fn advance(&mut self) {
        let gap = -self.uniform().ln() * self.mean_ns;
        self.due += Duration::from_nanos(gap as u64);
    }

    /// A random number in (0, 1], by Marsaglia's xorshift64.
    fn uniform(&mut self) -> f64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        ((self.state >> 11) as f64 + 1.0) / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_exponential_with_the_rates_mean() {
        let start = Instant::now();
        let mut arrivals = Arrivals::new(10_000.0, start, 7);
        let gaps: Vec<f64> = (0..100_000)
            .map(|_| {
                let before = arrivals.due();
                arrivals.advance();
                (arrivals.due() - before).as_secs_f64()
            })
            .collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        assert!((mean - 1e-4).abs() < 2e-6, "mean gap {mean}");
        let longer = gaps.iter().filter(|gap| **gap > 1e-4).count() as f64 / gaps.len() as f64;
        assert!((longer - (-1f64).exp()).abs() < 0.01, "{longer} of the gaps are longer than the mean");
    }
}
