//! Observation and administration of a server: snapshots, history, diagnosis, statistics and the console.
//!
//! Each second a [`Snapshot`] is taken of everything that is measured. The [`History`] keeps the last ones and a
//! [`SecondSample`] of each second; an [`Interval`] is the difference of two, and the verdict is found by intervals.
//! Statistics, metrics, page and console are views of these. The server is known by [`ServerControl`] alone.
//!
//! Invariants: no sockets, no threads and no clock here. Sampling does not slow the server down: snapshots are made of
//! counters that exist anyway.

mod admin_stats;
mod alarm;
mod availability;
pub mod console;
mod control;
mod diagnose;
#[cfg(test)]
mod docs_page;
pub mod format;
mod history;
mod interval;
mod looks;
mod overview;
mod readiness;
#[cfg(test)]
mod sample_snapshots;
mod server_monitor;
mod simulation;
mod slow_calls;
mod snapshot;
mod stall_detector;
pub mod statistics;
mod text_page;
mod threads;
mod window;

pub use admin_stats::{AdminRejection, AdminStats};
pub use alarm::Alarm;
pub use control::{ConnectionFilter, ControlError, ServerControl, SettingChange};
pub use diagnose::{Cause, Verdict};
pub use history::{History, SecondSample};
pub use interval::{Interval, MethodInterval, PortInterval};
pub use overview::{MethodOverview, Overview, PortOverview, Throughput};
pub use server_monitor::ServerMonitor;
pub use snapshot::{
    AlarmCounts, AnswerCounts, ConnectionInfo, Cpu, HandlerState, MethodLimitSnapshot, MethodSnapshot,
    Permits, PortSnapshot, SessionCounts, SessionSnapshot, SlowCallInfo, Snapshot, Task, ThreadState,
    WorkerSnapshot, Workers,
};
pub use statistics::{ServiceCounter, Statistic};
