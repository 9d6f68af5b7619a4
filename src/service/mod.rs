//! Meaning: what can be called, what a call may answer, and how a handler of ordinary blocking code becomes one.
//!
//! Shared by client, server and examples. Knows bytes and codecs; knows no sockets, threads or settings, save that a
//! thread may have a host (`host.rs`).

pub mod builtin;
mod client_id;
mod handler;
pub(crate) mod host;
#[cfg(feature = "server")]
pub mod load;
mod log_bound;
mod method;
pub(crate) mod nearest;
mod places;
mod services;
pub mod session;
mod status;
mod transaction;

pub use client_id::{ClientId, Site};
pub(crate) use handler::BUFFERS_AFTER;
pub use handler::{ApplicationError, Refusal};
pub(crate) use host::Host;
pub use host::blocking;
pub use log_bound::LogBound;
pub(crate) use log_bound::{cut_message, cut_name, name_in_line};
pub use method::{InvalidMethodName, Method, check_method_name};
pub(crate) use places::{has_room, kept};
pub(crate) use services::ServicesBuilder;
pub use services::{DuplicateMethod, Services};
pub use session::SessionTicket;
pub(crate) use session::{Carried, Session, Sessions};
pub use status::{Fault, Status};
pub use transaction::{Caller, Transaction};

pub use serde_bytes::ByteBuf as Bytes;
