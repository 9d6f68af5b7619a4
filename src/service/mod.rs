//! Services: methods, statuses, sessions, and how a handler of ordinary blocking code is run.
//!
//! Shared by client, server and examples. Knows bytes and codecs. Does not know sockets, threads or settings, save that
//! a thread may have a worker's hooks (`worker_hooks.rs`).

pub mod builtin;
#[cfg(feature = "server")]
pub(crate) mod builtin_handlers;
#[cfg(feature = "client")]
mod client_error;
#[cfg(feature = "server")]
mod client_id;
mod error_list;
#[cfg(feature = "server")]
mod handler;
mod handler_error;
#[cfg(feature = "server")]
pub mod load_service;
#[cfg(feature = "server")]
mod log_limit;
mod method;
#[cfg(feature = "server")]
mod middleware;
#[cfg(feature = "server")]
mod panic_text;
mod refusal;
#[cfg(feature = "server")]
mod refusal_of_error;
#[cfg(feature = "server")]
mod refusal_of_panic;
#[cfg(feature = "server")]
mod reserved_share;
#[cfg(feature = "server")]
mod services;
pub mod session;
#[cfg(feature = "server")]
mod session_state;
mod status;
#[cfg(feature = "client")]
pub(crate) mod suggest;
#[cfg(feature = "server")]
mod transaction;
#[cfg_attr(
    not(all(feature = "client", feature = "server")),
    allow(dead_code, reason = "the server sets the hooks, the client library asks them")
)]
pub(crate) mod worker_hooks;
#[cfg(feature = "server")]
mod worker_values;

#[cfg(feature = "server")]
pub(crate) use builtin_handlers::Sessions;
#[cfg(feature = "client")]
pub use client_error::{ClientError, DeadlineSource};
#[cfg(feature = "server")]
pub use client_id::{ClientId, Site};
pub use error_list::ErrorList;
pub use handler_error::HandlerError;
#[cfg(feature = "server")]
pub use log_limit::LogLimiter;
#[cfg(feature = "cli")]
pub(crate) use log_limit::cut_message;
#[cfg(feature = "server")]
pub(crate) use log_limit::name_in_line;
pub use method::{InvalidMethodName, Method, check_method_name};
#[cfg(feature = "server")]
pub(crate) use middleware::Middleware;
#[cfg(feature = "server")]
pub use middleware::{Handled, RestOfCall};
#[cfg(feature = "server")]
pub(crate) use panic_text::panic_text;
#[cfg(feature = "server")]
pub(crate) use refusal::BUFFERS_AFTER;
pub use refusal::{ApplicationError, Refusal};
#[cfg(feature = "server")]
pub(crate) use reserved_share::{has_room, kept};
#[cfg(feature = "server")]
pub(crate) use services::ServicesBuilder;
#[cfg(feature = "server")]
pub use services::{DuplicateMethod, Services};
pub use session::SessionTicket;
#[cfg(feature = "server")]
pub(crate) use session_state::{ConnectionSessions, SessionState};
pub use status::{Blame, Fault, Repeat, Status};
#[cfg(feature = "server")]
pub use transaction::{Peer, Transaction};
#[cfg(feature = "server")]
pub(crate) use worker_hooks::WorkerHooks;
pub use worker_hooks::blocking;
#[cfg(feature = "server")]
pub(crate) use worker_values::{PlaceValues, WorkerValues};
#[cfg(feature = "server")]
pub use worker_values::{WorkerPlace, WorkerValueError};

pub use serde_bytes::ByteBuf as Bytes;
