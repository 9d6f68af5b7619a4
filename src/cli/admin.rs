//! Where an admin server is, and the token it asks for: what the commands that speak to one have in common.

use super::{Exit, say};
use crate::admin::client::Asker;
use crate::config::{ADMIN_PORT, Config};
use clap::Args;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The address where none is given.
const DEFAULT_ADDRESS: &str = "127.0.0.1:1353";

/// Longest token that is read, in bytes.
const TOKEN_BYTES_MAX: u64 = 4096;

/// Longest wait for what a server says its socket is.
const SOCKET_WAIT_MAX: Duration = Duration::from_secs(2);

/// Which admin server.
#[derive(Debug, Args)]
pub(super) struct Admin {
    /// host:port, a host, or a port of this machine alone: the server's Admin_Address; or the path of its Admin_Socket.
    ///
    /// Without it: the socket of the server of ./server.ini, if that runs, else 127.0.0.1:1353. A server of this
    /// machine is asked for its socket, which is used where this user is the server's own or root.
    #[arg(value_name = "ADDR")]
    address: Option<String>,
    /// File whose first line is the token that the server asks for (Admin_Token_File).
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl Admin {
    /// Someone who asks there, and waits at most so long; and what the place is called.
    pub(super) fn asker(&self, patience: Duration) -> Result<(Asker, String), Exit> {
        let token = self.token_file.as_deref().map(token).transpose()?;
        let cannot = |error| {
            say(&format!("cannot make a poll: {error}"));
            Exit::Surroundings
        };
        let wait = patience.min(SOCKET_WAIT_MAX);
        let socket = match &self.address {
            Some(path) if path.contains('/') => {
                let path = std::path::absolute(path).unwrap_or_else(|_| path.into());
                let asker = Asker::over_socket(&path, patience);
                return asker.map(|asker| (asker, path.display().to_string())).map_err(|error| {
                    say(&format!("no connection to the admin server at {}: {error}", path.display()));
                    Exit::Surroundings
                });
            }
            Some(_) => None,
            None => socket_of(Path::new(super::FILE)),
        };
        if let Some(path) = socket
            && let Ok(asker) = Asker::over_socket(&path, patience)
        {
            return Ok((asker, path.display().to_string()));
        }
        let address = address(self.address.as_deref().unwrap_or(DEFAULT_ADDRESS));
        if is_of_this_machine(&address) {
            let asks = Asker::new(&address, None, wait).map_err(cannot)?;
            if let Some(asker) = asks.by_its_socket(patience) {
                return Ok((asker, address));
            }
        }
        Ok((Asker::new(&address, token, patience).map_err(cannot)?, address))
    }
}

/// The socket of a server with this settings file.
fn socket_of(file: &Path) -> Option<PathBuf> {
    let config = Config::load(file, 1).ok()?;
    std::path::absolute(config.admin_socket.value.path(Some(file))?).ok()
}

fn is_of_this_machine(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host).trim_matches(['[', ']']);
    host.parse::<IpAddr>()
        .map_or_else(|_| host.eq_ignore_ascii_case("localhost"), |ip| ip.to_canonical().is_loopback())
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
