//! What each path of the admin server answers.

use super::auth::{AdminPeer, Auth, Right, TOKEN_REALM};
use super::command_threads::{CommandThreads, Done};
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

/// A header that a page of another site cannot send unasked: whoever gives orders has it.
pub(super) const CONSOLE: HeaderName = HeaderName::from_static("x-boneyard-console");

/// Longest command, in bytes.
const COMMAND_BYTES_MAX: usize = 4096;

/// The status page: one file, which asks for nothing but `/status.json`.
const PAGE: &str = include_str!("page.html");

/// What the page may do: its own style and script, and ask here.
const PAGE_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const HTML: &str = "text/html; charset=utf-8";

type Answer = Response<Full<Bytes>>;

/// What those who answer have at hand.
#[derive(Debug)]
pub(super) struct AdminState {
    pub(super) monitor: Arc<ServerMonitor>,
    pub(super) gate: Auth,
    /// How long a body may take.
    pub(super) patience: Duration,
    /// Where the Unix socket is, if there is one, and by what this very server is known there.
    pub(super) socket: Option<Identity>,
    /// For commands of those who may give every command.
    pub(super) commands: CommandThreads,
    /// For those of others, and for /metrics: whoever may only look holds no command up.
    pub(super) looks: CommandThreads,
}

/// A socket, and the server that listens there: `/socket` tells both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Where the socket is.
    pub path: PathBuf,
    /// Drawn at random at each start. Whoever was told of the path by a server of another machine, be it through a
    /// tunnel, does not find it at the same path of this one.
    pub instance: String,
}

/// A page that there is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Page {
    Status,
    StatusJson,
    Metrics,
    Live,
    Ready,
    Socket,
    Console,
}

impl Page {
    fn of(path: &str) -> Option<Page> {
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

    /// Those who watch whether a process lives have no token; nor has a console of this machine that asks for the
    /// socket.
    fn is_open(self, peer: AdminPeer) -> bool {
        match self {
            Page::Live | Page::Ready => true,
            Page::Socket => matches!(peer, AdminPeer::Tcp(address) if address.to_canonical().is_loopback()),
            _ => false,
        }
    }

    fn takes(self, method: &Method) -> bool {
        match self {
            Page::Console => method == Method::POST,
            _ => method == Method::GET || method == Method::HEAD,
        }
    }
}

pub(super) async fn answer(
    request: Request<Incoming>,
    peer: AdminPeer,
    place: &ConnectionSlot,
    desk: &AdminState,
) -> Result<Answer, Infallible> {
    desk.monitor.admin_stats().asked();
    place.spoke(Instant::now());
    let admitted = admit(&request, peer, desk);
    if admitted.as_ref().is_ok_and(|(_, right)| *right == Right::Command) {
        place.may_command();
    }
    let mut answer = match admitted {
        Ok((Page::Status, _)) => page(),
        Ok((Page::StatusJson, _)) => status(&desk.monitor),
        Ok((Page::Metrics, _)) => {
            let accepted = request.headers().get_all(ACCEPT).iter().filter_map(|accept| accept.to_str().ok());
            let format = Format::accepted(accepted);
            measured(desk, format).await
        }
        Ok((Page::Live, _)) => said(StatusCode::OK, TEXT, "live\n"),
        Ok((Page::Ready, _)) => ready(&desk.monitor),
        Ok((Page::Socket, _)) => socket(desk),
        Ok((Page::Console, right)) => command(request, (peer, right), place, desk).await,
        Err(refused) => *refused,
    };
    place.spoke(Instant::now());
    let headers = answer.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    Ok(answer)
}

/// What is asked for, by one who may ask, and what else that one may.
fn admit(
    request: &Request<Incoming>,
    peer: AdminPeer,
    desk: &AdminState,
) -> Result<(Page, Right), Box<Answer>> {
    let refuse = |why, status, text: &'static str| Box::new(desk.refuse(why, status, text));
    if !desk.gate.is_for_here(request.headers()) {
        let text = "ask by the address, not by a name\n";
        return Err(refuse(AdminRejection::ForeignHost, StatusCode::MISDIRECTED_REQUEST, text));
    }
    let page = Page::of(request.uri().path());
    let open = page.is_some_and(|page| page.is_open(peer));
    let right = if open { Right::Look } else { desk.gate.right(request.headers(), peer, Instant::now()) };
    if right == Right::Nothing {
        let text = "this needs the token in Admin_Token_File\n";
        let mut answer = refuse(AdminRejection::NoToken, StatusCode::UNAUTHORIZED, text);
        let ways = HeaderValue::from_static(TOKEN_REALM);
        answer.headers_mut().insert(WWW_AUTHENTICATE, ways);
        answer.headers_mut().append(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        return Err(answer);
    }
    let Some(page) = page else {
        return Err(refuse(AdminRejection::NoSuchPage, StatusCode::NOT_FOUND, "no such page\n"));
    };
    if !page.takes(request.method()) {
        let mut answer =
            refuse(AdminRejection::NoSuchMethod, StatusCode::METHOD_NOT_ALLOWED, "no such method\n");
        let methods = if page == Page::Console { "POST" } else { "GET, HEAD" };
        answer.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
        return Err(answer);
    }
    Ok((page, right))
}

impl AdminState {
    fn refuse(&self, why: AdminRejection, status: StatusCode, text: impl Into<Bytes>) -> Answer {
        self.monitor.admin_stats().refuse(why);
        said(status, TEXT, text)
    }

    fn full(&self) -> Answer {
        let text = "as many commands run as may; try again\n";
        self.refuse(AdminRejection::CommandsFull, StatusCode::SERVICE_UNAVAILABLE, text)
    }
}

fn page() -> Answer {
    let mut answer = said(StatusCode::OK, HTML, PAGE);
    answer.headers_mut().insert(CONTENT_SECURITY_POLICY, PAGE_POLICY);
    answer
}

fn status(monitor: &ServerMonitor) -> Answer {
    match monitor.overview().map(|overview| serde_json::to_vec(&overview)) {
        Some(Ok(json)) => said(StatusCode::OK, JSON, json),
        Some(Err(error)) => said(StatusCode::INTERNAL_SERVER_ERROR, TEXT, error.to_string()),
        None => said(StatusCode::SERVICE_UNAVAILABLE, TEXT, "the server has only just started\n"),
    }
}

/// Of many ports and methods it is a megabyte, for which nobody else should wait.
async fn measured(desk: &AdminState, format: Format) -> Answer {
    let monitor = Arc::clone(&desk.monitor);
    match desk.looks.run(move || prometheus::text(&monitor.statistics(), format)).await {
        Done::Result(text, _place) => said(StatusCode::OK, format.name(), text),
        Done::Panicked => said(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "it panicked; the log says where\n"),
        Done::Full => desk.full(),
    }
}

/// Where whoever may give commands without a token finds the socket for it.
fn socket(desk: &AdminState) -> Answer {
    match &desk.socket {
        Some(Identity { path, instance }) => {
            said(StatusCode::OK, TEXT, format!("{}\n{instance}\n", path.display()))
        }
        None => desk.refuse(
            AdminRejection::NoSuchPage,
            StatusCode::NOT_FOUND,
            "this server has no Admin_Socket\n",
        ),
    }
}

fn ready(monitor: &ServerMonitor) -> Answer {
    match monitor.ready() {
        Ok(()) => said(StatusCode::OK, TEXT, "ready\n"),
        Err(why) => said(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{why}\n")),
    }
}

async fn command(
    request: Request<Incoming>,
    (peer, right): (AdminPeer, Right),
    place: &ConnectionSlot,
    desk: &AdminState,
) -> Answer {
    if !request.headers().contains_key(CONSOLE) {
        let text = format!("a command needs the header {CONSOLE}\n");
        return desk.refuse(AdminRejection::NoCommandHeader, StatusCode::FORBIDDEN, text);
    }
    let line = match line(request.into_body(), desk.patience).await {
        Ok(line) => line,
        Err((why, status, text)) => return desk.refuse(why, status, text),
    };
    let (monitor, may_change) = (Arc::clone(&desk.monitor), right == Right::Command);
    let name = if matches!(peer, AdminPeer::Tcp(_)) { format!("token@{peer}") } else { peer.to_string() };
    let crew = if may_change { &desk.commands } else { &desk.looks };
    if may_change {
        place.runs();
    }
    match crew.run(move || monitor.command_from(&line, CommandSource { name: &name, may_change })).await {
        Done::Result(reply, _place) => match reply.outcome {
            CommandOutcome::Done => said(StatusCode::OK, TEXT, reply.text),
            CommandOutcome::NotUnderstood => said(StatusCode::UNPROCESSABLE_ENTITY, TEXT, reply.text),
            CommandOutcome::Refused => said(StatusCode::CONFLICT, TEXT, reply.text),
            CommandOutcome::Forbidden => {
                desk.refuse(AdminRejection::LookOnly, StatusCode::FORBIDDEN, reply.text)
            }
        },
        Done::Panicked => {
            said(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "the command panicked; the log says where\n")
        }
        Done::Full => desk.full(),
    }
}

/// The line of a command.
async fn line(
    body: Incoming,
    patience: Duration,
) -> Result<String, (AdminRejection, StatusCode, &'static str)> {
    let bad = (AdminRejection::BadBody, StatusCode::BAD_REQUEST, "a command is text\n");
    match timeout(patience, Limited::new(body, COMMAND_BYTES_MAX).collect()).await {
        Ok(Ok(body)) => String::from_utf8(body.to_bytes().into()).map_err(|_| bad),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err((
            AdminRejection::BodyTooLarge,
            StatusCode::PAYLOAD_TOO_LARGE,
            "a command is one short line\n",
        )),
        Ok(Err(_)) => Err(bad),
        Err(_) => {
            Err((AdminRejection::SlowBody, StatusCode::REQUEST_TIMEOUT, "the command did not come in time\n"))
        }
    }
}

fn said(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}
