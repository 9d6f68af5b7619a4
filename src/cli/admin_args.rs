//! Arguments that name an admin server, shared by the commands that use one: its address or socket, and its token.

use super::identity::Identity;
use super::input::DEFAULT_FILE;
use super::output::{Exit, eprint_error};
use crate::admin::{AdminClient, is_not_listening};
use crate::config::{ADMIN_PORT, AdminSocket, Config};
use crate::files;
use clap::Args;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Address if none is given.
const DEFAULT_ADDRESS: &str = "127.0.0.1:1353";

/// Longest token that is read, in bytes.
const TOKEN_BYTES_MAX: u64 = 4096;

/// Longest wait for a server to name its socket.
const SOCKET_WAIT_MAX: Duration = Duration::from_secs(2);

/// Address of an admin server.
#[derive(Debug, Args)]
pub(super) struct AdminArgs {
    /// host:port, a host, or a port of this machine: the server's Admin_Address; or the path of its Admin_Socket.
    ///
    /// Without it: the server of ./server.ini, at its Admin_Socket, or at its Admin_Address if no server listens at the
    /// socket; 127.0.0.1:1353 if there is no such file. A server on this machine is asked for its socket, which is used
    /// if this user is the server's own or root.
    #[arg(value_name = "ADDR")]
    address: Option<String>,
    /// File whose first line is the token that the server requires (Admin_Token_File).
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// A client of an admin server, and the name of the place for messages.
pub(super) struct AdminTarget {
    pub(super) client: AdminClient,
    pub(super) place: String,
}

/// Place of the server of a settings file.
enum FromFile {
    Socket(AdminTarget),
    Address(String),
}

impl AdminArgs {
    pub(super) fn of(address: Option<String>, token_file: Option<PathBuf>) -> AdminArgs {
        AdminArgs { address, token_file }
    }

    /// Returns a client that waits at most `timeout` for each response.
    pub(super) fn connect(&self, identity: &Identity, timeout: Duration) -> Result<AdminTarget, Exit> {
        let token = self.token_file.as_deref().map(token).transpose()?;
        let cannot = |error| Exit::Environment.with_error(&format!("cannot create a poll: {error}"));
        let address = match &self.address {
            Some(path) if path.contains('/') => {
                let (client, place) = over_socket(Path::new(path), timeout);
                let client = client.map_err(|error| report_no_response(&error, &place))?;
                return Ok(AdminTarget { client, place });
            }
            Some(text) => address(text),
            None => match by_file(identity, Path::new(DEFAULT_FILE), timeout)? {
                FromFile::Socket(target) => return Ok(target),
                FromFile::Address(address) => address,
            },
        };
        if is_of_this_machine(&address) {
            let client = AdminClient::new(&address, None, timeout.min(SOCKET_WAIT_MAX)).map_err(cannot)?;
            if let Some(client) = client.over_its_socket(timeout) {
                return Ok(AdminTarget { client, place: address });
            }
        }
        let client = AdminClient::new(&address, token, timeout).map_err(cannot)?;
        Ok(AdminTarget { client, place: address })
    }
}

/// Prints that an admin server was not reached, or did not respond.
pub(super) fn report_no_response(error: &io::Error, place: &str) -> Exit {
    let (what, exit) = match error.kind() {
        ErrorKind::NotConnected => ("no connection to", Exit::Environment),
        _ => ("no response from", Exit::NoResponse),
    };
    eprint_error(&format!("{what} the admin server at {place}: {error}"));
    exit
}

fn over_socket(path: &Path, timeout: Duration) -> (io::Result<AdminClient>, String) {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.into());
    (AdminClient::over_socket(&path, timeout), path.display().to_string())
}

/// Finds the server of a settings file: over its socket, or at its address. The address is used only if it is certain
/// that no server listens at the socket: another server may have it, which a command is not meant for.
fn by_file(identity: &Identity, file: &Path, timeout: Duration) -> Result<FromFile, Exit> {
    if matches!(file.try_exists(), Ok(false)) {
        return Ok(FromFile::Address(DEFAULT_ADDRESS.to_owned()));
    }
    let read = Config::load_for(file, 1, identity.section.clone());
    // A file that is wrong now may have been valid when its server started, and then most likely had the default.
    let socket = read.as_ref().map_or(&AdminSocket::Auto, |config| &config.admin_socket.value);
    let path = socket.path(Some(file));
    if let Some(path) = &path {
        match over_socket(path, timeout) {
            (Ok(client), place) => return Ok(FromFile::Socket(AdminTarget { client, place })),
            (Err(error), _) if is_not_listening(&error) => {}
            (Err(error), place) => return Err(report_no_response(&error, &place)),
        }
    }
    let file = file.display();
    let no_socket = path.map(|path| format!("no server listens at {}, and ", path.display()));
    let no_socket = no_socket.unwrap_or_default();
    match read.map(|config| config.admin_address.value) {
        Ok(Some(address)) => Ok(FromFile::Address(address.to_string())),
        Ok(None) => Err(Exit::Environment.with_error(&format!(
            "no connection to the server of {file}: {no_socket}it has no Admin_Address"
        ))),
        Err(errors) => Err(Exit::Input.with_error(&format!(
            "{no_socket}{file} has errors, so its server is unknown; give its address:\n{errors}"
        ))),
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
            Err(Exit::Input.with_error(&format!("cannot read the token in {}: {error}", file.display())))
        }
    }
}

/// Returns an address with host and port, from one that may lack either.
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
