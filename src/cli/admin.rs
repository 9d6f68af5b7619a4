//! Where an admin server is, and the token it asks for: what the commands that speak to one have in common.

use super::{Exit, eprint_error};
use crate::admin::client::{AdminClient, is_nobody};
use crate::config::{ADMIN_PORT, AdminSocket, Config};
use crate::files;
use clap::Args;
use std::io::{self, ErrorKind};
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
    /// Without it: the server of ./server.ini, at its Admin_Socket, or at its Admin_Address if nobody listens at the
    /// socket; 127.0.0.1:1353 where there is no such file. A server of this machine is asked for its socket, which is
    /// used where this user is the server's own or root.
    #[arg(value_name = "ADDR")]
    address: Option<String>,
    /// File whose first line is the token that the server asks for (Admin_Token_File).
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// Someone who asks, and what the place is called.
type Found = (AdminClient, String);

impl Admin {
    /// Someone who asks there, and waits at most so long for each answer.
    pub(super) fn asker(&self, patience: Duration) -> Result<Found, Exit> {
        let token = self.token_file.as_deref().map(token).transpose()?;
        let cannot = |error| {
            eprint_error(&format!("cannot make a poll: {error}"));
            Exit::Surroundings
        };
        let address = match &self.address {
            Some(path) if path.contains('/') => {
                let (asker, path) = over_socket(Path::new(path), patience);
                return asker.map_err(|error| say_silence(&error, &path)).map(|asker| (asker, path));
            }
            Some(text) => address(text),
            None => match by_file(Path::new(super::FILE), patience)? {
                Ok(found) => return Ok(found),
                Err(address) => address,
            },
        };
        if is_of_this_machine(&address) {
            let asks = AdminClient::new(&address, None, patience.min(SOCKET_WAIT_MAX)).map_err(cannot)?;
            if let Some(asker) = asks.by_its_socket(patience) {
                return Ok((asker, address));
            }
        }
        Ok((AdminClient::new(&address, token, patience).map_err(cannot)?, address))
    }
}

/// Says that an admin server was not reached, or did not answer.
pub(super) fn say_silence(error: &io::Error, place: &str) -> Exit {
    let (what, exit) = match error.kind() {
        ErrorKind::NotConnected => ("no connection to", Exit::Surroundings),
        _ => ("no answer from", Exit::NoAnswer),
    };
    eprint_error(&format!("{what} the admin server at {place}: {error}"));
    exit
}

fn over_socket(path: &Path, patience: Duration) -> (io::Result<AdminClient>, String) {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.into());
    (AdminClient::over_socket(&path, patience), path.display().to_string())
}

/// The server of a settings file, over its socket; or the address to ask at instead (`Err`). Only when it is certain
/// that no server listens at the socket: at the address may be another one, which a command is not meant for.
fn by_file(file: &Path, patience: Duration) -> Result<Result<Found, String>, Exit> {
    if matches!(file.try_exists(), Ok(false)) {
        return Ok(Err(DEFAULT_ADDRESS.to_owned()));
    }
    let read = Config::load(file, 1);
    // A file that is wrong now may have been right when its server began, and then most likely had the default.
    let socket = read.as_ref().map_or(&AdminSocket::Auto, |config| &config.admin_socket.value);
    let path = socket.path(Some(file));
    if let Some(path) = &path {
        match over_socket(path, patience) {
            (Ok(asker), path) => return Ok(Ok((asker, path))),
            (Err(error), _) if is_nobody(&error) => {}
            (Err(error), path) => return Err(say_silence(&error, &path)),
        }
    }
    let (file, nobody) =
        (file.display(), path.map(|path| format!("nobody listens at {}, and ", path.display())));
    let nobody = nobody.unwrap_or_default();
    match read.map(|config| config.admin_address.value) {
        Ok(Some(address)) => Ok(Err(address.to_string())),
        Ok(None) => {
            eprint_error(&format!("no connection to the server of {file}: {nobody}it has no Admin_Address"));
            Err(Exit::Surroundings)
        }
        Err(errors) => {
            eprint_error(&format!(
                "{nobody}{file} does not say where its server is; give its address:\n{errors}"
            ));
            Err(Exit::Given)
        }
    }
}

fn is_of_this_machine(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host).trim_matches(['[', ']']);
    host.parse::<IpAddr>()
        .map_or_else(|_| host.eq_ignore_ascii_case("localhost"), |ip| ip.to_canonical().is_loopback())
}

fn token(file: &Path) -> Result<String, Exit> {
    let read = files::read(file, TOKEN_BYTES_MAX);
    match read.and_then(|bytes| String::from_utf8(bytes).map_err(io::Error::other)) {
        Ok(text) => Ok(text.lines().next().unwrap_or_default().trim().to_owned()),
        Err(error) => {
            eprint_error(&format!("cannot read the token in {}: {error}", file.display()));
            Err(Exit::Given)
        }
    }
}

/// An address with its port, from one that may lack either.
fn address(text: &str) -> String {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        format!("127.0.0.1:{text}")
    } else if text.split('%').next().is_some_and(|ip| ip.parse::<Ipv6Addr>().is_ok()) {
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
            ("fe80::1%eth0", "[fe80::1%eth0]:1353"),
            ("[fe80::1%eth0]:7", "[fe80::1%eth0]:7"),
        ] {
            assert_eq!(address(text), whole, "{text}");
        }
    }
}
