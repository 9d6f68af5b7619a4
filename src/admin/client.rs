//! Asks an admin server, for the console and for `boneyard top`: at its address or over its Unix socket.
//!
//! Whoever is asked is not trusted: an answer has a bound, the token is sent only to one who has asked for it as an
//! admin server does, and over a socket nothing is sent unless this user or root listens there, or this user is root.

use super::auth::{ROOT, TOKEN_REALM};
use super::routes::{CONSOLE, Identity};
use crate::tcp::{host_and_port, refuse_own_end};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, HOST, WWW_AUTHENTICATE};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustix::process::geteuid;
use std::cell::Cell;
use std::io::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::{Builder, Runtime};
use tokio::time::{Instant, timeout_at};

/// Longest answer, in bytes. That of a server with many ports and methods is a megabyte.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// The place of an admin server.
#[derive(Debug, Clone, PartialEq, Eq)]
enum ConnectionSlot {
    /// `host:port`.
    Tcp(String),
    Unix(PathBuf),
}

/// Someone who asks. Blocks while it does.
#[derive(Debug)]
pub struct AdminClient {
    place: ConnectionSlot,
    token: Option<String>,
    /// The token was asked for.
    sends_token: Cell<bool>,
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

/// A path, and a command to give there, if any.
type Question<'a> = (&'a str, Option<&'a str>);

impl AdminClient {
    /// Asks at `host:port`, with this token if any, and waits at most so long for a connection, and for an answer. The
    /// token is sent once the server has asked for it.
    ///
    /// # Errors
    /// The system would not make a poll.
    pub fn new(address: &str, token: Option<String>, patience: Duration) -> Result<AdminClient> {
        AdminClient::of(ConnectionSlot::Tcp(address.to_owned()), token, patience)
    }

    /// Asks over the Unix socket at this path, if an admin server listens there, as this user or root; root asks
    /// whoever listens.
    ///
    /// # Errors
    /// As [`AdminClient::get`]; [`is_nobody`] tells whether nobody listens there.
    pub fn over_socket(path: &Path, patience: Duration) -> Result<AdminClient> {
        let asker = AdminClient::of(ConnectionSlot::Unix(path.to_owned()), None, patience)?;
        match asker.socket(asker.deadline())? {
            Some(_) => Ok(asker),
            None => Err(unconnected("that is not the socket of an admin server")),
        }
    }

    /// Asks the server that this one asks over its Unix socket, with so much patience, where that can be; `None`: it
    /// says of none, or another listens there, or nobody whom this user trusts. To find out takes as long as one answer
    /// of this one may take.
    pub fn by_its_socket(&self, patience: Duration) -> Option<AdminClient> {
        let deadline = self.deadline();
        let told = self.socket(deadline).ok().flatten()?;
        let asker = AdminClient::of(ConnectionSlot::Unix(told.path.clone()), None, patience).ok()?;
        (asker.socket(deadline).ok().flatten()? == told).then_some(asker)
    }

    fn of(place: ConnectionSlot, token: Option<String>, patience: Duration) -> Result<AdminClient> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        Ok(AdminClient { place, token, sends_token: Cell::new(false), patience, runtime })
    }

    /// When the patience of a question that begins now is over.
    fn deadline(&self) -> Instant {
        Instant::now() + self.patience
    }

    /// What the server says its Unix socket is; `None`: it has none, or does not say.
    fn socket(&self, deadline: Instant) -> Result<Option<Identity>> {
        let answer = self.ask(("/socket", None), false, deadline)?;
        let lines = answer.text.strip_suffix('\n').and_then(|lines| lines.rsplit_once('\n'));
        let identity = lines
            .map(|(path, instance)| Identity { path: PathBuf::from(path), instance: instance.to_owned() })
            .filter(|identity| answer.is_ok() && identity.path.is_absolute());
        Ok(identity)
    }

    /// What a path says.
    ///
    /// # Errors
    /// [`ErrorKind::NotConnected`]: there is no connection, and nothing was asked. Any other: no answer, or not in
    /// time, or one without end. An answer that says no is an [`Answer`].
    pub fn get(&self, path: &str) -> Result<Answer> {
        self.ask((path, None), true, self.deadline())
    }

    /// What a command of the console says.
    ///
    /// # Errors
    /// As [`AdminClient::get`].
    pub fn command(&self, line: &str) -> Result<Answer> {
        self.ask(("/console", Some(line)), true, self.deadline())
    }

    /// All of it by `deadline`: connecting, and asking again with the token.
    fn ask(&self, question: Question<'_>, may_send_token: bool, deadline: Instant) -> Result<Answer> {
        let request = |token| request(&self.place, question, token);
        let token = || self.token.as_deref().filter(|_| may_send_token && self.sends_token.get());
        self.runtime.block_on(async {
            let (answer, asks) = self.exchange(request(token())?, deadline).await?;
            if !asks || token().is_some() || !may_send_token || self.token.is_none() {
                return Ok(answer);
            }
            self.sends_token.set(true);
            Ok(self.exchange(request(token())?, deadline).await?.0)
        })
    }

    /// One request and its answer, and whether that asks for a token.
    async fn exchange(&self, request: Request<Full<Bytes>>, deadline: Instant) -> Result<(Answer, bool)> {
        let late = |_| Error::new(ErrorKind::TimedOut, "no answer in time");
        let silent = |_| unconnected("it does not answer");
        match &self.place {
            ConnectionSlot::Tcp(address) => {
                let apart = host_and_port(address).ok_or_else(|| unconnected("the address has no port"))?;
                let connecting = timeout_at(deadline, TcpStream::connect(apart)).await;
                let stream = connecting.map_err(silent)?.map_err(unconnected)?;
                refuse_own_end(&stream).map_err(unconnected)?;
                timeout_at(deadline, exchange(stream, request)).await.map_err(late)?
            }
            ConnectionSlot::Unix(path) => {
                let connecting = timeout_at(deadline, UnixStream::connect(path)).await;
                let stream = connecting.map_err(silent)?.map_err(unconnected)?;
                // Who listens, as the system knows it: whoever could make a file there is not asked. Root asks anybody:
                // no token goes over a socket, the answer has a bound, and servers often have a user of their own.
                let (user, own) = (stream.peer_cred().map_err(unconnected)?.uid(), geteuid().as_raw());
                if user != own && user != ROOT && own != ROOT {
                    let wrong = format!("user {user} listens there, who is neither this one nor root");
                    return Err(unconnected(wrong));
                }
                timeout_at(deadline, exchange(stream, request)).await.map_err(late)?
            }
        }
    }
}

fn request(
    place: &ConnectionSlot,
    question: Question<'_>,
    token: Option<&str>,
) -> Result<Request<Full<Bytes>>> {
    let (path, command) = question;
    let request = match command {
        Some(line) => Request::post(path).header(CONSOLE, "1").body(Full::new(line.to_owned().into())),
        None => Request::get(path).body(Full::default()),
    };
    let mut request = request.map_err(Error::other)?;
    // Not the name that was typed: it answers to addresses and to localhost.
    let host = match place {
        ConnectionSlot::Tcp(address) => {
            format!("localhost:{}", address.rsplit_once(':').map_or("", |(_, port)| port))
        }
        ConnectionSlot::Unix(_) => "localhost".to_owned(),
    };
    request.headers_mut().insert(HOST, host.parse().map_err(Error::other)?);
    if let Some(token) = token {
        let bearer = format!("Bearer {token}").parse().map_err(Error::other)?;
        request.headers_mut().insert(AUTHORIZATION, bearer);
    }
    Ok(request)
}

/// Was there no connection because nobody listens? Any other error may be that of a server that does, but is busy or
/// someone else's.
pub fn is_nobody(error: &Error) -> bool {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<Error>());
    error.kind() == ErrorKind::NotConnected
        && cause.is_some_and(|cause| {
            // The last: the path is too long for a socket.
            use ErrorKind::{ConnectionRefused, InvalidInput, NotFound};
            matches!(cause.kind(), NotFound | ConnectionRefused | InvalidInput)
        })
}

fn unconnected(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(ErrorKind::NotConnected, error)
}

async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> Result<(Answer, bool)>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(Error::other)?;
    let connection = tokio::spawn(connection);
    // A port for calls closes upon what is no call.
    let response =
        sender.send_request(request).await.map_err(|error| match error.is_incomplete_message() {
            true => Error::other("it closed without an answer; is this an Admin_Address?"),
            false => Error::other(error),
        })?;
    let (status, asks) = (response.status().as_u16(), asks_for_token(&response));
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await.map_err(Error::other)?;
    connection.abort();
    let text = String::from_utf8(body.to_bytes().into()).map_err(Error::other)?;
    Ok((Answer { status, text }, asks))
}

/// Is this how an admin server asks for its token?
fn asks_for_token<B>(response: &Response<B>) -> bool {
    let mut ways = response.headers().get_all(WWW_AUTHENTICATE).iter();
    response.status() == StatusCode::UNAUTHORIZED && ways.any(|way| way == TOKEN_REALM)
}
