//! The admin server: HTTP on a thread of its own, with no permit, no worker and no queue in common with calls.
//!
//! Knows HTTP and an [`Insight`]; what it answers is made there. Commands of the console and /metrics run on threads
//! beside its own, so that none of them holds up another request. hyper reads and writes HTTP.
//!
//! Everything a peer can do without end has a limit: connections, heads, bodies, commands, and the time of each. What
//! is over a limit is answered where that can be, and counted ([`Refusal`]).

pub mod client;
mod gate;
mod metrics;
mod routes;
mod socket;

pub use gate::Token;

use crate::config::ListenAddress;
use crate::insight::{Insight, Refusal};
use crate::sync::Arc;
use gate::Gate;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioTimer;
use routes::Desk;
use socket::{Patient, part};
use std::net::{SocketAddr, TcpListener};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// Connections at once.
const CONNECTIONS_MAX: usize = 32;

/// Refused connections that are told why at once; further ones are just closed.
const FAREWELLS_MAX: usize = 32;

/// Longest head of a request, in bytes. hyper takes no less.
const HEAD_BYTES_MAX: usize = 8192;

/// Headers of a request.
const HEADERS_MAX: usize = 64;

/// How long the end waits for commands to be answered.
const ANSWERS_MAX: Duration = Duration::from_millis(250);

/// Commands of the console that run at once.
const COMMANDS_MAX: usize = 4;

/// Threads for them, and one that /metrics finds free when all of them last.
const THREADS_MAX: usize = COMMANDS_MAX + 1;

const TOO_MANY: &str = "HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\n\
                        content-type: text/plain\r\n\r\nthe admin server has as many connections as it may have\n";
const TOO_SLOW: &str = "HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-type: text/plain\r\n\r\n\
                        the request did not come in time\n";

/// An admin server that listens. Dropping it closes it.
#[derive(Debug)]
pub struct AdminServer {
    address: SocketAddr,
    over: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl AdminServer {
    /// Takes the address. What is reached from other machines asks for a token.
    ///
    /// # Errors
    /// The address cannot be had; or it can be reached from other machines and nobody has said that it may
    /// (`PermissionDenied`).
    pub fn bind(address: &ListenAddress, guarded: bool) -> std::io::Result<TcpListener> {
        let listener = TcpListener::bind((address.host.as_str(), address.port))?;
        listener.set_nonblocking(true)?;
        let ip = listener.local_addr()?.ip();
        if !guarded && !ip.to_canonical().is_loopback() {
            let wrong = format!("other machines reach {ip}, which needs Admin_Token_File");
            return Err(std::io::Error::new(std::io::ErrorKind::PermissionDenied, wrong));
        }
        Ok(listener)
    }

    /// Answers from now on those who know the token, if there is one. `name` is what the server goes by; peers are
    /// given so long to send a head, to send a body, and to take an answer.
    ///
    /// # Errors
    /// The system would not make a poll or a thread.
    pub fn open(
        listener: TcpListener,
        (name, token): (String, Option<Token>),
        patience: Duration,
        insight: Arc<Insight>,
    ) -> std::io::Result<AdminServer> {
        let address = listener.local_addr()?;
        let runtime = Builder::new_current_thread().enable_all().max_blocking_threads(THREADS_MAX).build()?;
        let (over, end) = oneshot::channel();
        let commands = Arc::new(Semaphore::new(COMMANDS_MAX));
        let desk = Arc::new(Desk { insight, gate: Gate::new(token, name), patience, commands });
        let run = move || run(runtime, listener, desk, end);
        let thread = std::thread::Builder::new().name("admin".to_owned()).spawn(run)?;
        Ok(AdminServer { address, over: Some(over), thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for AdminServer {
    fn drop(&mut self) {
        drop(self.over.take());
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            log::error!("the admin server had panicked");
        }
    }
}

fn run(runtime: Runtime, listener: TcpListener, desk: Arc<Desk>, end: oneshot::Receiver<()>) {
    runtime.block_on(async move {
        let commands = Arc::clone(&desk.commands);
        let serving = tokio::spawn(serve(listener, desk));
        // Nothing is ever sent: the far end is dropped.
        end.await.ok();
        serving.abort();
        // Who has the server stop is to read that it does. An answer is written in the turn in which its place is
        // given back. Commands that last are not waited for.
        tokio::time::timeout(ANSWERS_MAX, commands.acquire_many(COMMANDS_MAX as u32)).await.ok();
    });
    // A command that is still running must not hold up the server's end.
    runtime.shutdown_background();
}

async fn serve(listener: TcpListener, desk: Arc<Desk>) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return log::error!("the admin server cannot be served: {error}"),
    };
    let [places, farewells] = [CONNECTIONS_MAX, FAREWELLS_MAX].map(|places| Arc::new(Semaphore::new(places)));
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                log::warn!("the admin server could not take a connection in: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        match Arc::clone(&places).try_acquire_owned() {
            Ok(place) => drop(tokio::spawn(converse(stream, peer, Arc::clone(&desk), place))),
            Err(_) => {
                desk.insight.visits().refuse(Refusal::ConnectionsFull);
                let Ok(place) = Arc::clone(&farewells).try_acquire_owned() else { continue };
                tokio::spawn(async move {
                    part(stream, Some(TOO_MANY)).await;
                    drop(place);
                });
            }
        }
    }
}

/// All requests of one connection.
async fn converse(stream: TcpStream, peer: SocketAddr, desk: Arc<Desk>, place: OwnedSemaphorePermit) {
    let insight = Arc::clone(&desk.insight);
    let visits = insight.visits();
    visits.came();
    let mut http = http1::Builder::new();
    let http = http.timer(TokioTimer::new()).header_read_timeout(desk.patience);
    let http = http.max_buf_size(HEAD_BYTES_MAX).max_headers(HEADERS_MAX);
    let stream = Patient::new(stream, desk.patience, Arc::clone(&insight));
    let answer = service_fn(|request| Box::pin(routes::answer(request, peer, &desk)));
    let mut connection = http.serve_connection(stream, answer);
    let ended = std::future::poll_fn(|cx| connection.poll_without_shutdown(cx)).await;
    let parts = connection.into_parts();
    let refusal = match ended {
        Err(error) if error.is_parse_too_large() => {
            visits.refuse(Refusal::HeadTooLarge);
            None
        }
        Err(error) if error.is_parse() => {
            visits.refuse(Refusal::BadHead);
            None
        }
        // One that was idle has asked nothing.
        Err(error) if error.is_timeout() && !parts.read_buf.is_empty() => {
            visits.refuse(Refusal::SlowHead);
            Some(TOO_SLOW)
        }
        // It closed, or was closed after its last answer.
        _ => None,
    };
    part(parts.io.into_inner(), refusal).await;
    visits.went();
    drop(place);
}
