//! One TCP connection of a port: its life, the half that its listener reads, and the half that workers write to.
//!
//! Invariants: the listener alone reads and closes; a connection's state moves by [`state::ConnectionState`] alone.
//! Does not know the poll: what is done when is the listener's.

mod admit_calls;
mod lifecycle;
mod queue_shares;
mod reader;
mod state;
mod transport;
mod writer;

pub(super) use admit_calls::{PortContext, ReadBuffers, ReadContext};
pub(super) use queue_shares::QueueShares;
pub(super) use reader::{AcceptedAt, Connection, ReadOutcome};
pub(super) use transport::Transport;
pub(super) use writer::{ConnectionWriter, DRAINED_BYTES, WriterLimits};
