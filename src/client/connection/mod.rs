//! One live connection of a client: calls in, outcomes out.
//!
//! A caller appends its frame to the send queue (`send_queue`); if no thread is writing, it writes all that is queued
//! (`write`). Replies are read by a thread that waits for one, or by the reactor (`in_flight`, `read`, `reactor`), and
//! left in the slot of their call (`call_slot`).

mod call_slot;
mod client_connection;
mod core;
mod in_flight;
#[cfg(all(test, any(loom, shuttle)))]
mod model;
#[cfg(not(any(loom, shuttle)))]
mod reactor;
mod read;
mod read_source;
mod send_queue;
#[cfg(any(loom, shuttle))]
mod simulated;
#[cfg(not(any(loom, shuttle)))]
mod transport;
mod write;

#[cfg(any(loom, shuttle))]
use simulated as reactor;
#[cfg(any(loom, shuttle))]
use simulated as transport;

pub(super) use call_slot::{CallOutcome, CallSlot};
pub(super) use client_connection::{ClientConnection, EncodedCall, NotSent};
pub(super) use core::ServerMethod;
pub(super) use in_flight::Waiter;
