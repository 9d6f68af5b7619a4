//! One counter, and one for each value of a closed enum.

use crate::sync::Ordering;
use crate::sync::unordered::AtomicU64;

/// One counter. Adding is one relaxed atomic operation.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub(crate) const fn new() -> Counter {
        Counter(AtomicU64::new(0))
    }

    pub(crate) fn add(&self, n: u64) {
        // Relaxed: counters order nothing; a reader wants a number, not a happens-before.
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// The count so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One counter for each of `N` numbered cases. Aligned to its own cache lines to avoid false sharing: workers that
/// count do not slow down a listener that counts beside them.
#[derive(Debug)]
#[repr(align(128))]
pub struct EnumCounters<const N: usize>([Counter; N]);

impl<const N: usize> Default for EnumCounters<N> {
    fn default() -> Self {
        EnumCounters(std::array::from_fn(|_| Counter::default()))
    }
}

impl<const N: usize> EnumCounters<N> {
    /// Counts case `index` once more.
    pub(crate) fn add(&self, index: usize) {
        self.0[index].add(1);
    }

    /// Adds the counts of `batch`, leaving it empty.
    pub(crate) fn add_all(&self, batch: &mut Batch<N>) {
        while batch.cases > 0 {
            let index = batch.cases.trailing_zeros() as usize;
            batch.cases &= batch.cases - 1;
            self.0[index].add(std::mem::take(&mut batch.counts[index]).into());
        }
    }

    /// The count of case `index`.
    pub fn get(&self, index: usize) -> u64 {
        self.0[index].get()
    }

    /// The count of each case.
    pub fn counts(&self) -> [u64; N] {
        std::array::from_fn(|index| self.get(index))
    }

    /// The sum over all cases.
    pub fn sum(&self) -> u64 {
        self.0.iter().map(Counter::get).sum()
    }
}

/// Declares an enum whose values are counted by an [`EnumCounters`].
macro_rules! counted_enum {
    ($(#[$doc:meta])* pub enum $name:ident { $($(#[$help:meta])* $value:ident,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name { $($(#[$help])* $value,)* }

        impl $name {
            /// Every value, in the order of its index.
            pub const ALL: [$name; [$($name::$value),*].len()] = [$($name::$value),*];

            /// Its place in `ALL`.
            pub const fn index(self) -> usize {
                self as usize
            }
        }
    };
}
pub(crate) use counted_enum;

/// Counts of one thread that are added to an [`EnumCounters`] together: threads that add to one counter for each call
/// would bounce the cache line between cores.
#[derive(Debug)]
pub(crate) struct Batch<const N: usize> {
    counts: [u32; N],
    /// A bit for each case that was counted: mostly one of many.
    cases: u64,
}

impl<const N: usize> Default for Batch<N> {
    fn default() -> Self {
        const { assert!(N <= u64::BITS as usize, "a case has no bit") }
        Batch { counts: [0; N], cases: 0 }
    }
}

impl<const N: usize> Batch<N> {
    /// Counts case `index` once more.
    pub(crate) fn add(&mut self, index: usize) {
        self.counts[index] += 1;
        self.cases |= 1 << index;
    }
}
