//! [`Transaction`]: the call that a handler serves, and its caller.

use super::session_state::{ConnectionSessions, SessionState};
use super::worker_hooks;
use crate::sync::Arc;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// The far end of a transaction, as the layers without sockets see it.
pub trait Peer: Send + Sync {
    /// Returns the address of the peer.
    fn peer(&self) -> SocketAddr;
    /// Returns whether the connection is closed, so that no answer can be read.
    fn is_gone(&self) -> bool;
    /// Returns whether the caller has cancelled this call or closed its connection.
    fn is_cancelled(&self, call: u64) -> bool;
    /// Returns the sessions that its connection carries; `None` where sessions are not known.
    fn carried_sessions(&self) -> Option<&Arc<ConnectionSessions>> {
        None
    }
}

/// One call while its handler runs: its caller, its deadline, and whether it was cancelled.
pub struct Transaction<'a> {
    pub(crate) caller: &'a dyn Peer,
    pub(crate) method: &'a str,
    pub(crate) call: u64,
    pub(crate) session: u32,
    /// Session of that number; `None` for 0, the connection's own.
    pub(crate) opened: Option<&'a SessionState>,
    pub(crate) deadline: Option<Instant>,
}

impl Transaction<'_> {
    /// Returns the address of the caller.
    pub fn peer(&self) -> SocketAddr {
        self.caller.peer()
    }

    /// Returns the current time.
    pub(crate) fn now(&self) -> Instant {
        Instant::now()
    }

    /// Returns the number of the session on its connection; 0 is the connection's own.
    pub fn session(&self) -> u32 {
        self.session
    }

    /// Runs `run` on the handlers' value of type `T` for this session, made by its `Default` at its first use and
    /// dropped with the session. A session that the client opened keeps it over the end of its
    /// connection, until it is closed or unused for `Server_Session_Timeout`; session 0 ends with its connection.
    ///
    /// Calls of one session may run at once. The value is locked while `run` runs, so this blocks until the others
    /// have ended theirs: keep `run` quick, and do not wait in it. The value's own `Drop` runs on a thread of the
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
    /// Within another `with_session`, which could wait for itself. With `run`; the value stays as `run` left it.
    pub fn with_session<T: Default + Send + 'static, R>(&self, run: impl FnOnce(&mut T) -> R) -> R {
        let own = || SessionState::new(0, "", self.peer(), Instant::now());
        match (&self.opened, self.caller.carried_sessions()) {
            (Some(session), _) => session.with_state(run),
            (None, Some(sessions)) => sessions.own(own).with_state(run),
            (None, None) => run(&mut T::default()),
        }
    }

    /// Runs `run` on the value of type `T` that [`Server::per_worker`](crate::server::Server::per_worker) made for the
    /// worker that runs this call: no other call has it meanwhile, also while `run` waits in
    /// [`Transaction::blocking`]. Costs two locks that nothing else uses.
    ///
    /// If a panic leaves `run`, the value is dropped, and the next call that asks for it has it made anew, with its
    /// permit. If that fails, the handler ends there, its call is refused as an internal error with the reason in the
    /// log, and the call after it tries again.
    ///
    /// # Panics
    /// If no `per_worker` makes a `T`; within another `with_worker` for `T`; on a thread that the handler made. With
    /// `run`.
    pub fn with_worker<T: Send + 'static, R>(&self, run: impl FnOnce(&mut T) -> R) -> R {
        let values = worker_hooks::place_values();
        let values = values.expect("there is a Server::per_worker, and this is the thread of the handler");
        values.with(run)
    }

    /// Returns the method's name, `service.method`.
    pub fn method(&self) -> &str {
        self.method
    }

    /// Returns the time until the deadline: `None` without one, zero once it has passed.
    pub fn time_left(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Returns whether the result is no longer wanted, because the caller cancelled, closed its connection, or its
    /// deadline passed. A long handler checks this now and then and returns early. Costs about as much as a reading of
    /// the clock.
    pub fn cancelled(&self) -> bool {
        self.caller.is_cancelled(self.call) || self.time_left().is_some_and(|left| left.is_zero())
    }

    /// Runs `wait`, which only waits (for a disk, a lock, another server), and gives this transaction's permit back
    /// meanwhile, so that another can run. The client library's calls do so by themselves.
    ///
    /// After `wait`, blocks until there is a permit again; a handler that returns gets one before all calls that are
    /// not started. So hold nothing across it that a handler outside `blocking` may wait for, such as a lock: that
    /// handler may have the very permit. It locks a mutex that all workers share two to four times: not for waits of a
    /// few microseconds.
    ///
    /// The permit belongs to the thread that the handler was called on. On threads that a handler makes, and within
    /// another `blocking`, `wait` just runs.
    ///
    /// # Panics
    /// With `wait`, once there is a permit again.
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
