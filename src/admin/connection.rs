//! Connections of the admin server: each takes a slot, is served, and is closed with a response if it was refused.

use super::auth::AdminPeer;
use super::connection_slots::{ConnectionSlots, Occupied};
use super::lingering_close::linger_close;
use super::routes;
use super::state::AdminState;
use super::timeout_stream::TimeoutStream;
use crate::monitor::AdminRejection;
use crate::service::ClientId;
use crate::sync::Arc;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioTimer;
use std::future::Future;
use std::pin::Pin;
use std::task::Poll;
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;

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

/// Serves all requests of one connection.
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
