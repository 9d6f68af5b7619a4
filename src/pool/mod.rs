//! Execution: fixed threads, no sockets.
//!
//! A port's pool is its workers and their queue; the [`Throttle`] limits how many workers of all ports may be awake.
//! Idle workers are on a last-in-first-out stack. The thread that wakes one takes a permit and hands it over with the
//! wake, so no thread wakes in vain, and a transaction that waits holds neither a thread nor a permit.
//!
//! ```text
//! listener --Queue::admit--> [bounded channel] --Worker::work--> Services::run --BufferedReplies--> ReplySink::send
//!      \__ Throttle::announce __/ permit
//! ```
//!
//! Why no wake-up is lost is proved in docs/ARCHITECTURE.md and checked in `model.rs`.

#[cfg(not(any(loom, shuttle)))]
mod bench_support;
mod blocking;
mod buffered_replies;
mod buffers;
mod burst;
mod codel;
mod connection_queue;
mod limited_calls;
mod maintenance;
mod method_limits;
#[cfg(all(test, any(loom, shuttle)))]
mod model;
mod nested;
#[cfg(any(not(any(loom, shuttle)), test))]
mod null_sink;
mod outgoing_calls;
mod permit_clock;
mod port_threads;
mod queue;
mod refusal;
mod run_where_read;
mod shared;
mod slow_calls;
mod throttle;
mod wait_list;
mod worker;
mod worker_slot;

#[cfg(not(any(loom, shuttle)))]
pub use bench_support::{BenchPool, BenchThrottle};
pub(crate) use buffers::{AllBuffers, BufferLease, Buffers};
pub(crate) use burst::{Burst, ReplySink};
pub(crate) use codel::CodelRules;
pub(crate) use connection_queue::ConnectionQueue;
pub(crate) use method_limits::{LineState, MethodLimit};
pub(crate) use port_threads::{PortListener, TurnOutcome};
pub(crate) use queue::{Displaced, Queue, QueueSizes};
pub(crate) use run_where_read::{listen_and_work, start_deputy};
pub use shared::RunningCall;
pub(crate) use shared::{PoolSizes, PortShared, Shared};
pub(crate) use slow_calls::SlowCall;
pub(crate) use throttle::{PortWorkers, Throttle, WorkerCounts};
pub(crate) use worker::{start_thread, start_workers};
pub(crate) use worker_slot::{Activity, Progress};
