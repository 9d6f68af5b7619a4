//! A port's listener: owns the port's sockets. Accepts, reads, admits, and flushes what workers could not send. One
//! thread has it; which one may change between two turns (`pool/run_where_read.rs`).
//!
//! Invariants: it blocks nowhere but in its poll, and sleeps there without end while nothing is in progress; other
//! threads reach it by its mailbox alone. It never runs a handler: its thread may, between two turns.

mod acceptor;
mod close_log;
mod close_timed_out;
mod commands;
mod connections;
mod lingering_close;
mod mailbox;
mod memory_pressure;
mod poll_loop;
mod read_scheduling;
mod slots;
mod stop_port;
mod timeout_heap;
mod watchdog;

pub(super) use acceptor::{ACCEPT, Acceptor};
pub(super) use lingering_close::LingeringClose;
pub(super) use mailbox::{ListenerCommand, ListenerHandle, MAILBOX, ReplySlot};
pub(super) use poll_loop::{Listener, ListenerParts};
pub(super) use slots::Id;
pub(super) use timeout_heap::{TimeoutLimits, Timeouts};
pub(super) use watchdog::Watchdog;
