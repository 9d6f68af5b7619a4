//! Identity of the program that has this command line: its name for messages, and what its author gave it.

use crate::config::{Config, ProgramSection};
use crate::server::Server;
use std::path::{Path, PathBuf};

/// The program of this process.
#[derive(Debug)]
pub(super) struct Identity {
    /// Its name as it was typed, for hints on what to type.
    pub(super) typed: String,
    /// Its own name; `None` for the ready server.
    pub(super) own: Option<OwnName>,
    /// The section of its own settings.
    pub(super) section: Option<ProgramSection>,
}

/// Name of a program of another author.
#[derive(Debug, Clone, Copy)]
pub(super) struct OwnName {
    pub(super) name: &'static str,
    pub(super) version: &'static str,
    /// A sentence on what it does.
    pub(super) about: Option<&'static str>,
}

impl Identity {
    pub(super) fn new(own: Option<OwnName>, section: Option<ProgramSection>) -> Identity {
        let path = std::env::args_os().next().map(PathBuf::from);
        let typed = path.as_deref().and_then(Path::file_name).and_then(|name| name.to_str());
        let name = own.map_or("boneyard", |own| own.name);
        Identity { typed: typed.unwrap_or(name).to_owned(), own, section }
    }

    /// Returns a server of this program.
    pub(super) fn server(&self, config: Config) -> Server {
        let server = Server::new(config);
        match self.own {
            Some(OwnName { name, version, .. }) => server.named(name, version),
            None => server,
        }
    }
}
