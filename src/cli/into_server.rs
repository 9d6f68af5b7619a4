//! The result of an embedder's closure that adds services to a server.

use crate::server::Server;
use std::error::Error;

/// Result of the closure given to [`main`](super::main): a [`Server`], or a `Result` of one.
pub trait IntoServer {
    /// Returns the server, or why there is none.
    ///
    /// # Errors
    /// The program's own.
    fn into_server(self) -> Result<Server, Box<dyn Error>>;
}

impl IntoServer for Server {
    fn into_server(self) -> Result<Server, Box<dyn Error>> {
        Ok(self)
    }
}

impl<E: Into<Box<dyn Error>>> IntoServer for Result<Server, E> {
    fn into_server(self) -> Result<Server, Box<dyn Error>> {
        self.map_err(Into::into)
    }
}
