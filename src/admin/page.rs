//! The pages of the admin server: paths, and who may request them.

use super::auth::AdminPeer;
use hyper::Method;

/// A page of the admin server.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Page {
    Status,
    StatusJson,
    Metrics,
    Live,
    Ready,
    Socket,
    Console,
}

impl Page {
    /// Returns the page at this path.
    pub(super) fn of(path: &str) -> Option<Page> {
        Some(match path {
            "/" => Page::Status,
            "/status.json" => Page::StatusJson,
            "/metrics" => Page::Metrics,
            "/health/live" => Page::Live,
            "/health/ready" => Page::Ready,
            "/socket" => Page::Socket,
            "/console" => Page::Console,
            _ => return None,
        })
    }

    /// Returns whether it needs no token: health checks have none, nor has a console on this machine that asks for the
    /// socket.
    pub(super) fn is_open(self, peer: AdminPeer) -> bool {
        match self {
            Page::Live | Page::Ready => true,
            Page::Socket => matches!(peer, AdminPeer::Tcp(address) if address.to_canonical().is_loopback()),
            _ => false,
        }
    }

    /// Returns whether it accepts this method.
    pub(super) fn accepts(self, method: &Method) -> bool {
        match self {
            Page::Console => method == Method::POST,
            _ => method == Method::GET || method == Method::HEAD,
        }
    }

    /// Accepted methods, for the header `Allow`.
    pub(super) fn methods(self) -> &'static str {
        if self == Page::Console { "POST" } else { "GET, HEAD" }
    }
}
