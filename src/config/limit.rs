//! A limit that may be absent: the throttle.

use std::fmt;
use std::num::NonZeroU32;

/// A limit that may be absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// No throttle: only the number of workers limits what runs. Written -1.
    Unlimited,
    /// At most this many at once.
    AtMost(NonZeroU32),
}

impl Limit {
    /// Returns the limit `count`, or `None` for 0, which would let nothing run.
    pub fn at_most(count: u32) -> Option<Limit> {
        NonZeroU32::new(count).map(Limit::AtMost)
    }

    /// Number as it is written in the file: -1 for unlimited.
    pub fn number(self) -> i64 {
        match self {
            Limit::Unlimited => -1,
            Limit::AtMost(count) => i64::from(count.get()),
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number().fmt(f)
    }
}
