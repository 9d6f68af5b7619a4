//! The server: sockets, clocks, and the order in which things start and stop.
//!
//! Everything that can fail is made before the first call is served: all sockets are bound, all polls made, all
//! threads started. A start that fails leaves nothing running.

mod alarm;
mod bind;
#[cfg(feature = "admin")]
mod bind_admin;
mod builder;
mod client_calls;
mod connect_rate;
mod connection;
mod connection_limiter;
mod control;
mod derived_settings;
mod dry_run;
mod error;
mod listener;
mod load;
pub mod machine;
mod running;
mod server_builder;
mod server_info;
mod sessions;
mod shutdown;
mod start;
mod stop_hooks;
#[cfg(test)]
mod tests;
mod thread_states;
mod verdict_file;
mod worker_needs;

#[cfg(feature = "admin")]
pub use crate::admin::TokenError;
pub use crate::monitor::ServiceCounter;
pub use crate::pool::RunningCall;
pub use crate::service::{WorkerPlace, WorkerValueError};
pub use builder::{Server, Stateless, WithState};
pub use dry_run::DryRun;
pub use error::StartError;
pub use load::load;
#[cfg(feature = "cli")]
pub(crate) use load::load_for;
#[cfg(feature = "cli")]
pub(crate) use load::warn_about_files;
pub use running::{PortHandle, RunningServer, Stopped};
pub use server_builder::ServerBuilder;
pub use server_info::SERVER_NAME;
