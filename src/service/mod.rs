//! Meaning: what can be called, what a call may answer, and how a handler of ordinary blocking code becomes one.
//!
//! Shared by client, server and examples. Knows bytes and codecs; knows no sockets, threads or settings, save that a
//! thread may have a host (`host.rs`).

pub mod builtin;
mod client_id;
mod handler;
#[cfg(feature = "server")]
pub mod load_service;
mod log_limit;
mod method;
mod reserved_share;
mod services;
pub mod session;
mod status;
pub(crate) mod suggest;
mod transaction;
pub(crate) mod worker_hooks;

pub use client_id::{ClientId, Site};
pub(crate) use handler::BUFFERS_AFTER;
pub use handler::{ApplicationError, Refusal};
pub use log_limit::LogLimiter;
pub(crate) use log_limit::{cut_message, cut_name, name_in_line};
pub use method::{InvalidMethodName, Method, check_method_name};
pub(crate) use reserved_share::{has_room, kept};
pub(crate) use services::ServicesBuilder;
pub use services::{DuplicateMethod, Services};
pub use session::SessionTicket;
pub(crate) use session::{ConnectionSessions, Session, Sessions};
pub use status::{Blame, Fault, Repeat, Status};
pub use transaction::{Peer, Transaction};
pub(crate) use worker_hooks::WorkerHooks;
pub use worker_hooks::blocking;

pub use serde_bytes::ByteBuf as Bytes;
