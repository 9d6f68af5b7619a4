//! A socket as the reactor sees it: events that it is registered for, and the calls that follow from them.

use crate::sync::Arc;
use std::time::Instant;

/// Events that a socket is registered for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Interest {
    /// Bytes to read, and the end of the stream.
    Bytes,
    /// The end of the stream.
    End,
    /// Not registered.
    Nothing,
}

/// How a source is flushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flush {
    /// At once.
    Now,
    /// A moment later if more is about to come.
    Unhurried,
}

/// A connection, called by the reactor's thread.
#[cfg_attr(
    any(loom, shuttle),
    expect(dead_code, reason = "the models call a part of it, and nothing else does")
)]
pub(super) trait ReadSource: std::fmt::Debug + Send + Sync {
    /// There are bytes, or the stream has ended if `ended`. Returns whether [`ReadSource::flush`] is to be called.
    fn read(self: Arc<Self>, ended: bool) -> bool;

    /// Ends what [`ReadSource::read`] has begun. Returns whether it is to be called again, within a millisecond.
    fn flush(self: Arc<Self>, flush: Flush) -> bool;

    /// A call of this source panicked: it is of no more use.
    fn fail(self: Arc<Self>);

    /// The time set by [`Registration::alarm`], or returned here, has come. Returns the next.
    fn check(self: Arc<Self>, now: Instant) -> Option<Instant>;
}
