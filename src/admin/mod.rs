//! Admin server: HTTP on a thread of its own, which shares no permit, worker or queue with calls.
//!
//! It listens at an address, where without a token access is read-only, and at a Unix socket, where the server's own
//! user and root may use every command. Each has connection slots of its own. Commands of the console and /metrics run
//! on threads of their own, so that none of them delays another request. hyper reads and writes HTTP; the contents are
//! those of an [`ServerMonitor`](crate::monitor::ServerMonitor).
//!
//! Invariant: everything that a peer can repeat has a limit: connections, heads, bodies, commands, and the time of
//! each. A request over a limit is answered if possible, and counted
//! ([`AdminRejection`](crate::monitor::AdminRejection)).

mod auth;
mod client;
mod command_threads;
mod connection;
mod connection_slots;
mod prometheus;
mod routes;
mod server;
mod unix_socket;

pub use auth::{Token, TokenError};
pub use client::{AdminClient, AdminResponse, is_not_listening};
pub use server::{AdminListeners, AdminServer};
pub use unix_socket::UnixSocket;
