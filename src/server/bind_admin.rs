//! Binds what the admin server listens on and reads its token, before it has threads.

use super::bind::{Purpose, bind_admin};
use super::error::StartError;
use crate::admin::{AdminListeners, Token, UnixSocket};
use crate::config::{Config, Warning};
use std::io::{Error, ErrorKind};
use std::net::SocketAddr;

/// The sockets and the credentials of an admin server.
#[derive(Debug)]
pub(super) struct AdminBound {
    pub(super) addresses: AdminListeners,
    /// The host in `Admin_Address`.
    pub(super) host: String,
    pub(super) token: Option<Token>,
    /// Defaults that it starts without.
    pub(super) unavailable: Vec<UnavailableDefault>,
}

/// An address or a socket that is only the default and cannot be had.
#[derive(Debug)]
pub(super) struct UnavailableDefault {
    pub(super) warning: Warning,
    /// Another process has it.
    pub(super) is_taken: bool,
}

/// Binds the admin server's address and socket, and reads its token; for a dry run only checks that they could be had.
/// `ports` are the addresses of the ports. If the address or the socket is only the default and cannot be had, the
/// server starts without it.
///
/// # Errors
/// A line of the settings names one that cannot be had, or a token that cannot be read.
pub(super) fn bind_admin_server(
    config: &Config,
    ports: &[SocketAddr],
    purpose: Purpose,
) -> Result<AdminBound, StartError> {
    let token = config.admin_token_file.value.as_deref().map(|path| {
        Token::read(path).map_err(|error| StartError::AdminToken { path: path.to_path_buf(), error })
    });
    let token = token.transpose()?;
    let (address, socket) = (&config.admin_address, &config.admin_socket);
    let mut addresses = AdminListeners { tcp: Vec::new(), unix: None };
    let mut unavailable = Vec::new();
    let mut start_without = |code, message, error: &Error| {
        let is_taken = error.kind() == ErrorKind::AddrInUse;
        unavailable.push(UnavailableDefault { warning: Warning { code, message }, is_taken });
    };
    if let Some(at) = &address.value {
        match bind_admin(at, token.is_some(), ports, purpose) {
            Ok(tcp) => addresses.tcp = tcp,
            Err(error) if address.source.is_given() => {
                return Err(StartError::Admin { address: at.to_string(), error });
            }
            Err(error) => {
                let message = format!("no admin server: {at}: {error} (Admin_Address)");
                start_without("no_admin_address", message, &error);
            }
        }
    }
    if let Some(path) = socket.value.path(config.file.as_deref()) {
        let bound = match purpose {
            Purpose::Serve => UnixSocket::bind(&path).map(Some),
            Purpose::Rehearse => UnixSocket::could_bind(&path).map(|()| None),
        };
        match bound {
            Ok(unix) => addresses.unix = unix,
            Err(error) if socket.source.is_given() => return Err(StartError::AdminSocket { path, error }),
            Err(error) => {
                let message = format!("no admin socket: {}: {error} (Admin_Socket)", path.display());
                start_without("no_admin_socket", message, &error);
            }
        }
    }
    let host = address.value.as_ref().map_or(String::new(), |address| address.host.clone());
    Ok(AdminBound { addresses, host, token, unavailable })
}
