//! [`ServerBuilder`]: the settings of a server made in code, with the names, checks and defaults of a settings file.

use super::builder::Server;
use super::load::with_admin_token;
use super::machine;
use crate::config::{Config, ConfigErrors};
use std::fmt::Display;

/// Settings of a server, made in code instead of read from a file. Keys, values, defaults and the sentences of errors
/// are those of a settings file (docs/SETTINGS.md). Made by [`Server::builder`].
///
/// ```
/// # use boneyard::{Method, Server};
/// const DOUBLE: Method<u32, u64> = Method::new("math.double");
/// let server = Server::builder()
///     .port("TCPIP", "127.0.0.1:0") // the system chooses a free port
///     .set("Server_Pool_Tasks", 4)
///     .limit("math.double", 2, 100)
///     .set("Admin_Address", "") // no admin server
///     .build()?
///     .handle(DOUBLE, |_, n| Ok(u64::from(n) * 2))
///     .start()?;
/// let address = server.port("TCPIP").expect("it was set above").address();
/// # assert_ne!(address.port(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct ServerBuilder {
    settings: Vec<(String, String)>,
}

impl Server {
    /// Begins a server whose settings are made in code, with the names, checks and defaults of a settings file.
    pub fn builder() -> ServerBuilder {
        ServerBuilder::default()
    }
}

impl ServerBuilder {
    /// Sets a key as a line `key=value` of a settings file does. A key that was set before, whatever the case of its
    /// letters, gets the new value.
    pub fn set(mut self, key: &str, value: impl Display) -> ServerBuilder {
        let value = value.to_string();
        match self.settings.iter_mut().find(|(known, _)| known.eq_ignore_ascii_case(key)) {
            Some((_, old)) => *old = value,
            None => self.settings.push((key.to_owned(), value)),
        }
        self
    }

    /// Adds a port that listens on `host:port`; with port 0 the system chooses one. Without any port, and without
    /// `Ports`, the server has the port TCPIP on 127.0.0.1:1352.
    pub fn port(self, name: &str, address: impl Display) -> ServerBuilder {
        let before = self.settings.iter().find(|(key, _)| key.eq_ignore_ascii_case("Ports"));
        let ports = before.map_or(name.to_owned(), |(_, names)| format!("{names},{name}"));
        self.set("Ports", ports).set(&format!("{name}_TCPIPAddress"), address)
    }

    /// Limits a method, as a line of `[Limits]` does: `run` calls at once, and `wait` that wait for that.
    pub fn limit(self, method: &str, run: u32, wait: u32) -> ServerBuilder {
        self.set(method, format_args!("{run},{wait}"))
    }

    /// Checks the settings, and makes a server with them. Blocks while it reads the file of `Admin_Token_File`, if that
    /// is set.
    ///
    /// # Errors
    /// Everything that is wrong with the settings, without line numbers.
    pub fn build(self) -> Result<Server, ConfigErrors> {
        Config::from_program(&self.settings, machine::cpus()).and_then(with_admin_token).map(Server::new)
    }
}
