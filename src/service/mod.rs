//! Services: methods, statuses, sessions, and how a handler of ordinary blocking code is run.
//!
//! Shared by client, server and examples. Knows bytes and codecs. Does not know sockets, threads or settings, save that
//! a thread may have a worker's hooks (`worker_hooks.rs`).

pub mod builtin;
mod client_id;
mod handler;
#[cfg(feature = "server")]
pub mod load_service;
mod log_limit;
mod method;
mod refusal;
mod reserved_share;
mod services;
pub mod session;
mod session_state;
mod status;
pub(crate) mod suggest;
mod transaction;
pub(crate) mod worker_hooks;

pub use client_id::{ClientId, Site};
pub use log_limit::LogLimiter;
pub(crate) use log_limit::{cut_message, name_in_line};
pub use method::{InvalidMethodName, Method, check_method_name};
pub(crate) use refusal::BUFFERS_AFTER;
pub use refusal::{ApplicationError, Refusal};
pub(crate) use reserved_share::{has_room, kept};
pub(crate) use services::ServicesBuilder;
pub use services::{DuplicateMethod, Services};
pub use session::SessionTicket;
pub(crate) use session::Sessions;
pub(crate) use session_state::{ConnectionSessions, SessionState};
pub use status::{Blame, Fault, Repeat, Status};
pub use transaction::{Peer, Transaction};
pub(crate) use worker_hooks::WorkerHooks;
pub use worker_hooks::blocking;

pub use serde_bytes::ByteBuf as Bytes;
