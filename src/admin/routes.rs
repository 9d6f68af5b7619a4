//! What each path of the admin server answers.

use crate::insight::Insight;
use crate::insight::console::Outcome;
use crate::sync::Arc;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use std::convert::Infallible;
use std::net::IpAddr;

/// A header that a page of another site cannot send unasked: whoever gives orders has it.
pub(super) const CONSOLE: HeaderName = HeaderName::from_static("x-boneyard-console");

/// Longest command, in bytes.
const COMMAND_BYTES_MAX: usize = 4096;

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

type Answer = Response<Full<Bytes>>;

pub(super) async fn answer(request: Request<Incoming>, insight: Arc<Insight>) -> Result<Answer, Infallible> {
    if !is_for_here(&request) {
        return Ok(said(StatusCode::MISDIRECTED_REQUEST, TEXT, "ask by the address, not by a name\n"));
    }
    Ok(match (request.method(), request.uri().path()) {
        (&Method::GET, "/status.json") => status(&insight),
        (&Method::POST, "/console") => command(request, insight).await,
        (_, "/status.json" | "/console") => said(StatusCode::METHOD_NOT_ALLOWED, TEXT, "no such method\n"),
        _ => said(StatusCode::NOT_FOUND, TEXT, "no such page\n"),
    })
}

/// A page of another site may have a name of its own point here; a browser then asks for that name.
fn is_for_here(request: &Request<Incoming>) -> bool {
    let Some(host) = request.headers().get(HOST).and_then(|host| host.to_str().ok()) else { return true };
    let bare = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()));
    let name = bare.map_or(host, |(name, _)| name).trim_matches(['[', ']']);
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

fn status(insight: &Insight) -> Answer {
    match insight.overview().map(|overview| serde_json::to_vec(&overview)) {
        Some(Ok(json)) => said(StatusCode::OK, JSON, json),
        Some(Err(error)) => said(StatusCode::INTERNAL_SERVER_ERROR, TEXT, error.to_string()),
        None => said(StatusCode::SERVICE_UNAVAILABLE, TEXT, "the server has only just started\n"),
    }
}

async fn command(request: Request<Incoming>, insight: Arc<Insight>) -> Answer {
    if !request.headers().contains_key(CONSOLE) {
        return said(StatusCode::FORBIDDEN, TEXT, format!("a command needs the header {CONSOLE}\n"));
    }
    let body = match Limited::new(request.into_body(), COMMAND_BYTES_MAX).collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => return said(StatusCode::PAYLOAD_TOO_LARGE, TEXT, "a command is one short line\n"),
    };
    let Ok(line) = String::from_utf8(body.into()) else {
        return said(StatusCode::BAD_REQUEST, TEXT, "a command is text\n");
    };
    match tokio::task::spawn_blocking(move || insight.command(&line)).await {
        Ok(reply) => {
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

fn said(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}
