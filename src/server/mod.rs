//! The server: sockets, clocks, and the order in which things start and stop.
//!
//! Everything that can fail is made before the first call is served: all sockets are bound, all polls made, all
//! threads started. A start that fails leaves nothing running.

mod accept;
mod bind;
mod builder;
mod close_log;
mod command;
mod connect_rate;
mod connection;
mod connection_limiter;
mod control;
mod derived_settings;
mod desk;
mod dry_run;
mod error;
mod lingering_close;
mod listener;
mod load;
pub mod machine;
mod mailbox;
mod memory_pressure;
mod queue_shares;
mod running;
mod server_info;
mod sessions;
mod slots;
mod start;
#[cfg(test)]
mod tests;
mod timeouts;
mod transport;
mod verdict_file;
mod watchdog;
mod writer;

pub use crate::pool::RunningCall;
pub use builder::Server;
pub use dry_run::DryRun;
pub use error::StartError;
pub use load::load;
#[cfg(feature = "cli")]
pub(crate) use load::warn_about_files;
pub use running::{PortHandle, RunningServer, Stopped};
pub use server_info::SERVER_NAME;
