//! Random numbers from a seed: the same seed gives the same numbers on every machine.

/// A generator with 64 bits of state (SplitMix64). Not for secrets.
#[derive(Debug)]
pub(super) struct SeededRng(u64);

impl SeededRng {
    pub(super) fn new(seed: u64) -> SeededRng {
        SeededRng(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to below 1.
    pub(super) fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A time until an event of this rate; never for a rate of 0.
    pub(super) fn exponential(&mut self, rate: f64) -> f64 {
        if rate <= 0.0 { f64::INFINITY } else { -(1.0 - self.uniform()).ln() / rate }
    }

    /// One of these, each as likely as the others; 1 for none.
    pub(super) fn one_of(&mut self, all: &[f64]) -> f64 {
        let place = (self.uniform() * all.len() as f64) as usize;
        all.get(place).copied().unwrap_or(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_are_those_asked_for_and_a_seed_repeats() {
        let mut random = SeededRng::new(7);
        let sum: f64 = (0..100_000).map(|_| random.exponential(4.0)).sum();
        assert!((sum / 100_000.0 - 0.25).abs() < 0.003, "{sum}");
        let sum: f64 = (0..100_000).map(|_| random.one_of(&[1.0, 2.0, 6.0])).sum();
        assert!((sum / 100_000.0 - 3.0).abs() < 0.03, "{sum}");
        assert_eq!(SeededRng::new(3).uniform(), SeededRng::new(3).uniform());
        assert_eq!((random.exponential(0.0), random.one_of(&[])), (f64::INFINITY, 1.0));
    }
}
