//! States of the threads that ran a method's calls, as shares of the looks at them.

/// Shares, 0 to 1.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(in crate::monitor) struct ThreadShares {
    pub(in crate::monitor) observed: u64,
    pub(in crate::monitor) on_processor: f64,
    pub(in crate::monitor) runnable: f64,
    pub(in crate::monitor) lock: f64,
    pub(in crate::monitor) one_lock: f64,
    pub(in crate::monitor) socket: f64,
    pub(in crate::monitor) disk: f64,
    pub(in crate::monitor) sleep: f64,
    pub(in crate::monitor) other: f64,
    pub(in crate::monitor) blocked: f64,
    pub(in crate::monitor) returning: f64,
}
