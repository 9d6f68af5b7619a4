//! The admin server: HTTP on a thread of its own, with no permit, no worker and no queue in common with calls.
//!
//! Knows HTTP and an [`Insight`]; what it answers is made there. Commands of the console run on threads beside the
//! its own, so that none of them holds up another request. hyper reads and writes HTTP.

pub mod client;
mod routes;

use crate::config::ListenAddress;
use crate::insight::Insight;
use crate::sync::Arc;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::net::{SocketAddr, TcpListener};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Semaphore, oneshot};

/// Connections at once. Further ones wait in the backlog.
const CONNECTIONS_MAX: usize = 32;

/// How long a request's head may take, and an idle connection last.
const HEAD_MAX: Duration = Duration::from_secs(10);

/// Commands of the console that run at once.
const COMMANDS_MAX: usize = 4;

/// An admin server that listens. Dropping it closes it.
#[derive(Debug)]
pub struct AdminServer {
    address: SocketAddr,
    over: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl AdminServer {
    /// Listens and answers from now on.
    ///
    /// # Errors
    /// The address cannot be had, or the system would not make a poll or a thread.
    pub fn open(address: &ListenAddress, insight: Arc<Insight>) -> std::io::Result<AdminServer> {
        let listener = TcpListener::bind((address.host.as_str(), address.port))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime =
            Builder::new_current_thread().enable_all().max_blocking_threads(COMMANDS_MAX).build()?;
        let (over, end) = oneshot::channel();
        let run = move || run(runtime, listener, insight, end);
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

fn run(runtime: Runtime, listener: TcpListener, insight: Arc<Insight>, end: oneshot::Receiver<()>) {
    runtime.block_on(async move {
        let serving = tokio::spawn(serve(listener, insight));
        // Nothing is ever sent: the far end is dropped.
        end.await.ok();
        serving.abort();
    });
    // A command that is still running must not hold up the server's end.
    runtime.shutdown_background();
}

async fn serve(listener: TcpListener, insight: Arc<Insight>) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return log::error!("the admin server cannot be served: {error}"),
    };
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                log::warn!("the admin server could not take a connection in: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let insight = Arc::clone(&insight);
        let answer = service_fn(move |request| routes::answer(request, Arc::clone(&insight)));
        let mut http = http1::Builder::new();
        let connection = http.timer(TokioTimer::new()).header_read_timeout(HEAD_MAX);
        let connection = connection.serve_connection(TokioIo::new(stream), answer);
        tokio::spawn(async move {
            // How a connection of the admin server ends is of no interest.
            connection.await.ok();
            drop(place);
        });
    }
}
