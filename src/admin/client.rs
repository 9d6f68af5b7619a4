//! Asks an admin server, for the console and for `boneyard top`.

use super::routes::CONSOLE;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use std::io::{Error, ErrorKind};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

/// Someone who asks. Blocks while it does.
#[derive(Debug)]
pub struct Asker {
    address: String,
    token: Option<String>,
    patience: Duration,
    runtime: Runtime,
}

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Of HTTP.
    pub status: u16,
    /// The body.
    pub text: String,
}

impl Answer {
    /// Was it what was asked for?
    pub fn is_ok(&self) -> bool {
        self.status == StatusCode::OK
    }
}

impl Asker {
    /// Asks at `host:port`, with this token if any, and waits at most so long for a connection, and for an answer.
    ///
    /// # Errors
    /// The system would not make a poll.
    pub fn new(address: &str, token: Option<String>, patience: Duration) -> std::io::Result<Asker> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        Ok(Asker { address: address.to_owned(), token, patience, runtime })
    }

    /// What a path says.
    ///
    /// # Errors
    /// [`ErrorKind::NotConnected`]: there is no connection, and nothing was asked. Any other: no answer, or not in
    /// time. An answer that says no is an [`Answer`].
    pub fn get(&self, path: &str) -> std::io::Result<Answer> {
        self.ask(Request::get(path).body(Full::default()))
    }

    /// What a command of the console says.
    ///
    /// # Errors
    /// As [`Asker::get`].
    pub fn command(&self, line: &str) -> std::io::Result<Answer> {
        self.ask(Request::post("/console").header(CONSOLE, "1").body(Full::new(line.to_owned().into())))
    }

    fn ask(&self, request: hyper::http::Result<Request<Full<Bytes>>>) -> std::io::Result<Answer> {
        let mut request = request.map_err(Error::other)?;
        // Not the name that was typed: it answers to addresses and to localhost.
        let host = self.address.rsplit_once(':').map_or("", |(_, port)| port);
        let host = format!("localhost:{host}").parse().map_err(Error::other)?;
        request.headers_mut().insert(HOST, host);
        if let Some(token) = &self.token {
            let bearer = format!("Bearer {token}").parse().map_err(Error::other)?;
            request.headers_mut().insert(AUTHORIZATION, bearer);
        }
        self.runtime.block_on(async {
            let connecting = timeout(self.patience, TcpStream::connect(&self.address)).await;
            let connected = connecting.map_err(|_| unconnected("it does not answer"))?;
            let stream = connected.map_err(unconnected)?;
            let late = |_| Error::new(ErrorKind::TimedOut, "no answer in time");
            timeout(self.patience, exchange(stream, request)).await.map_err(late)?
        })
    }
}

fn unconnected(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(ErrorKind::NotConnected, error)
}

async fn exchange(stream: TcpStream, request: Request<Full<Bytes>>) -> std::io::Result<Answer> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(Error::other)?;
    let connection = tokio::spawn(connection);
    // A port for calls closes upon what is no call.
    let response =
        sender.send_request(request).await.map_err(|error| match error.is_incomplete_message() {
            true => Error::other("it closed without an answer; is this an Admin_Address?"),
            false => Error::other(error),
        })?;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.map_err(Error::other)?.to_bytes();
    connection.abort();
    let text = String::from_utf8(body.into()).map_err(Error::other)?;
    Ok(Answer { status, text })
}
