//! Bugs that a model can plant.

/// A bug that can be planted in a model, which then must find it: a model that finds nothing proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Planted {
    /// A worker that retires looks at the queue before it counts itself no longer awake.
    LateLeave,
    /// A freed permit is not handed to a port that starves.
    KeptPermit,
    /// A worker whose handler has waited goes on without a look at the limit.
    FreeReturn,
    /// A worker whose handler begins to wait looks at the queue before it counts itself no longer awake.
    LatePause,
    /// A raised limit wakes one worker, however many it has room for.
    OneRaised,
    /// A permit that comes home is handed on although more are out than a lowered limit.
    LoweredInVain,
    /// A worker that is kept for nested calls takes others, too.
    NoReserve,
    /// A worker that is kept for nested calls and finds none counts as having one.
    KeptPlace,
}

/// Returns whether a bug is planted: never, outside a model.
#[cfg(not(any(loom, shuttle)))]
pub(crate) const fn planted(_: Planted) -> bool {
    false
}
