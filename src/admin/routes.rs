//! The pages of the admin server: paths, the access that each requires, and the responses to requests.

use super::auth::{Access, AdminPeer, Auth, TOKEN_REALM};
use super::command_threads::{CommandThreads, JobResult};
use super::connection_slots::ConnectionSlot;
use super::prometheus::{self, Format};
use crate::monitor::console::{CommandOutcome, CommandSource};
use crate::monitor::{AdminRejection, ServerMonitor};
use crate::sync::Arc;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue,
    REFERRER_POLICY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, Request, Response, StatusCode};
use std::convert::Infallible;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// Header of every command: a page of another site cannot send it without permission (CORS).
pub(super) const CONSOLE: HeaderName = HeaderName::from_static("x-boneyard-console");

const COMMAND_BYTES_MAX: usize = 4096;

/// The status page: one file, which requests nothing but `/status.json`.
const STATUS_PAGE: &str = include_str!("page.html");

/// Permissions of the status page: its own style and script, and requests to this server.
const PAGE_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const HTML: &str = "text/html; charset=utf-8";

type HttpResponse = Response<Full<Bytes>>;

pub(super) async fn respond(
    request: Request<Incoming>,
    peer: AdminPeer,
    slot: &ConnectionSlot,
    state: &AdminState,
) -> Result<HttpResponse, Infallible> {
    state.monitor.admin_stats().asked();
    slot.set_idle(Instant::now());
    let admitted = admit(&request, peer, state);
    if admitted.as_ref().is_ok_and(|(_, access)| *access == Access::Full) {
        slot.set_full_access();
    }
    let mut response = match admitted {
        Ok((AdminPage::Status, _)) => status_page(),
        Ok((AdminPage::StatusJson, _)) => status_json(&state.monitor),
        Ok((AdminPage::Metrics, _)) => {
            let accepted = request.headers().get_all(ACCEPT).iter().filter_map(|accept| accept.to_str().ok());
            let format = Format::accepted(accepted);
            metrics(state, format).await
        }
        Ok((AdminPage::Live, _)) => response(StatusCode::OK, TEXT, "live\n"),
        Ok((AdminPage::Ready, _)) => ready(&state.monitor),
        Ok((AdminPage::Socket, _)) => socket(state),
        Ok((AdminPage::Console, access)) => command(request, peer, access, slot, state).await,
        Err(refused) => *refused,
    };
    slot.set_idle(Instant::now());
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    Ok(response)
}

/// Returns the requested page and the access of the request, or the refusal.
fn admit(
    request: &Request<Incoming>,
    peer: AdminPeer,
    state: &AdminState,
) -> Result<(AdminPage, Access), Box<HttpResponse>> {
    let refuse = |why, status, text: &'static str| Box::new(state.refuse(why, status, text));
    if !state.auth.is_own_host(request.headers()) {
        let text = "Host header must be an IP address or a configured name\n";
        return Err(refuse(AdminRejection::ForeignHost, StatusCode::MISDIRECTED_REQUEST, text));
    }
    let page = AdminPage::of(request.uri().path());
    let open = page.is_some_and(|page| page.is_open(peer));
    let access =
        if open { Access::ReadOnly } else { state.auth.access(request.headers(), peer, Instant::now()) };
    if access == Access::Denied {
        let text = "token required (the first line of Admin_Token_File)\n";
        let mut response = refuse(AdminRejection::NoToken, StatusCode::UNAUTHORIZED, text);
        let basic = HeaderValue::from_static(TOKEN_REALM);
        response.headers_mut().insert(WWW_AUTHENTICATE, basic);
        response.headers_mut().append(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        return Err(response);
    }
    let Some(page) = page else {
        return Err(refuse(AdminRejection::NoSuchPage, StatusCode::NOT_FOUND, "no such page\n"));
    };
    if !page.accepts(request.method()) {
        let mut response =
            refuse(AdminRejection::NoSuchMethod, StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(page.methods()));
        return Err(response);
    }
    Ok((page, access))
}

impl AdminState {
    fn refuse(&self, why: AdminRejection, status: StatusCode, text: impl Into<Bytes>) -> HttpResponse {
        self.monitor.admin_stats().refuse(why);
        response(status, TEXT, text)
    }

    fn refuse_overload(&self) -> HttpResponse {
        let text = "too many concurrent commands; try again\n";
        self.refuse(AdminRejection::CommandsFull, StatusCode::SERVICE_UNAVAILABLE, text)
    }
}

fn status_page() -> HttpResponse {
    let mut response = response(StatusCode::OK, HTML, STATUS_PAGE);
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, PAGE_POLICY);
    response
}

fn status_json(monitor: &ServerMonitor) -> HttpResponse {
    match monitor.overview().map(|overview| serde_json::to_vec(&overview)) {
        Some(Ok(json)) => response(StatusCode::OK, JSON, json),
        Some(Err(error)) => response(StatusCode::INTERNAL_SERVER_ERROR, TEXT, error.to_string()),
        None => response(StatusCode::SERVICE_UNAVAILABLE, TEXT, "no data yet: the server has just started\n"),
    }
}

/// Metrics of many ports and methods are a megabyte, which must not delay other requests.
async fn metrics(state: &AdminState, format: Format) -> HttpResponse {
    let monitor = Arc::clone(&state.monitor);
    match state.reads.run(move || prometheus::text(&monitor.statistics(), format)).await {
        JobResult::Result(text, _permit) => response(StatusCode::OK, format.name(), text),
        JobResult::Panicked => {
            response(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "request panicked; the log has the place\n")
        }
        JobResult::Full => state.refuse_overload(),
    }
}

/// Path of the socket, at which the server's own user needs no token.
fn socket(state: &AdminState) -> HttpResponse {
    match &state.socket {
        Some(SocketIdentity { path, instance }) => {
            response(StatusCode::OK, TEXT, format!("{}\n{instance}\n", path.display()))
        }
        None => state.refuse(
            AdminRejection::NoSuchPage,
            StatusCode::NOT_FOUND,
            "this server has no Admin_Socket\n",
        ),
    }
}

fn ready(monitor: &ServerMonitor) -> HttpResponse {
    match monitor.ready() {
        Ok(()) => response(StatusCode::OK, TEXT, "ready\n"),
        Err(why) => response(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{why}\n")),
    }
}

async fn command(
    request: Request<Incoming>,
    peer: AdminPeer,
    access: Access,
    slot: &ConnectionSlot,
    state: &AdminState,
) -> HttpResponse {
    if !request.headers().contains_key(CONSOLE) {
        let text = format!("missing header {CONSOLE}\n");
        return state.refuse(AdminRejection::NoCommandHeader, StatusCode::FORBIDDEN, text);
    }
    let line = match command_line(request.into_body(), state.timeout).await {
        Ok(line) => line,
        Err((why, status, text)) => return state.refuse(why, status, text),
    };
    let (monitor, may_change) = (Arc::clone(&state.monitor), access == Access::Full);
    let name = if matches!(peer, AdminPeer::Tcp(_)) { format!("token@{peer}") } else { peer.to_string() };
    let threads = if may_change { &state.commands } else { &state.reads };
    if may_change {
        slot.set_busy();
    }
    match threads.run(move || monitor.command_from(&line, CommandSource { name: &name, may_change })).await {
        JobResult::Result(reply, _permit) => match reply.outcome {
            CommandOutcome::Done => response(StatusCode::OK, TEXT, reply.text),
            CommandOutcome::NotUnderstood => response(StatusCode::UNPROCESSABLE_ENTITY, TEXT, reply.text),
            CommandOutcome::Refused => response(StatusCode::CONFLICT, TEXT, reply.text),
            CommandOutcome::Forbidden => {
                state.refuse(AdminRejection::LookOnly, StatusCode::FORBIDDEN, reply.text)
            }
        },
        JobResult::Panicked => {
            response(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "command panicked; the log has the place\n")
        }
        JobResult::Full => state.refuse_overload(),
    }
}

async fn command_line(
    body: Incoming,
    time: Duration,
) -> Result<String, (AdminRejection, StatusCode, &'static str)> {
    let bad = (AdminRejection::BadBody, StatusCode::BAD_REQUEST, "command is not UTF-8 text\n");
    match timeout(time, Limited::new(body, COMMAND_BYTES_MAX).collect()).await {
        Ok(Ok(body)) => String::from_utf8(body.to_bytes().into()).map_err(|_| bad),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err((AdminRejection::BodyTooLarge, StatusCode::PAYLOAD_TOO_LARGE, "command too long\n"))
        }
        Ok(Err(_)) => Err(bad),
        Err(_) => Err((AdminRejection::SlowBody, StatusCode::REQUEST_TIMEOUT, "command timed out\n")),
    }
}

fn response(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> HttpResponse {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum AdminPage {
    Status,
    StatusJson,
    Metrics,
    Live,
    Ready,
    Socket,
    Console,
}

impl AdminPage {
    fn of(path: &str) -> Option<AdminPage> {
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
    fn is_open(self, peer: AdminPeer) -> bool {
        match self {
            AdminPage::Live | AdminPage::Ready => true,
            AdminPage::Socket => {
                matches!(peer, AdminPeer::Tcp(address) if address.to_canonical().is_loopback())
            }
            _ => false,
        }
    }

    fn accepts(self, method: &Method) -> bool {
        match self {
            AdminPage::Console => method == Method::POST,
            _ => method == Method::GET || method == Method::HEAD,
        }
    }

    /// Accepted methods, for the header `Allow`.
    fn methods(self) -> &'static str {
        if self == AdminPage::Console { "POST" } else { "GET, HEAD" }
    }
}

/// State that all requests share.
#[derive(Debug)]
pub(super) struct AdminState {
    pub(super) monitor: Arc<ServerMonitor>,
    pub(super) auth: Auth,
    /// Time for a body.
    pub(super) timeout: Duration,
    /// The Unix socket, if there is one.
    pub(super) socket: Option<SocketIdentity>,
    /// Threads for commands with full access.
    pub(super) commands: CommandThreads,
    /// Threads for read-only commands and /metrics, which therefore delay no command with full access.
    pub(super) reads: CommandThreads,
}

/// A Unix socket and the server that listens there, as the page `/socket` returns them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SocketIdentity {
    /// Path of the socket.
    pub(super) path: PathBuf,
    /// Random value of each start. If a server on another machine names its path, for example through a tunnel, no
    /// server at the same path of this machine has its value.
    pub(super) instance: String,
}
