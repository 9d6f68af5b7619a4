//! What a handler may ask about the call it serves.

use super::{ConnectionSessions, Session, worker_hooks};
use crate::sync::Arc;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// The far end of a transaction, as the layers without sockets see it.
pub trait Peer: Send + Sync {
    /// Address of the peer.
    fn peer(&self) -> SocketAddr;
    /// Is the connection gone? Then nobody will read the answer.
    fn is_gone(&self) -> bool;
    /// Has the caller cancelled this call, or is the caller gone?
    fn is_cancelled(&self, call: u64) -> bool;
    /// The sessions that its connection carries; `None` where sessions are not known.
    fn carried(&self) -> Option<&Arc<ConnectionSessions>> {
        None
    }
}

/// One call while its handler runs: who asks, for how long, and whether still.
pub struct Transaction<'a> {
    pub(crate) caller: &'a dyn Peer,
    pub(crate) method: &'a str,
    pub(crate) call: u64,
    pub(crate) session: u32,
    /// The session of that number; `None` for 0, the connection's own.
    pub(crate) opened: Option<&'a Session>,
    pub(crate) deadline: Option<Instant>,
}

impl Transaction<'_> {
    /// Address of the caller.
    pub fn peer(&self) -> SocketAddr {
        self.caller.peer()
    }

    /// The time.
    pub(crate) fn now(&self) -> Instant {
        Instant::now()
    }

    /// Number of the session on its connection; 0 is the connection's own.
    pub fn session(&self) -> u32 {
        self.session
    }

    /// Runs `run` on what handlers keep for this session: one value of each type, made by its `Default` when it is
    /// first asked for, and dropped with the session. A session that the client opened keeps it over the end of its
    /// connection, until it is closed or unused for `Server_Session_Timeout`; session 0 ends with its connection.
    ///
    /// Calls of one session may run at once. The value is locked while `run` runs, so blocks until the others have
    /// left theirs: do in it what is quick, and do not wait in it. The value's own `Drop` runs on a thread of the
    /// server and should be quick as well.
    ///
    /// ```
    /// # use boneyard::{Method, Server, config::Config};
    /// const NEXT: Method<(), u64> = Method::new("count.next");
    /// # let config = Config::default_with(1);
    /// let server = Server::new(config).handle(NEXT, |tx, ()| {
    ///     Ok(tx.with_session(|count: &mut u64| {
    ///         *count += 1;
    ///         *count
    ///     }))
    /// });
    /// ```
    ///
    /// # Panics
    /// Within another `with_session`, which could wait for itself. With `run`: the value stays as `run` left it.
    pub fn with_session<T: Default + Send + 'static, R>(&self, run: impl FnOnce(&mut T) -> R) -> R {
        let own = || Session::new(0, "", self.peer(), Instant::now());
        match (&self.opened, self.caller.carried()) {
            (Some(session), _) => session.with_state(run),
            (None, Some(carried)) => carried.own(own).with_state(run),
            (None, None) => run(&mut T::default()),
        }
    }

    /// Name the call came by, `service.method`.
    pub fn method(&self) -> &str {
        self.method
    }

    /// How long the caller still waits: `None` without end, zero when it no longer does.
    pub fn time_left(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Is the result no longer wanted, because the caller cancelled, hung up, or its deadline passed? A long
    /// handler asks now and then and returns early. Costs about as much as reading the clock.
    pub fn cancelled(&self) -> bool {
        self.caller.is_cancelled(self.call) || self.time_left().is_some_and(|left| left.is_zero())
    }

    /// Runs `wait`, which only waits (for a disk, a lock, another server), and gives this transaction's permit back
    /// meanwhile, so that another may run. The client library's calls do so by themselves.
    ///
    /// Blocks, after `wait`, until there is a permit again; whoever comes back stands in line before all calls that
    /// are not begun. So hold nothing across it that a handler outside `blocking` may wait for, such as a lock: that
    /// handler may have the very permit. It costs two to four passages of a lock that all workers share: not for waits
    /// of a few microseconds.
    ///
    /// The permit belongs to the thread that the handler was called on. On threads that a handler makes `wait` just
    /// runs, as it does within another `blocking`.
    ///
    /// # Panics
    /// With `wait`, once the permit is there again.
    pub fn blocking<R>(&self, wait: impl FnOnce() -> R) -> R {
        worker_hooks::blocking(wait)
    }
}

impl std::fmt::Debug for Transaction<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transaction")
            .field("method", &self.method)
            .field("peer", &self.peer())
            .finish_non_exhaustive()
    }
}
