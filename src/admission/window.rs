//! Window of a connection: its calls in flight.

/// Most calls of one connection in flight; more wait in its socket, so that a connection with a thousand calls cannot
/// fill the shared queue.
pub const WINDOW_CALLS_MAX: usize = 512;
