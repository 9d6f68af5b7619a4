//! What each path of the admin server answers.

use super::gate::{Asks, Gate};
use super::metrics::{self, Format};
use crate::insight::console::Outcome;
use crate::insight::{Insight, Refusal};
use crate::sync::Arc;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue,
    REFERRER_POLICY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, Request, Response, StatusCode};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
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
pub(super) struct Desk {
    pub(super) insight: Arc<Insight>,
    pub(super) gate: Gate,
    /// How long a body may take.
    pub(super) patience: Duration,
    /// One for each command that may run.
    pub(super) commands: Arc<Semaphore>,
}

/// A page that there is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Page {
    Status,
    StatusJson,
    Metrics,
    Live,
    Ready,
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
            "/console" => Page::Console,
            _ => return None,
        })
    }

    /// Those who watch whether a process lives have no token.
    fn is_open(self) -> bool {
        matches!(self, Page::Live | Page::Ready)
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
    peer: SocketAddr,
    desk: &Desk,
) -> Result<Answer, Infallible> {
    desk.insight.visits().asked();
    let mut answer = match admit(&request, peer, desk) {
        Ok(Page::Status) => page(),
        Ok(Page::StatusJson) => status(&desk.insight),
        Ok(Page::Metrics) => {
            let accepted = request.headers().get_all(ACCEPT).iter().filter_map(|accept| accept.to_str().ok());
            let format = Format::accepted(accepted);
            measured(&desk.insight, format).await
        }
        Ok(Page::Live) => said(StatusCode::OK, TEXT, "live\n"),
        Ok(Page::Ready) => ready(&desk.insight),
        Ok(Page::Console) => command(request, desk).await,
        Err(refused) => *refused,
    };
    let headers = answer.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    Ok(answer)
}

/// What is asked for, by one who may ask.
fn admit(request: &Request<Incoming>, peer: SocketAddr, desk: &Desk) -> Result<Page, Box<Answer>> {
    let refuse = |why, status, text: &'static str| Box::new(desk.refuse(why, status, text));
    if !desk.gate.is_for_here(request.headers()) {
        let text = "ask by the address, not by a name\n";
        return Err(refuse(Refusal::ForeignHost, StatusCode::MISDIRECTED_REQUEST, text));
    }
    let page = Page::of(request.uri().path());
    let open = page.is_some_and(Page::is_open);
    if !open && desk.gate.asks(request.headers(), peer, Instant::now()) == Asks::Unknown {
        let text = "this needs the token in Admin_Token_File\n";
        let mut answer = refuse(Refusal::NoToken, StatusCode::UNAUTHORIZED, text);
        let ways = HeaderValue::from_static("Basic realm=\"Boneyard, any user, the token as password\"");
        answer.headers_mut().insert(WWW_AUTHENTICATE, ways);
        answer.headers_mut().append(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        return Err(answer);
    }
    let Some(page) = page else {
        return Err(refuse(Refusal::NoSuchPage, StatusCode::NOT_FOUND, "no such page\n"));
    };
    if !page.takes(request.method()) {
        let mut answer = refuse(Refusal::NoSuchMethod, StatusCode::METHOD_NOT_ALLOWED, "no such method\n");
        let methods = if page == Page::Console { "POST" } else { "GET, HEAD" };
        answer.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
        return Err(answer);
    }
    Ok(page)
}

impl Desk {
    fn refuse(&self, why: Refusal, status: StatusCode, text: impl Into<Bytes>) -> Answer {
        self.insight.visits().refuse(why);
        said(status, TEXT, text)
    }
}

fn page() -> Answer {
    let mut answer = said(StatusCode::OK, HTML, PAGE);
    answer.headers_mut().insert(CONTENT_SECURITY_POLICY, PAGE_POLICY);
    answer
}

fn status(insight: &Insight) -> Answer {
    match insight.overview().map(|overview| serde_json::to_vec(&overview)) {
        Some(Ok(json)) => said(StatusCode::OK, JSON, json),
        Some(Err(error)) => said(StatusCode::INTERNAL_SERVER_ERROR, TEXT, error.to_string()),
        None => said(StatusCode::SERVICE_UNAVAILABLE, TEXT, "the server has only just started\n"),
    }
}

/// Of many ports and methods it is a megabyte, for which nobody else should wait.
async fn measured(insight: &Arc<Insight>, format: Format) -> Answer {
    let insight = Arc::clone(insight);
    match tokio::task::spawn_blocking(move || metrics::text(&insight.statistics(), format)).await {
        Ok(text) => said(StatusCode::OK, format.name(), text),
        Err(_) => said(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "it panicked; the log says where\n"),
    }
}

fn ready(insight: &Insight) -> Answer {
    match insight.ready() {
        Ok(()) => said(StatusCode::OK, TEXT, "ready\n"),
        Err(why) => said(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{why}\n")),
    }
}

async fn command(request: Request<Incoming>, desk: &Desk) -> Answer {
    if !request.headers().contains_key(CONSOLE) {
        let text = format!("a command needs the header {CONSOLE}\n");
        return desk.refuse(Refusal::NoCommandHeader, StatusCode::FORBIDDEN, text);
    }
    let line = match line(request.into_body(), desk.patience).await {
        Ok(line) => line,
        Err((why, status, text)) => return desk.refuse(why, status, text),
    };
    let Ok(place) = Arc::clone(&desk.commands).try_acquire_owned() else {
        let text = "as many commands run as may; try again\n";
        return desk.refuse(Refusal::CommandsFull, StatusCode::SERVICE_UNAVAILABLE, text);
    };
    let insight = Arc::clone(&desk.insight);
    // A command whose asker has gone takes its place until it is done; any other, until it is answered.
    let run = move || (insight.command(&line), place);
    match tokio::task::spawn_blocking(run).await {
        Ok((reply, _place)) => {
            let status = match reply.outcome {
                Outcome::Done => StatusCode::OK,
                Outcome::NotUnderstood => StatusCode::UNPROCESSABLE_ENTITY,
                Outcome::Refused => StatusCode::CONFLICT,
            };
            said(status, TEXT, reply.text)
        }
        Err(_) => said(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "the command panicked; the log says where\n"),
    }
}

/// The line of a command.
async fn line(body: Incoming, patience: Duration) -> Result<String, (Refusal, StatusCode, &'static str)> {
    let bad = (Refusal::BadBody, StatusCode::BAD_REQUEST, "a command is text\n");
    match timeout(patience, Limited::new(body, COMMAND_BYTES_MAX).collect()).await {
        Ok(Ok(body)) => String::from_utf8(body.to_bytes().into()).map_err(|_| bad),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err((Refusal::BodyTooLarge, StatusCode::PAYLOAD_TOO_LARGE, "a command is one short line\n"))
        }
        Ok(Err(_)) => Err(bad),
        Err(_) => Err((Refusal::SlowBody, StatusCode::REQUEST_TIMEOUT, "the command did not come in time\n")),
    }
}

fn said(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}
