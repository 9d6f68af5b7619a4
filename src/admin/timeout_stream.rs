//! A connection of the admin server: one whose peer does not take what is written is given up.

use crate::monitor::{AdminRejection, ServerMonitor};
use crate::sync::Arc;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use std::future::Future;
use std::io::{Error, ErrorKind, Result};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Sleep, sleep, timeout};

/// How long a peer that has been refused may take to close.
const FAREWELL_MAX: Duration = Duration::from_secs(1);

/// Bytes of it that are read meanwhile.
const FAREWELL_BYTES_MAX: usize = 1 << 20;

/// A socket, and how long a write may wait for its peer.
#[derive(Debug)]
pub(super) struct TimeoutStream<S> {
    stream: TokioIo<S>,
    patience: Duration,
    /// Runs while a write waits.
    stuck: Option<Pin<Box<Sleep>>>,
    monitor: Arc<ServerMonitor>,
}

impl<S> TimeoutStream<S> {
    pub(super) fn new(stream: S, patience: Duration, monitor: Arc<ServerMonitor>) -> TimeoutStream<S> {
        TimeoutStream { stream: TokioIo::new(stream), patience, stuck: None, monitor }
    }

    pub(super) fn into_inner(self) -> S {
        self.stream.into_inner()
    }

    fn stuck(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        let patience = self.patience;
        ready!(self.stuck.get_or_insert_with(|| Box::pin(sleep(patience))).as_mut().poll(cx));
        self.monitor.admin_stats().refuse(AdminRejection::SlowReader);
        Poll::Ready(Error::new(ErrorKind::TimedOut, "the answer was not taken in time"))
    }

    fn written<T>(&mut self, done: Poll<Result<T>>, cx: &mut Context<'_>) -> Poll<Result<T>> {
        if done.is_pending() {
            return self.stuck(cx).map(Err);
        }
        self.stuck = None;
        done
    }
}

impl<S: AsyncRead + Unpin> Read for TimeoutStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> Write for TimeoutStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        let done = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.written(done, cx)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Says why, if it has not been said, and lets the peer close first: what it has sent and nobody reads would
/// otherwise reset the connection before it has read the answer.
pub(super) async fn part(mut stream: impl AsyncRead + AsyncWrite + Unpin, refusal: Option<&'static str>) {
    let lingering_close = async {
        if let Some(refusal) = refusal {
            stream.write_all(refusal.as_bytes()).await?;
        }
        stream.shutdown().await?;
        let (mut buffer, mut left) = ([0; 4096], FAREWELL_BYTES_MAX);
        while left > 0 {
            match stream.read(&mut buffer).await? {
                0 => break,
                count => left = left.saturating_sub(count),
            }
        }
        Ok::<(), Error>(())
    };
    // How it ends is of no interest.
    drop(timeout(FAREWELL_MAX, lingering_close).await);
}
