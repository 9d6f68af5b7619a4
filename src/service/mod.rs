//! Meaning: what can be called, what a call may answer, and how a handler of ordinary blocking code becomes one.
//!
//! Shared by client, server and examples. Knows bytes and codecs; knows no sockets, threads or settings, save that a
//! thread may have a host (`host.rs`).

pub mod builtin;
#[cfg(feature = "server")]
mod client_id;
mod handler;
#[cfg(feature = "server")]
pub mod load_service;
#[cfg(feature = "server")]
mod log_limit;
mod method;
#[cfg(feature = "server")]
mod reserved_share;
#[cfg(feature = "server")]
mod services;
pub mod session;
mod status;
pub(crate) mod suggest;
mod transaction;
pub(crate) mod worker_hooks;

#[cfg(feature = "server")]
pub use client_id::{ClientId, Site};
#[cfg(feature = "server")]
pub(crate) use handler::BUFFERS_AFTER;
pub use handler::{ApplicationError, Refusal};
#[cfg(feature = "server")]
pub use log_limit::LogLimiter;
#[cfg(feature = "server")]
pub(crate) use log_limit::{cut_message, cut_name, name_in_line};
pub use method::{InvalidMethodName, Method, check_method_name};
#[cfg(feature = "server")]
pub(crate) use reserved_share::{has_room, kept};
#[cfg(feature = "server")]
pub(crate) use services::ServicesBuilder;
#[cfg(feature = "server")]
pub use services::{DuplicateMethod, Services};
pub use session::SessionTicket;
pub(crate) use session::{ConnectionSessions, Session, Sessions};
pub use status::{Blame, Fault, Repeat, Status};
pub use transaction::{Peer, Transaction};
#[cfg(feature = "server")]
pub(crate) use worker_hooks::WorkerHooks;
pub use worker_hooks::blocking;

pub use serde_bytes::ByteBuf as Bytes;
