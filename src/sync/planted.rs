//! Bugs that a model plants to prove that it would find them.

/// Bugs that can be switched on in a model, which must then find them: a model that finds nothing proves nothing.
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
    /// A worker that looks for a call in vain, since it is kept for nested ones, counts as having one.
    KeptPlace,
}
