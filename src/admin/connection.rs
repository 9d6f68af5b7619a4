//! Connections of the admin server: each takes a slot, is served, and is closed with a response if it was refused.

use super::auth::AdminPeer;
use super::connection_slots::{ConnectionSlots, Occupied};
use super::routes::{self, AdminState};
use crate::monitor::{AdminRejection, ServerMonitor};
use crate::service::ClientId;
use crate::sync::Arc;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::future::Future;
use std::io::{Error, ErrorKind, Result};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::Semaphore;
use tokio::time::{Sleep, sleep, timeout};

/// Longest head of a request, in bytes. hyper accepts no smaller limit.
const HEAD_BYTES_MAX: usize = 8192;

/// Headers of a request.
const HEADERS_MAX: usize = 64;

/// Response before the limit and the end of the line.
const TOO_MANY: &str = "HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\n\
                        content-type: text/plain\r\n\r\ntoo many admin connections";
const TOO_SLOW: &str = "HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-type: text/plain\r\n\r\n\
                        request timed out\n";

/// State that the connections at `Admin_Address`, or at `Admin_Socket`, share.
pub(super) struct Endpoint {
    slots: Arc<ConnectionSlots>,
    /// Response without a free slot.
    too_many: String,
    /// Permits of lingering closes.
    lingering: Arc<Semaphore>,
    state: Arc<AdminState>,
}

impl Endpoint {
    pub(super) fn new(slots: usize, lingering: &Arc<Semaphore>, state: &Arc<AdminState>) -> Endpoint {
        Endpoint {
            slots: ConnectionSlots::new(slots),
            too_many: format!("{TOO_MANY} (limit {slots})\n"),
            lingering: Arc::clone(lingering),
            state: Arc::clone(state),
        }
    }

    /// Accepts or refuses a connection, and reads its first request before the next connection can displace it.
    pub(super) async fn receive<S>(&self, stream: S, peer: AdminPeer)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let client = match peer {
            AdminPeer::Tcp(address) => Some(ClientId::of(address)),
            AdminPeer::Unix(_) => None,
        };
        let lingering = Arc::clone(&self.lingering);
        match self.slots.occupy(client, Instant::now()) {
            Some(occupied) => {
                if occupied.displaced_another {
                    self.state.monitor.admin_stats().refuse(AdminRejection::Displaced);
                }
                tokio::spawn(serve_connection(stream, peer, Arc::clone(&self.state), occupied, lingering));
            }
            None => {
                self.state.monitor.admin_stats().refuse(AdminRejection::ConnectionsFull);
                tokio::spawn(close(stream, Some(self.too_many.clone()), lingering));
            }
        }
        // The data that came with the connection is read and answered here: the poll runs before this continues.
        tokio::task::yield_now().await;
    }
}

/// Closes with a lingering close, if a permit for one is free.
async fn close(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    refusal: Option<String>,
    lingering: Arc<Semaphore>,
) {
    if let Ok(_permit) = lingering.try_acquire() {
        linger_close(stream, refusal.as_deref()).await;
    }
}

async fn serve_connection<S>(
    stream: S,
    peer: AdminPeer,
    state: Arc<AdminState>,
    occupied: Occupied,
    lingering: Arc<Semaphore>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Occupied { slot, mut displaced, .. } = occupied;
    let monitor = Arc::clone(&state.monitor);
    let stats = monitor.admin_stats();
    stats.came();
    let mut http = http1::Builder::new();
    let http = http.timer(TokioTimer::new()).header_read_timeout(state.timeout);
    let http = http.max_buf_size(HEAD_BYTES_MAX).max_headers(HEADERS_MAX);
    let stream = TimeoutStream::new(stream, state.timeout, Arc::clone(&monitor));
    let respond = service_fn(|request| Box::pin(routes::respond(request, peer, &slot, &state)));
    let mut connection = http.serve_connection(stream, respond);
    let ended = std::future::poll_fn(|cx| match Pin::new(&mut displaced).poll(cx) {
        Poll::Ready(_) => Poll::Ready(None),
        Poll::Pending => connection.poll_without_shutdown(cx).map(Some),
    });
    let ended = ended.await;
    let parts = connection.into_parts();
    let mut stream = parts.io.into_inner();
    let refusal = match ended {
        None => {
            stats.went();
            return close(stream, None, lingering).await;
        }
        Some(Err(error)) if error.is_parse_too_large() => {
            stats.refuse(AdminRejection::HeadTooLarge);
            None
        }
        Some(Err(error)) if error.is_parse() => {
            stats.refuse(AdminRejection::BadHead);
            None
        }
        // An idle connection that timed out has requested nothing.
        Some(Err(error)) if error.is_timeout() && !parts.read_buf.is_empty() => {
            stats.refuse(AdminRejection::SlowHead);
            Some(TOO_SLOW)
        }
        // The peer closed it, or it was closed after its last response.
        Some(_) => None,
    };
    // It keeps its slot during the lingering close, until another connection needs the slot.
    let was_displaced = {
        let mut closing = std::pin::pin!(linger_close(&mut stream, refusal));
        let ended = std::future::poll_fn(|cx| match Pin::new(&mut displaced).poll(cx) {
            Poll::Ready(_) => Poll::Ready(true),
            Poll::Pending => closing.as_mut().poll(cx).map(|()| false),
        });
        ended.await
    };
    stats.went();
    if was_displaced {
        close(stream, None, lingering).await;
    }
}

/// Longest wait for the peer to close.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// Bytes of the peer that are read meanwhile.
const READ_BYTES_MAX: usize = 1 << 20;

/// Sends `refusal`, shuts down the write side, and reads until the peer closes: closing while data of the peer is
/// unread would reset the connection, possibly before the peer has read the response.
/// `server/listener/lingering_close.rs` does the same for refused connections of a port, on mio instead of tokio.
async fn linger_close(mut stream: impl AsyncRead + AsyncWrite + Unpin, refusal: Option<&str>) {
    let close = async {
        if let Some(refusal) = refusal {
            stream.write_all(refusal.as_bytes()).await?;
        }
        stream.shutdown().await?;
        let (mut buffer, mut left) = ([0; 4096], READ_BYTES_MAX);
        while left > 0 {
            match stream.read(&mut buffer).await? {
                0 => break,
                count => left = left.saturating_sub(count),
            }
        }
        Ok::<(), Error>(())
    };
    // An error or a time-out ends it as well.
    drop(timeout(WAIT_MAX, close).await);
}

/// A socket whose writes time out if the peer does not read.
#[derive(Debug)]
struct TimeoutStream<S> {
    stream: TokioIo<S>,
    timeout: Duration,
    /// Runs while a write waits.
    timer: Option<Pin<Box<Sleep>>>,
    monitor: Arc<ServerMonitor>,
}

impl<S> TimeoutStream<S> {
    fn new(stream: S, timeout: Duration, monitor: Arc<ServerMonitor>) -> TimeoutStream<S> {
        TimeoutStream { stream: TokioIo::new(stream), timeout, timer: None, monitor }
    }

    fn into_inner(self) -> S {
        self.stream.into_inner()
    }

    fn poll_timeout(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        let timeout = self.timeout;
        ready!(self.timer.get_or_insert_with(|| Box::pin(sleep(timeout))).as_mut().poll(cx));
        self.monitor.admin_stats().refuse(AdminRejection::SlowReader);
        Poll::Ready(Error::new(ErrorKind::TimedOut, "the response was not read in time"))
    }

    fn or_timeout<T>(&mut self, written: Poll<Result<T>>, cx: &mut Context<'_>) -> Poll<Result<T>> {
        if written.is_pending() {
            return self.poll_timeout(cx).map(Err);
        }
        self.timer = None;
        written
    }
}

impl<S: AsyncRead + Unpin> Read for TimeoutStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> Write for TimeoutStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.or_timeout(written, cx)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
