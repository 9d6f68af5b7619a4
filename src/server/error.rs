//! The error of a start.

use crate::config::ConfigErrors;
use crate::service::{DuplicateMethod, WorkerValueError};
use std::path::PathBuf;
use thiserror::Error;

/// The reason why a server does not start. Nothing is left running.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// The settings are wrong.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// A port cannot listen on its address.
    #[error("port {port} cannot listen on {address}: {error}")]
    Bind {
        /// Name of the port.
        port: String,
        /// Address of its INI line.
        address: String,
        /// Error of the system.
        error: std::io::Error,
    },
    /// The admin server cannot listen on its address.
    #[error("Admin_Address {address} cannot be listened on: {error}")]
    Admin {
        /// Address of the INI line.
        address: String,
        /// Error of the system.
        error: std::io::Error,
    },
    /// The admin server cannot listen on its Unix socket.
    #[error("Admin_Socket {}: cannot be listened on: {error}", path.display())]
    AdminSocket {
        /// Path of the socket.
        path: PathBuf,
        /// Error of the system, or what is wrong with the path.
        error: std::io::Error,
    },
    /// The token of the admin server cannot be read.
    #[cfg(feature = "admin")]
    #[error("Admin_Token_File {}: {error}", path.display())]
    AdminToken {
        /// Path in the INI line.
        path: PathBuf,
        /// Error of the file or of the token in it.
        error: crate::admin::TokenError,
    },
    /// The system refused a thread.
    #[error("port {port}: only {made} of {wanted} threads could be made: {error}")]
    Threads {
        /// Name of the port.
        port: String,
        /// Threads of that port that were made.
        made: usize,
        /// Threads of its pool and its listener.
        wanted: usize,
        /// Error of the system.
        error: std::io::Error,
    },
    /// The limit on descriptors of this process leaves none for a connection.
    #[error(
        "the process may hold {limit} descriptors, which leaves none for connections; raise the limit (ulimit -n -H) or \
         lower Server_Descriptor_Reserve"
    )]
    Descriptors {
        /// The limit, as far as it could be raised.
        limit: u64,
    },
    /// Two handlers have one method name.
    #[error(transparent)]
    Method(#[from] DuplicateMethod),
    /// The value of a worker (`Server::per_worker`) cannot be made.
    #[error(transparent)]
    PerWorker(#[from] WorkerValueError),
    /// Two counters have one name.
    #[error("two counters have the name {0}")]
    Counter(String),
    /// The system refused something else, such as a poll.
    #[error("{0}")]
    System(#[from] std::io::Error),
}
