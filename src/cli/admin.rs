//! Where an admin server is, and the token it asks for: what the commands that speak to one have in common.

use super::{Exit, say};
use crate::admin::client::Asker;
use crate::config::ADMIN_PORT;
use clap::Args;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Longest token that is read, in bytes.
const TOKEN_BYTES_MAX: u64 = 4096;

/// Which admin server.
#[derive(Debug, Args)]
pub(super) struct Admin {
    /// host:port, a host, or a port of this machine alone: the server's Admin_Address.
    #[arg(value_name = "ADDR", default_value = "127.0.0.1:1353")]
    address: String,
    /// File whose first line is the token that the server asks for (Admin_Token_File).
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl Admin {
    /// `host:port`.
    pub(super) fn address(&self) -> String {
        address(&self.address)
    }

    /// Someone who asks there, and waits at most so long.
    pub(super) fn asker(&self, patience: Duration) -> Result<Asker, Exit> {
        let token = self.token_file.as_deref().map(token).transpose()?;
        Asker::new(&self.address(), token, patience).map_err(|error| {
            say(&format!("cannot make a poll: {error}"));
            Exit::Surroundings
        })
    }
}

fn token(file: &Path) -> Result<String, Exit> {
    let mut line = String::new();
    let read =
        File::open(file).and_then(|file| BufReader::new(file.take(TOKEN_BYTES_MAX)).read_line(&mut line));
    if let Err(error) = read {
        say(&format!("cannot read the token in {}: {error}", file.display()));
        return Err(Exit::Given);
    }
    Ok(line.trim().to_owned())
}

/// An address with its port, from one that may lack either.
fn address(text: &str) -> String {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        format!("127.0.0.1:{text}")
    } else if text.parse::<Ipv6Addr>().is_ok() {
        format!("[{text}]:{ADMIN_PORT}")
    } else if text.ends_with(']') || !text.contains(':') {
        format!("{text}:{ADMIN_PORT}")
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_lack_its_host_or_its_port() {
        for (text, whole) in [
            ("1400", "127.0.0.1:1400"),
            ("host", "host:1353"),
            ("host:1", "host:1"),
            ("10.0.0.1", "10.0.0.1:1353"),
            ("::1", "[::1]:1353"),
            ("[::1]", "[::1]:1353"),
            ("[::1]:7", "[::1]:7"),
        ] {
            assert_eq!(address(text), whole, "{text}");
        }
    }
}
