//! Where an admin server is, for the commands that ask one.

use super::{Exit, say};
use crate::admin::client::Asker;
use crate::config::ADMIN_PORT;
use std::path::PathBuf;
use std::time::Duration;

/// An admin server on the command line.
#[derive(Debug, clap::Args)]
pub(super) struct At {
    /// Admin_Address of the server: host:port, a host, or a port of this machine.
    #[arg(value_name = "ADDR", default_value = "127.0.0.1")]
    place: String,
    /// File whose first line is the token that the server asks for (its Admin_Token_File).
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl At {
    /// As `host:port`.
    pub(super) fn address(&self) -> String {
        let place = &self.place;
        let bare = place.starts_with('[') && place.ends_with(']');
        match (place.parse::<u16>(), place.contains(':') && !bare) {
            (Ok(port), _) => format!("127.0.0.1:{port}"),
            (Err(_), true) => place.clone(),
            (Err(_), false) => format!("{place}:{ADMIN_PORT}"),
        }
    }

    /// Who asks there, and waits so long for an answer.
    pub(super) fn asker(&self, patience: Duration) -> Result<Asker, Exit> {
        let token = match &self.token_file {
            None => None,
            Some(file) => match std::fs::read_to_string(file) {
                Ok(text) => Some(text.lines().next().unwrap_or("").trim().to_owned()),
                Err(error) => {
                    say(&format!("{}: {error}", file.display()));
                    return Err(Exit::Given);
                }
            },
        };
        Asker::new(&self.address(), token, patience).map_err(|error| {
            say(&error.to_string());
            Exit::Surroundings
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_host_or_a_port_or_both() {
        for (place, address) in [
            ("127.0.0.1", "127.0.0.1:1353"),
            ("1400", "127.0.0.1:1400"),
            ("db7", "db7:1353"),
            ("db7:99", "db7:99"),
            ("[::1]", "[::1]:1353"),
            ("[::1]:99", "[::1]:99"),
        ] {
            assert_eq!(At { place: place.to_owned(), token_file: None }.address(), address);
        }
    }
}
