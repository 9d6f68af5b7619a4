//! The open connection of a client, and the attempts to make the next: one at a time, shared by all callers that need
//! it.
//!
//! Knows attempts and when they are due; knows no sockets and no calls. The lock of [`Dialer`] guards only its state
//! and is never held over I/O.
//!
//! Invariant: while an attempt is in progress no other begins; callers that need the connection meanwhile wait for its
//! end and share its failure, so a server that is down is tried once, not once for every thread. Calls that wait for
//! their server share the waits between attempts, too.

use super::address::ToServerAddress;
use super::connection::ClientConnection;
use super::connector::Connector;
use super::options::ClientOptions;
use super::retry::{CHECK_INTERVAL, KeepWaiting, RETRY_AFTER_MAX, is_transient, random_wait};
use crate::service::{ClientError, blocking, worker_hooks};
use crate::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// Shortest time between two attempts of a call whose deadline is near.
const ATTEMPTS_APART: Duration = Duration::from_millis(10);

/// Makes a client's connections and keeps the newest.
#[derive(Debug)]
pub(super) struct Dialer {
    connector: Connector,
    state: Mutex<DialState>,
    /// Signalled when an attempt has ended.
    attempt_ended: Condvar,
}

#[derive(Debug, Default)]
struct DialState {
    connection: Option<Arc<ClientConnection>>,
    dialing: bool,
    /// Number of attempts so far.
    attempts: u64,
    /// The failure of the last attempt, with its number, if others share it.
    failed: Option<(u64, ClientError)>,
    /// Attempts that failed since one succeeded.
    failures: u32,
    /// Time at which calls that wait for their server try again.
    next_attempt: Option<Instant>,
}

impl DialState {
    fn open(&self) -> Option<&Arc<ClientConnection>> {
        self.connection.as_ref().filter(|connection| connection.is_open())
    }

    fn draining(&self) -> Option<&Arc<ClientConnection>> {
        self.connection.as_ref().filter(|connection| connection.is_draining())
    }

    /// Begins an attempt. Returns the connection that it replaces, for the caller to drop without the lock.
    fn begin(&mut self) -> Option<Arc<ClientConnection>> {
        (self.dialing, self.failed) = (true, None);
        self.attempts += 1;
        self.connection.take_if(|connection| !connection.is_draining())
    }

    fn fail(&mut self, error: ClientError) {
        self.failures = self.failures.saturating_add(1);
        let least = error.retry_after().unwrap_or_default().min(RETRY_AFTER_MAX);
        self.next_attempt = Some(Instant::now() + random_wait(self.failures, least));
        self.failed = Some((self.attempts, error));
    }
}

impl Dialer {
    /// # Errors
    /// [`ClientError::InvalidAddress`], [`ClientError::InvalidOption`].
    pub(super) fn new<Address: ToServerAddress>(
        addresses: &[Address],
        options: ClientOptions,
    ) -> Result<Dialer, ClientError> {
        let connector = Connector::new(addresses, options)?;
        Ok(Dialer { connector, state: Mutex::new(DialState::default()), attempt_ended: Condvar::new() })
    }

    /// The connection, if it seems to take calls. Does not block.
    pub(super) fn open_connection(&self) -> Option<Arc<ClientConnection>> {
        self.state.lock().open().map(Arc::clone)
    }

    /// The open connection, or a new one. Blocks while that is made.
    ///
    /// # Errors
    /// Why there is none, or none by `deadline`.
    pub(super) fn connection(&self, deadline: Option<Instant>) -> Result<Arc<ClientConnection>, ClientError> {
        self.open_connection().map_or_else(|| blocking(|| self.await_connection(deadline)), Ok)
    }

    /// As [`Dialer::connection`]; for a handler, if there is no other, one to a server that stops. That server may be
    /// waiting for the very transaction that the handler's is made for, and takes its calls.
    ///
    /// # Errors
    /// As there.
    pub(super) fn connection_for_call(
        &self,
        deadline: Option<Instant>,
    ) -> Result<Arc<ClientConnection>, ClientError> {
        self.connection(deadline).or_else(|error| {
            let draining = || self.state.lock().draining().map(Arc::clone);
            worker_hooks::is_here().then(draining).flatten().ok_or(error)
        })
    }

    fn await_connection(&self, deadline: Option<Instant>) -> Result<Arc<ClientConnection>, ClientError> {
        let mut state = self.state.lock();
        loop {
            if state.dialing {
                let attempt = state.attempts;
                while state.dialing && state.attempts == attempt {
                    match deadline {
                        None => self.attempt_ended.wait(&mut state),
                        Some(deadline) if Instant::now() >= deadline => return Err(ClientError::late(false)),
                        Some(deadline) => {
                            self.attempt_ended.wait_until(&mut state, deadline);
                        }
                    }
                }
                if let Some((_, error)) = state.failed.as_ref().filter(|(failed, _)| *failed == attempt) {
                    return Err(error.clone());
                }
            }
            match state.open() {
                Some(connection) => return Ok(Arc::clone(connection)),
                None if state.dialing => {}
                None => break,
            }
        }
        let stale = state.begin();
        drop(state);
        drop(stale);
        self.attempt(deadline)
    }

    /// Makes the attempt that [`DialState::begin`] has begun.
    fn attempt(&self, deadline: Option<Instant>) -> Result<Arc<ClientConnection>, ClientError> {
        let mut attempt = AttemptGuard { dialer: self, result: None };
        let result = self.connector.connect(deadline).map(Arc::new);
        attempt.result = Some(result.clone());
        result
    }

    /// Blocks, after an attempt that failed with `error`, until there is a connection, and makes the attempts that are
    /// due. Waits at most half of the time that is left, so that the last attempts are near the deadline.
    ///
    /// # Errors
    /// That of the last attempt: once `deadline` passes or `keep_waiting` returns false, or at once if the error is
    /// not transient.
    pub(super) fn await_server(
        &self,
        mut error: ClientError,
        deadline: Instant,
        keep_waiting: &mut KeepWaiting<'_>,
    ) -> Result<(), ClientError> {
        let mut state = self.state.lock();
        let (mut seen, mut since) = (state.attempts, Instant::now());
        loop {
            if state.open().is_some() {
                return Ok(());
            }
            let now = Instant::now();
            if let Some((number, failed)) = state.failed.as_ref().filter(|(number, _)| *number > seen) {
                (seen, since, error) = (*number, now, failed.clone());
            }
            if now >= deadline || !is_transient(&error) {
                return Err(error);
            }
            let half = (deadline.saturating_duration_since(since) / 2).max(ATTEMPTS_APART);
            let due = state.next_attempt.map_or(now, |next| next.min(since + half));
            if state.dialing || now < due {
                let until = if state.dialing { deadline } else { due.min(deadline) };
                self.attempt_ended.wait_until(&mut state, until.min(now + CHECK_INTERVAL));
                drop(state);
                if !keep_waiting() {
                    return Err(error);
                }
            } else {
                let stale = state.begin();
                drop(state);
                drop(stale);
                match self.attempt(Some(deadline)) {
                    Ok(_) => return Ok(()),
                    // The reason why there was no server before says more than that the time is over.
                    Err(ClientError::DeadlineExceeded { .. }) => return Err(error),
                    // The state has the error.
                    Err(_) => {}
                }
            }
            state = self.state.lock();
        }
    }
}

/// Ends an attempt whatever happens to it, so that no caller waits for it for ever.
struct AttemptGuard<'a> {
    dialer: &'a Dialer,
    result: Option<Result<Arc<ClientConnection>, ClientError>>,
}

impl Drop for AttemptGuard<'_> {
    fn drop(&mut self) {
        let (mut state, mut stale) = (self.dialer.state.lock(), None);
        state.dialing = false;
        match self.result.take() {
            Some(Ok(connection)) => {
                (state.failures, state.next_attempt) = (0, None);
                stale = state.connection.replace(connection);
            }
            // Another caller's deadline says nothing to the others; the next of them tries.
            Some(Err(ClientError::DeadlineExceeded { .. })) | None => {}
            Some(Err(error)) => state.fail(error),
        }
        drop(state);
        drop(stale);
        self.dialer.attempt_ended.notify_all();
    }
}
