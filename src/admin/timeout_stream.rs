//! A connection of the admin server whose writes time out.

use crate::monitor::{AdminRejection, ServerMonitor};
use crate::sync::Arc;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use std::future::Future;
use std::io::{Error, ErrorKind, Result};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Sleep, sleep};

/// A socket whose writes time out if the peer does not read.
#[derive(Debug)]
pub(super) struct TimeoutStream<S> {
    stream: TokioIo<S>,
    timeout: Duration,
    /// Runs while a write waits.
    timer: Option<Pin<Box<Sleep>>>,
    monitor: Arc<ServerMonitor>,
}

impl<S> TimeoutStream<S> {
    pub(super) fn new(stream: S, timeout: Duration, monitor: Arc<ServerMonitor>) -> TimeoutStream<S> {
        TimeoutStream { stream: TokioIo::new(stream), timeout, timer: None, monitor }
    }

    pub(super) fn into_inner(self) -> S {
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
