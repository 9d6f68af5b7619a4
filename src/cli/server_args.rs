//! Arguments that name a server for calls, and messages about calls to it: the kind of error first, then the error,
//! then a hint.

use super::escape::one_line;
use super::input::seconds;
use super::output::{Exit, eprint_error};
use crate::client::{Blame, Client, ClientError, ClientOptions, DeadlineSource};
use clap::Args;
use std::time::Duration;

/// Address of a server.
#[derive(Debug, Args)]
pub(super) struct ServerArgs {
    /// host, host:port or [IPv6]:port; the default port is 1352. A link-local address includes its zone:
    /// [fe80::1%eth0]:1352.
    #[arg(value_name = "ADDR")]
    pub(super) address: String,
    /// Time to wait for the response, including the connection.
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    timeout: Duration,
}

impl ServerArgs {
    /// Returns a client that fails at once if the server is not reachable.
    pub(super) fn client(&self) -> Result<Client, ClientError> {
        self.client_with(false)
    }

    /// Returns a client that may wait for the server, within the timeout.
    pub(super) fn client_with(&self, wait: bool) -> Result<Client, ClientError> {
        let name = concat!("boneyard call ", env!("CARGO_PKG_VERSION"));
        let options = ClientOptions::default().deadline(self.timeout).name(name).wait_for_server(wait);
        Client::with_options(&self.address, options)
    }
}

/// Prints the error of a call to this address.
pub(super) fn report_error(error: &ClientError, address: &str) -> Exit {
    let kind = match error.blame() {
        _ if is_unconnected(error) => "no connection",
        Blame::Caller => "invalid request",
        Blame::Server => "server defect",
        Blame::Environment => "no response",
        Blame::Application => "application error",
        Blame::Overload => "server overloaded",
    };
    let text = match is_connect_timeout(error) {
        true => format!("cannot connect to {address}: not connected in time"),
        false => error.to_string(),
    };
    // One line, so that no text of a service passes for a line of this program.
    eprint_error(&format!("{kind}: {}", one_line(&text)));
    match error.blame() {
        Blame::Caller => Exit::Input,
        Blame::Environment if error.never_started() => Exit::Environment,
        Blame::Environment => Exit::NoResponse,
        Blame::Server | Blame::Application | Blame::Overload => Exit::ErrorResponse,
    }
}

/// Prints a hint about a method that a server does not have.
pub(super) fn suggest_methods(program: &str, address: &str, name: &str, nearest: Option<&str>) {
    let is_load = |name: &str| name.starts_with("load.");
    if is_load(name) && !nearest.is_some_and(is_load) {
        eprint_error("the setting Load_Service=1 adds the load.* methods");
    }
    eprint_error(&format!("`{program} methods {address}` lists the methods of the server"));
}

/// Returns whether the call was never sent, for lack of a connection.
fn is_unconnected(error: &ClientError) -> bool {
    let lost = matches!(error, ClientError::Disconnected { may_have_run: false, .. });
    lost || is_connect_timeout(error)
        || matches!(error, ClientError::Connect { .. } | ClientError::NoThread(_))
}

/// Returns whether the time passed before there was a connection. The only call of a client waits for nothing else
/// before it is sent.
fn is_connect_timeout(error: &ClientError) -> bool {
    matches!(
        error,
        ClientError::DeadlineExceeded { detected_by: DeadlineSource::Client, may_have_run: false }
    )
}
