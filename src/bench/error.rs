//! Errors of a run.

use crate::service::suggest::suggestion;
use thiserror::Error;

/// Reason why a run has no report.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BenchError {
    /// A connection could not be made or the poll failed.
    #[error("{0}")]
    System(#[from] std::io::Error),
    /// The server has no such method.
    #[error("the server has no method {name:?}{}", suggestion(nearest.as_deref()))]
    UnknownMethod {
        /// The name asked for.
        name: String,
        /// The server's method with the most similar name, if one is similar.
        nearest: Option<String>,
    },
    /// The server refuses the connection, with its reason.
    #[error("the server takes no connection: {0}")]
    Refused(String),
    /// The server does not speak the protocol, or closed before its Welcome.
    #[error("the server's greeting: {0}")]
    Greeting(String),
}
