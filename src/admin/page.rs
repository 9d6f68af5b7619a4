//! The pages of the admin server: paths, and the access that each requires.

use super::auth::AdminPeer;
use hyper::Method;

/// A page of the admin server.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum AdminPage {
    Status,
    StatusJson,
    Metrics,
    Live,
    Ready,
    Socket,
    Console,
}

impl AdminPage {
    /// Returns the page at this path.
    pub(super) fn of(path: &str) -> Option<AdminPage> {
        Some(match path {
            "/" => AdminPage::Status,
            "/status.json" => AdminPage::StatusJson,
            "/metrics" => AdminPage::Metrics,
            "/health/live" => AdminPage::Live,
            "/health/ready" => AdminPage::Ready,
            "/socket" => AdminPage::Socket,
            "/console" => AdminPage::Console,
            _ => return None,
        })
    }

    /// Returns whether it needs no token: health checks have none, nor has a console on this machine that asks for the
    /// socket.
    pub(super) fn is_open(self, peer: AdminPeer) -> bool {
        match self {
            AdminPage::Live | AdminPage::Ready => true,
            AdminPage::Socket => {
                matches!(peer, AdminPeer::Tcp(address) if address.to_canonical().is_loopback())
            }
            _ => false,
        }
    }

    /// Returns whether it accepts this method.
    pub(super) fn accepts(self, method: &Method) -> bool {
        match self {
            AdminPage::Console => method == Method::POST,
            _ => method == Method::GET || method == Method::HEAD,
        }
    }

    /// Accepted methods, for the header `Allow`.
    pub(super) fn methods(self) -> &'static str {
        if self == AdminPage::Console { "POST" } else { "GET, HEAD" }
    }
}
