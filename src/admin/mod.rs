//! The admin server: HTTP on a thread of its own, with no permit, no worker and no queue in common with calls.
//!
//! Knows HTTP and an [`ServerMonitor`]; what it answers is made there. Commands of the console and /metrics run on
//! threads beside its own, so that none of them holds up another request. hyper reads and writes HTTP.
//!
//! It listens at an address, where without a token one may only look, and at a Unix socket, where the server's own user
//! and root may do everything. Each has places of its own for connections.
//!
//! Everything a peer can do without end has a limit: connections, heads, bodies, commands, and the time of each. What
//! is over a limit is answered where that can be, and counted ([`AdminRejection`]).

mod auth;
pub mod client;
mod command_threads;
mod connection_slots;
mod prometheus;
mod routes;
mod timeout_stream;
mod unix_socket;

pub use auth::Token;
pub use unix_socket::UnixSocket;

use crate::monitor::{AdminRejection, ServerMonitor};
use crate::service::ClientId;
use crate::sync::Arc;
use auth::{AdminPeer, Auth};
use command_threads::CommandThreads;
use connection_slots::{ConnectionSlots, Entered};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioTimer;
use routes::AdminState;
pub use routes::Identity;
use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::task::Poll;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use timeout_stream::{TimeoutStream, part};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Semaphore, oneshot};

/// Connections at `Admin_Address` at once.
const CONNECTIONS_MAX: usize = 32;

/// The same at `Admin_Socket`.
const SOCKET_CONNECTIONS_MAX: usize = 8;

/// Connections that are let go politely at once, be it that they are told why; further ones are just closed.
const FAREWELLS_MAX: usize = 24;

/// Longest head of a request, in bytes. hyper takes no less.
const HEAD_BYTES_MAX: usize = 8192;

/// Headers of a request.
const HEADERS_MAX: usize = 64;

/// How long the end waits for commands to be answered.
const ANSWERS_MAX: Duration = Duration::from_millis(250);

/// How long nothing is taken in after the system has said that it cannot be.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Commands that run at once of those who may give all of them.
const COMMANDS_MAX: u32 = 4;

/// Threads for commands that look and for /metrics, and how many of them may wait.
const LOOKS: (u32, u32) = (2, 62);

const TOO_MANY: &str = "HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\n\
                        content-type: text/plain\r\n\r\nthe admin server has as many connections as it may have\n";
const TOO_SLOW: &str = "HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-type: text/plain\r\n\r\n\
                        the request did not come in time\n";

/// Where an admin server listens.
#[derive(Debug)]
pub struct AdminListenAddresses {
    /// `Admin_Address`: one for each of its addresses, which do not block.
    pub tcp: Vec<TcpListener>,
    /// `Admin_Socket`.
    pub unix: Option<UnixSocket>,
}

/// An admin server that listens. Dropping it closes it.
#[derive(Debug)]
pub struct AdminServer {
    address: Option<SocketAddr>,
    over: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl AdminServer {
    /// Answers from now on. Who knows the token, or is the server's own user or root at the Unix socket, may do
    /// everything; without a token others may look. `name` is what the server goes by; peers are given so long to send
    /// a head, to send a body, and to take an answer.
    ///
    /// # Errors
    /// The system would not make a poll or a thread.
    pub fn open(
        doors: AdminListenAddresses,
        (name, token): (String, Option<Token>),
        patience: Duration,
        monitor: Arc<ServerMonitor>,
    ) -> std::io::Result<AdminServer> {
        let address = doors.tcp.first().map(TcpListener::local_addr).transpose()?;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (over, end) = oneshot::channel();
        let desk = Arc::new(AdminState {
            monitor,
            gate: Auth::new(token, name),
            patience,
            socket: doors.unix.as_ref().map(identity).transpose()?,
            commands: CommandThreads::make("admin-command", COMMANDS_MAX, 0)?,
            looks: CommandThreads::make("admin-look", LOOKS.0, LOOKS.1)?,
        });
        let run = move || run(runtime, doors, desk, end);
        let thread = std::thread::Builder::new().name("admin".to_owned()).spawn(run)?;
        Ok(AdminServer { address, over: Some(over), thread: Some(thread) })
    }

    /// Where it listens, the first of its addresses; `None`: at its Unix socket alone.
    pub fn address(&self) -> Option<SocketAddr> {
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

fn run(
    runtime: Runtime,
    AdminListenAddresses { tcp, unix }: AdminListenAddresses,
    desk: Arc<AdminState>,
    end: oneshot::Receiver<()>,
) {
    let (listener, _file) = unix.map(|unix| (unix.listener, unix.file)).unzip();
    runtime.block_on(async move {
        let farewells = Arc::new(Semaphore::new(FAREWELLS_MAX));
        let mut serving = Vec::new();
        let hall = Arc::new(Hall::new(CONNECTIONS_MAX, &farewells, &desk));
        serving.extend(tcp.into_iter().map(|listener| tokio::spawn(serve_tcp(listener, Arc::clone(&hall)))));
        if let Some(listener) = listener {
            let hall = Hall::new(SOCKET_CONNECTIONS_MAX, &farewells, &desk);
            serving.push(tokio::spawn(serve_unix(listener, hall)));
        }
        // Nothing is ever sent: the far end is dropped.
        end.await.ok();
        serving.iter().for_each(tokio::task::JoinHandle::abort);
        // Who has the server stop is to read that it does. An answer is written in the turn in which its place is
        // given back. Commands that last are not waited for.
        tokio::time::timeout(ANSWERS_MAX, desk.commands.idle()).await.ok();
    });
}

fn identity(unix: &UnixSocket) -> std::io::Result<Identity> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(std::io::Error::other)?;
    let instance = format!("{:032x}", u128::from_ne_bytes(random));
    Ok(Identity { path: unix.path().to_path_buf(), instance })
}

/// What connections at `Admin_Address`, or at `Admin_Socket`, have in common.
struct Hall {
    places: Arc<ConnectionSlots>,
    farewells: Arc<Semaphore>,
    desk: Arc<AdminState>,
}

async fn serve_tcp(listener: TcpListener, hall: Arc<Hall>) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return log::error!("the admin server cannot be served: {error}"),
    };
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => hall.receive(stream, AdminPeer::Tcp(peer.ip())).await,
            Err(error) => pause(&error).await,
        }
    }
}

async fn serve_unix(listener: std::os::unix::net::UnixListener, hall: Hall) {
    let listener = match tokio::net::UnixListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return log::error!("the admin server cannot be served: {error}"),
    };
    loop {
        match listener.accept().await.and_then(|(stream, _)| Ok((user(&stream)?, stream))) {
            Ok((user, stream)) => hall.receive(stream, AdminPeer::Unix(user)).await,
            Err(error) => pause(&error).await,
        }
    }
}

/// The user at the other end.
fn user(stream: &UnixStream) -> std::io::Result<u32> {
    stream.peer_cred().map(|who| who.uid())
}

async fn pause(error: &std::io::Error) {
    log::warn!("the admin server could not take a connection in: {error}");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

impl Hall {
    fn new(places: usize, farewells: &Arc<Semaphore>, desk: &Arc<AdminState>) -> Hall {
        Hall {
            places: ConnectionSlots::new(places),
            farewells: Arc::clone(farewells),
            desk: Arc::clone(desk),
        }
    }

    /// Takes a connection in, and lets it speak before the next one can push it out.
    async fn receive<S>(&self, stream: S, peer: AdminPeer)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let client = match peer {
            AdminPeer::Tcp(address) => Some(ClientId::of(address)),
            AdminPeer::Unix(_) => None,
        };
        let farewells = Arc::clone(&self.farewells);
        match self.places.enter(client, Instant::now()) {
            Some(entered) => {
                if entered.displaced {
                    self.desk.monitor.admin_stats().refuse(AdminRejection::Displaced);
                }
                tokio::spawn(converse(stream, peer, Arc::clone(&self.desk), entered, farewells));
            }
            None => {
                self.desk.monitor.admin_stats().refuse(AdminRejection::ConnectionsFull);
                tokio::spawn(let_go(stream, Some(TOO_MANY), farewells));
            }
        }
        // What has come with it is read and answered in between: the poll is asked before this goes on.
        tokio::task::yield_now().await;
    }
}

/// Parts politely, if there is a place for that.
async fn let_go(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    refusal: Option<&'static str>,
    farewells: Arc<Semaphore>,
) {
    if let Ok(_place) = farewells.try_acquire() {
        part(stream, refusal).await;
    }
}

/// All requests of one connection.
async fn converse<S>(
    stream: S,
    peer: AdminPeer,
    desk: Arc<AdminState>,
    entered: Entered,
    farewells: Arc<Semaphore>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Entered { place, mut leave, .. } = entered;
    let monitor = Arc::clone(&desk.monitor);
    let visits = monitor.admin_stats();
    visits.came();
    let mut http = http1::Builder::new();
    let http = http.timer(TokioTimer::new()).header_read_timeout(desk.patience);
    let http = http.max_buf_size(HEAD_BYTES_MAX).max_headers(HEADERS_MAX);
    let stream = TimeoutStream::new(stream, desk.patience, Arc::clone(&monitor));
    let answer = service_fn(|request| Box::pin(routes::answer(request, peer, &place, &desk)));
    let mut connection = http.serve_connection(stream, answer);
    let ended = std::future::poll_fn(|cx| match Pin::new(&mut leave).poll(cx) {
        Poll::Ready(_) => Poll::Ready(None),
        Poll::Pending => connection.poll_without_shutdown(cx).map(Some),
    });
    let ended = ended.await;
    let parts = connection.into_parts();
    let mut stream = parts.io.into_inner();
    let refusal = match ended {
        None => {
            visits.went();
            return let_go(stream, None, farewells).await;
        }
        Some(Err(error)) if error.is_parse_too_large() => {
            visits.refuse(AdminRejection::HeadTooLarge);
            None
        }
        Some(Err(error)) if error.is_parse() => {
            visits.refuse(AdminRejection::BadHead);
            None
        }
        // One that was idle has asked nothing.
        Some(Err(error)) if error.is_timeout() && !parts.read_buf.is_empty() => {
            visits.refuse(AdminRejection::SlowHead);
            Some(TOO_SLOW)
        }
        // It closed, or was closed after its last answer.
        Some(_) => None,
    };
    // It keeps its place while it parts, which another may need.
    let displaced = {
        let mut parting = std::pin::pin!(part(&mut stream, refusal));
        let ended = std::future::poll_fn(|cx| match Pin::new(&mut leave).poll(cx) {
            Poll::Ready(_) => Poll::Ready(true),
            Poll::Pending => parting.as_mut().poll(cx).map(|()| false),
        });
        ended.await
    };
    visits.went();
    if displaced {
        let_go(stream, None, farewells).await;
    }
}
