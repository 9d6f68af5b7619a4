//! Client of an admin server, for the console and for `boneyard top`: at its address or over its Unix socket.
//!
//! Invariants, because the server is not trusted: the size of a response is limited; the token is sent only after the
//! challenge of an admin server; over a socket nothing is sent unless the listener runs as this user or root, or this
//! user is root.

use super::auth::{ROOT, TOKEN_REALM};
use super::routes::{CONSOLE, SocketIdentity};
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

/// Longest response, in bytes. That of a server with many ports and methods is a megabyte.
const RESPONSE_BYTES_MAX: usize = 16 << 20;

/// Place of an admin server.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// `host:port`.
    Tcp(String),
    Unix(PathBuf),
}

/// Client of an admin server. Its methods block until the response or the timeout; it is for one thread.
#[derive(Debug)]
pub struct AdminClient {
    place: Place,
    token: Option<String>,
    /// Whether the server has requested the token.
    sends_token: Cell<bool>,
    timeout: Duration,
    runtime: Runtime,
}

/// Response of an admin server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminResponse {
    /// HTTP status.
    pub status: u16,
    /// The body.
    pub text: String,
}

impl AdminResponse {
    /// Returns whether the request succeeded (status 200).
    pub fn is_ok(&self) -> bool {
        self.status == StatusCode::OK
    }
}

/// A request: the path, and the command to send to it, if any.
#[derive(Clone, Copy)]
struct AdminRequest<'a> {
    path: &'a str,
    command: Option<&'a str>,
}

impl AdminClient {
    /// Returns a client for `host:port` that waits at most `timeout` for a response, including the connection. The
    /// token is sent once the server has requested it.
    ///
    /// # Errors
    /// The system cannot create a poll.
    pub fn new(address: &str, token: Option<String>, timeout: Duration) -> Result<AdminClient> {
        AdminClient::of(Place::Tcp(address.to_owned()), token, timeout)
    }

    /// Returns a client for the Unix socket at this path, if an admin server listens there as this user or root; root
    /// may use the socket of any user.
    ///
    /// # Errors
    /// As [`AdminClient::get`]; see [`is_not_listening`].
    pub fn over_socket(path: &Path, timeout: Duration) -> Result<AdminClient> {
        let client = AdminClient::of(Place::Unix(path.to_owned()), None, timeout)?;
        match client.socket(client.deadline())? {
            Some(_) => Ok(client),
            None => Err(unconnected("not the socket of an admin server")),
        }
    }

    /// Returns a client for the Unix socket of the same server, with this timeout; `None` if the server names none, or
    /// if another server or an untrusted user listens there. Takes at most the time of one response of this client.
    pub fn over_its_socket(&self, timeout: Duration) -> Option<AdminClient> {
        let deadline = self.deadline();
        let named = self.socket(deadline).ok().flatten()?;
        let client = AdminClient::of(Place::Unix(named.path.clone()), None, timeout).ok()?;
        (client.socket(deadline).ok().flatten()? == named).then_some(client)
    }

    fn of(place: Place, token: Option<String>, timeout: Duration) -> Result<AdminClient> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        Ok(AdminClient { place, token, sends_token: Cell::new(false), timeout, runtime })
    }

    /// Deadline of a request that begins now.
    fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }

    /// The server's Unix socket; `None` if it has or names none.
    fn socket(&self, deadline: Instant) -> Result<Option<SocketIdentity>> {
        let request = AdminRequest { path: "/socket", command: None };
        let response = self.send(request, false, deadline)?;
        let lines = response.text.strip_suffix('\n').and_then(|lines| lines.rsplit_once('\n'));
        let identity = lines
            .map(|(path, instance)| SocketIdentity {
                path: PathBuf::from(path),
                instance: instance.to_owned(),
            })
            .filter(|identity| response.is_ok() && identity.path.is_absolute());
        Ok(identity)
    }

    /// Requests a page.
    ///
    /// # Errors
    /// [`ErrorKind::NotConnected`]: no connection, and nothing was sent. Any other: no response, or not in time, or one
    /// that is too long. A refusal by the server is an [`AdminResponse`].
    pub fn get(&self, path: &str) -> Result<AdminResponse> {
        self.send(AdminRequest { path, command: None }, true, self.deadline())
    }

    /// Sends a command of the console.
    ///
    /// # Errors
    /// As [`AdminClient::get`].
    pub fn command(&self, line: &str) -> Result<AdminResponse> {
        self.send(AdminRequest { path: "/console", command: Some(line) }, true, self.deadline())
    }

    /// Sends a request; connecting and repeating it with the token count towards `deadline`.
    fn send(
        &self,
        question: AdminRequest<'_>,
        may_send_token: bool,
        deadline: Instant,
    ) -> Result<AdminResponse> {
        let request = |token| http_request(&self.place, question, token);
        let token = || self.token.as_deref().filter(|_| may_send_token && self.sends_token.get());
        self.runtime.block_on(async {
            let (response, token_required) = self.exchange(request(token())?, deadline).await?;
            if !token_required || token().is_some() || !may_send_token || self.token.is_none() {
                return Ok(response);
            }
            self.sends_token.set(true);
            Ok(self.exchange(request(token())?, deadline).await?.0)
        })
    }

    /// Sends one request; returns its response, and whether that requires the token.
    async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
        deadline: Instant,
    ) -> Result<(AdminResponse, bool)> {
        let late = |_| Error::new(ErrorKind::TimedOut, "no response in time");
        let no_connection = |_| unconnected("connect timed out");
        match &self.place {
            Place::Tcp(address) => {
                let parts = host_and_port(address).ok_or_else(|| unconnected("the address has no port"))?;
                let connecting = timeout_at(deadline, TcpStream::connect(parts)).await;
                let stream = connecting.map_err(no_connection)?.map_err(unconnected)?;
                refuse_own_end(&stream).map_err(unconnected)?;
                timeout_at(deadline, exchange(stream, request)).await.map_err(late)?
            }
            Place::Unix(path) => {
                let connecting = timeout_at(deadline, UnixStream::connect(path)).await;
                let stream = connecting.map_err(no_connection)?.map_err(unconnected)?;
                // The listener's user, as the system reports it: write access to the directory is not enough to be
                // trusted. Root trusts any user: no token is sent over a socket, the response is limited, and servers
                // often have a user of their own.
                let (user, own) = (stream.peer_cred().map_err(unconnected)?.uid(), geteuid().as_raw());
                if user != own && user != ROOT && own != ROOT {
                    let wrong = format!("user {user} listens there, neither this user nor root");
                    return Err(unconnected(wrong));
                }
                timeout_at(deadline, exchange(stream, request)).await.map_err(late)?
            }
        }
    }
}

fn http_request(
    place: &Place,
    AdminRequest { path, command }: AdminRequest<'_>,
    token: Option<&str>,
) -> Result<Request<Full<Bytes>>> {
    let request = match command {
        Some(line) => Request::post(path).header(CONSOLE, "1").body(Full::new(line.to_owned().into())),
        None => Request::get(path).body(Full::default()),
    };
    let mut request = request.map_err(Error::other)?;
    // Not the given name: the server accepts addresses and localhost.
    let host = match place {
        Place::Tcp(address) => {
            format!("localhost:{}", address.rsplit_once(':').map_or("", |(_, port)| port))
        }
        Place::Unix(_) => "localhost".to_owned(),
    };
    request.headers_mut().insert(HOST, host.parse().map_err(Error::other)?);
    if let Some(token) = token {
        let bearer = format!("Bearer {token}").parse().map_err(Error::other)?;
        request.headers_mut().insert(AUTHORIZATION, bearer);
    }
    Ok(request)
}

/// Returns whether there was no connection because no server listens. After any other error a server may listen that is
/// busy or belongs to another user.
pub fn is_not_listening(error: &Error) -> bool {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<Error>());
    error.kind() == ErrorKind::NotConnected
        && cause.is_some_and(|cause| {
            // InvalidInput: the path is too long for a socket.
            use ErrorKind::{ConnectionRefused, InvalidInput, NotFound};
            matches!(cause.kind(), NotFound | ConnectionRefused | InvalidInput)
        })
}

fn unconnected(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(ErrorKind::NotConnected, error)
}

async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> Result<(AdminResponse, bool)>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(Error::other)?;
    let connection = tokio::spawn(connection);
    // A port for calls closes the connection after bytes that are no call.
    let response =
        sender.send_request(request).await.map_err(|error| match error.is_incomplete_message() {
            true => Error::other("closed without a response; is this an Admin_Address?"),
            false => Error::other(error),
        })?;
    let (status, token_required) = (response.status().as_u16(), requires_token(&response));
    let body =
        Limited::new(response.into_body(), RESPONSE_BYTES_MAX).collect().await.map_err(Error::other)?;
    connection.abort();
    let text = String::from_utf8(body.to_bytes().into()).map_err(Error::other)?;
    Ok((AdminResponse { status, text }, token_required))
}

/// Returns whether this is an admin server's challenge for its token.
fn requires_token<B>(response: &Response<B>) -> bool {
    let mut challenges = response.headers().get_all(WWW_AUTHENTICATE).iter();
    response.status() == StatusCode::UNAUTHORIZED && challenges.any(|challenge| challenge == TOKEN_REALM)
}
