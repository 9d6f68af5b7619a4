//! Histograms of times, with a bucket for each eighth of a doubling, from 1 us to 71 minutes.
//!
//! A [`Histogram`] is written by many threads, each of which counts in a `LocalHistogram` of its own first. A
//! [`Distribution`] is the content at one instant, for sums, differences and quantiles. A bucket is no wider than an
//! eighth of the times in it; sums are exact.

use super::counter::Counter;
use crate::sync::Ordering;
use crate::sync::unordered::AtomicU64;
use std::time::Duration;

/// Number of buckets: one for less than a microsecond, then eight for each doubling.
pub const BUCKETS: usize = 8 * 32;

/// One less than the first bits of the double 1.0: its exponent, and the three of its fraction that tell eighths apart.
const BELOW_ONE: u64 = (1023 << 3) - 1;

/// The bucket of a time in nanoseconds, from the bits of a double, whose first bits are doublings and eighths: fewer
/// instructions than with integers, four times a call. The half nanosecond is more than any rounding.
fn bucket(ns: u64) -> usize {
    // Converting a signed number is one instruction. Times of 300 years and more become negative and are clamped.
    let us = (ns as i64 as f64 + 0.5) * 0.001;
    ((us.to_bits() >> 49).clamp(BELOW_ONE, BELOW_ONE + BUCKETS as u64 - 1) - BELOW_ONE) as usize
}

/// The first nanosecond above a bucket.
const fn end_ns(bucket: usize) -> u64 {
    (125 * (8 + bucket as u64 % 8)) << (bucket / 8)
}

/// Times, written by many threads.
#[derive(Debug)]
pub struct Histogram {
    counts: [Counter; BUCKETS],
    sum_ns: Counter,
    min_ns: AtomicU64,
    max_ns: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        let counts = std::array::from_fn(|_| Counter::default());
        Histogram {
            counts,
            sum_ns: Counter::default(),
            min_ns: AtomicU64::new(u64::MAX),
            max_ns: AtomicU64::new(0),
        }
    }
}

impl Histogram {
    /// Adds the times of `local`, leaving it empty.
    pub(crate) fn add_all(&self, local: &mut LocalHistogram) {
        for (word, full) in local.full.iter_mut().enumerate() {
            let mut left = std::mem::take(full);
            while left != 0 {
                let bucket = 64 * word + left.trailing_zeros() as usize;
                self.counts[bucket].add(std::mem::take(&mut local.counts[bucket]).into());
                left &= left - 1;
            }
        }
        let Extent { sum_ns, mut min_ns, max_ns } = std::mem::take(&mut local.extent);
        if local.zeros > 0 {
            self.counts[0].add(std::mem::take(&mut local.zeros).into());
            min_ns = 0;
        }
        if sum_ns > 0 {
            self.sum_ns.add(sum_ns);
        }
        // Relaxed like all counters; read first, since the extremes seldom change.
        if min_ns < self.min_ns.load(Ordering::Relaxed) {
            self.min_ns.fetch_min(min_ns, Ordering::Relaxed);
        }
        if max_ns > self.max_ns.load(Ordering::Relaxed) {
            self.max_ns.fetch_max(max_ns, Ordering::Relaxed);
        }
    }

    /// Counts one time.
    #[cfg(test)]
    pub(crate) fn add(&self, time: Duration) {
        let mut local = LocalHistogram::default();
        local.add(time.as_nanos() as u64);
        self.add_all(&mut local);
    }

    /// The content now.
    pub fn distribution(&self) -> Distribution {
        let full =
            |(bucket, count): (usize, &Counter)| Some((bucket as u8, count.get())).filter(|full| full.1 > 0);
        Distribution {
            counts: self.counts.iter().enumerate().filter_map(full).collect(),
            sum_ns: self.sum_ns.get(),
            min_ns: self.min_ns.load(Ordering::Relaxed),
            max_ns: self.max_ns.load(Ordering::Relaxed),
        }
    }
}

/// Times counted by one thread, at most 65,535 of them, to be added to a [`Histogram`] together.
#[derive(Debug)]
pub(crate) struct LocalHistogram {
    /// Number of times that are zero, as most permit waits are.
    zeros: u16,
    extent: Extent,
    /// A bit for each bucket that is not empty, so that the others can be skipped.
    full: [u64; BUCKETS.div_ceil(64)],
    counts: [u16; BUCKETS],
}

#[derive(Debug, Clone, Copy)]
struct Extent {
    sum_ns: u64,
    min_ns: u64,
    max_ns: u64,
}

impl Default for Extent {
    fn default() -> Self {
        Extent { sum_ns: 0, min_ns: u64::MAX, max_ns: 0 }
    }
}

impl Default for LocalHistogram {
    fn default() -> Self {
        LocalHistogram { zeros: 0, extent: Extent::default(), full: Default::default(), counts: [0; BUCKETS] }
    }
}

impl LocalHistogram {
    /// Counts one time, in nanoseconds.
    pub(crate) fn add(&mut self, ns: u64) {
        if ns == 0 {
            self.zeros += 1;
            return;
        }
        let bucket = bucket(ns);
        self.counts[bucket] += 1;
        self.full[bucket / 64] |= 1 << (bucket % 64);
        let extent = &mut self.extent;
        extent.sum_ns += ns;
        // The extremes seldom change: two branches not taken are fewer instructions than two writes.
        if ns < extent.min_ns {
            extent.min_ns = ns;
        }
        if ns > extent.max_ns {
            extent.max_ns = ns;
        }
    }
}

/// Times counted until one instant, or between two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distribution {
    /// Buckets that are not empty, in their order.
    counts: Vec<(u8, u64)>,
    sum_ns: u64,
    min_ns: u64,
    max_ns: u64,
}

impl Default for Distribution {
    fn default() -> Self {
        Distribution { counts: Vec::new(), sum_ns: 0, min_ns: u64::MAX, max_ns: 0 }
    }
}

impl Distribution {
    /// Number of times counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().map(|(_, count)| count).sum()
    }

    /// Sum of the times.
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum_ns)
    }

    /// Mean of the times; zero for none.
    pub fn mean(&self) -> Duration {
        Duration::from_nanos(self.sum_ns.checked_div(self.count()).unwrap_or(0))
    }

    /// The shortest since the start; zero for none.
    pub fn min(&self) -> Duration {
        Duration::from_nanos(if self.min_ns == u64::MAX { 0 } else { self.min_ns })
    }

    /// The shortest of these times, at most an eighth too long; zero for none.
    pub fn shortest(&self) -> Duration {
        // Exact where the shortest since the start may be among them.
        let first = self.counts.first().map(|(bucket, _)| usize::from(*bucket));
        if first == Some(bucket(self.min_ns)) { self.min() } else { self.quantile(0.0) }
    }

    /// The longest since the start; zero for none.
    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.max_ns)
    }

    /// The time that a share (0 to 1) of the times do not exceed, at most an eighth too long; zero for none.
    pub fn quantile(&self, share: f64) -> Duration {
        let rank = ((self.count() as f64 * share).ceil() as u64).max(1);
        let mut below = 0;
        for (bucket, count) in &self.counts {
            below += count;
            if below >= rank {
                return Duration::from_nanos(end_ns(usize::from(*bucket))).min(self.max());
            }
        }
        Duration::ZERO
    }

    /// Number of times shorter than this many microseconds; exact for powers of two.
    pub fn below_us(&self, us: u64) -> u64 {
        self.counts
            .iter()
            .filter(|(bucket, _)| end_ns(usize::from(*bucket)) <= 1000 * us)
            .map(|(_, count)| count)
            .sum()
    }

    /// Adds the times of another.
    pub fn add(&mut self, other: &Distribution) {
        for (bucket, count) in &other.counts {
            match self.counts.binary_search_by_key(bucket, |(bucket, _)| *bucket) {
                Ok(place) => self.counts[place].1 += count,
                Err(place) => self.counts.insert(place, (*bucket, *count)),
            }
        }
        self.sum_ns += other.sum_ns;
        (self.min_ns, self.max_ns) = (self.min_ns.min(other.min_ns), self.max_ns.max(other.max_ns));
    }

    /// The times counted since `earlier`, which was taken from the same histogram. The extremes stay those since the
    /// start.
    pub fn since(&self, earlier: &Distribution) -> Distribution {
        let before = |bucket: u8| {
            let place = earlier.counts.binary_search_by_key(&bucket, |(bucket, _)| *bucket);
            place.map_or(0, |place| earlier.counts[place].1)
        };
        let newer = |(bucket, count): &(u8, u64)| (*bucket, count.saturating_sub(before(*bucket)));
        Distribution {
            counts: self.counts.iter().map(newer).filter(|(_, count)| *count > 0).collect(),
            sum_ns: self.sum_ns.saturating_sub(earlier.sum_ns),
            ..*self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_one_another_and_are_narrow() {
        for of in 0..BUCKETS - 1 {
            assert_eq!((bucket(end_ns(of) - 1), bucket(end_ns(of))), (of, of + 1));
            assert!(of == 0 || end_ns(of) - end_ns(of - 1) <= end_ns(of - 1) / 8, "{of}");
        }
        assert_eq!((bucket(0), end_ns(0), end_ns(8), end_ns(16)), (0, 1000, 2000, 4000));
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
        assert!(BUCKETS <= usize::from(u8::MAX) + 1);
    }

    #[test]
    fn a_distribution_has_what_was_counted() {
        let (histogram, ms) = (Histogram::default(), Duration::from_millis);
        assert_eq!(histogram.distribution(), Distribution::default());
        (1..=100).for_each(|n| histogram.add(ms(n)));
        let first = histogram.distribution();
        assert_eq!((first.count(), first.min(), first.max()), (100, ms(1), ms(100)));
        assert_eq!((first.sum(), first.mean()), (ms(5050), Duration::from_micros(50_500)));
        assert!((ms(50)..=ms(57)).contains(&first.quantile(0.5)), "{:?}", first.quantile(0.5));
        assert_eq!(first.quantile(1.0), ms(100));
        assert_eq!(first.below_us(1 << 16), 65);
        histogram.add(ms(1000));
        let later = histogram.distribution().since(&first);
        assert_eq!((later.count(), later.mean()), (1, ms(1000)));
        assert_eq!((first.shortest(), later.min()), (ms(1), ms(1)));
        assert!((ms(1000)..=ms(1125)).contains(&later.shortest()), "{:?}", later.shortest());
        assert_eq!(Distribution::default().shortest(), Duration::ZERO);
        let mut both = first.clone();
        both.add(&later);
        assert_eq!(both, histogram.distribution());
    }
}
