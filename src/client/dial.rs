//! The connection in use, and who makes the next: one attempt at a time, shared by all who need it.
//!
//! Knows attempts and when they are due; knows no sockets and no calls. The lock of [`Dialer`] guards only which
//! connection is in use, and is never held over I/O.
//!
//! Invariant: while an attempt is under way no other begins; whoever needs the connection meanwhile waits for its
//! end and shares its failure, so a server that is down is asked once, not once for every thread. Calls that wait for
//! their server share the waits between attempts, too.

use super::ClientOptions;
use super::address::ToServerAddress;
use super::connect::Connector;
use super::connection::ClientConnection;
use super::error::ClientError;
use super::retry::call::{GoOn, SLICE};
use super::retry::{RETRY_AFTER_MAX, is_lasting, pause};
use crate::service::{blocking, worker_hooks};
use crate::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// The least time between two attempts of a call whose deadline is near.
const ATTEMPTS_APART: Duration = Duration::from_millis(10);

/// Makes a client's connections and keeps the one in use.
#[derive(Debug)]
pub(super) struct Dialer {
    connector: Connector,
    line: Mutex<Line>,
    /// Signalled when an attempt has ended.
    settled: Condvar,
}

#[derive(Debug, Default)]
struct Line {
    link: Option<Arc<ClientConnection>>,
    dialing: bool,
    /// How many attempts there were.
    attempts: u64,
    /// The failure of the last attempt, with its number, if others share it.
    failed: Option<(u64, ClientError)>,
    /// How many attempts have failed since one succeeded.
    failures: u32,
    /// When those who wait for their server try again.
    due: Option<Instant>,
}

impl Line {
    fn open(&self) -> Option<&Arc<ClientConnection>> {
        self.link.as_ref().filter(|link| link.is_open())
    }

    /// An attempt begins. Returns the connection that it replaces, for the caller to drop without the lock.
    fn begin(&mut self) -> Option<Arc<ClientConnection>> {
        (self.dialing, self.failed) = (true, None);
        self.attempts += 1;
        self.link.take_if(|link| !link.is_draining())
    }

    fn fail(&mut self, error: ClientError) {
        self.failures = self.failures.saturating_add(1);
        let least = error.retry_after().unwrap_or_default().min(RETRY_AFTER_MAX);
        self.due = Some(Instant::now() + pause(self.failures, least));
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
        Ok(Dialer { connector, line: Mutex::new(Line::default()), settled: Condvar::new() })
    }

    /// The connection in use, if it seems to take calls.
    pub(super) fn in_use(&self) -> Option<Arc<ClientConnection>> {
        self.line.lock().link.clone().filter(|link| link.is_open())
    }

    /// The connection in use, or a new one.
    ///
    /// # Errors
    /// There is none to be had, or not by `deadline`.
    pub(super) fn link(&self, deadline: Option<Instant>) -> Result<Arc<ClientConnection>, ClientError> {
        let in_use = self.line.lock().open().map(Arc::clone);
        in_use.map_or_else(|| blocking(|| self.await_link(deadline)), Ok)
    }

    /// As [`Dialer::link`]; for a handler, if there is no other, one to a server that stops. It may be that this server
    /// waits for the very transaction that the handler's is made for, and takes its calls.
    ///
    /// # Errors
    /// As there.
    pub(super) fn link_for_call(
        &self,
        deadline: Option<Instant>,
    ) -> Result<Arc<ClientConnection>, ClientError> {
        self.link(deadline).or_else(|error| {
            let draining = || self.line.lock().link.clone().filter(|link| link.is_draining());
            worker_hooks::is_here().then(draining).flatten().ok_or(error)
        })
    }

    fn await_link(&self, deadline: Option<Instant>) -> Result<Arc<ClientConnection>, ClientError> {
        let mut line = self.line.lock();
        loop {
            if line.dialing {
                let attempt = line.attempts;
                while line.dialing && line.attempts == attempt {
                    match deadline {
                        None => self.settled.wait(&mut line),
                        Some(deadline) if Instant::now() >= deadline => return Err(ClientError::late(false)),
                        Some(deadline) => {
                            self.settled.wait_until(&mut line, deadline);
                        }
                    }
                }
                if let Some((_, error)) = line.failed.as_ref().filter(|(failed, _)| *failed == attempt) {
                    return Err(error.clone());
                }
            }
            match &line.link {
                Some(link) if link.is_open() => return Ok(Arc::clone(link)),
                _ if line.dialing => {}
                _ => break,
            }
        }
        let stale = line.begin();
        drop(line);
        drop(stale);
        self.attempt(deadline)
    }

    /// What [`Line::begin`] has begun.
    fn attempt(&self, deadline: Option<Instant>) -> Result<Arc<ClientConnection>, ClientError> {
        let mut attempt = Attempt { dialer: self, result: None };
        let result = self.connector.connect(deadline).map(Arc::new);
        attempt.result = Some(result.clone());
        result
    }

    /// Waits, after an attempt that failed with `error`, until there is a connection, and makes the attempts that are
    /// due. Waits at most half of the time that is left, so that the last attempts are near the deadline.
    ///
    /// # Errors
    /// That of the last attempt: once `deadline` passes or `go_on` says no, or at once if it does not pass.
    pub(super) fn await_server(
        &self,
        mut error: ClientError,
        deadline: Instant,
        go_on: &mut GoOn<'_>,
    ) -> Result<(), ClientError> {
        let mut line = self.line.lock();
        let (mut seen, mut since) = (line.attempts, Instant::now());
        loop {
            if line.open().is_some() {
                return Ok(());
            }
            let now = Instant::now();
            if let Some((number, failed)) = line.failed.as_ref().filter(|(number, _)| *number > seen) {
                (seen, since, error) = (*number, now, failed.clone());
            }
            if now >= deadline || !passes(&error) {
                return Err(error);
            }
            let half = (deadline.saturating_duration_since(since) / 2).max(ATTEMPTS_APART);
            let due = line.due.map_or(now, |due| due.min(since + half));
            if line.dialing || now < due {
                let until = if line.dialing { deadline } else { due.min(deadline) };
                self.settled.wait_until(&mut line, until.min(now + SLICE));
                drop(line);
                if !go_on() {
                    return Err(error);
                }
            } else {
                let stale = line.begin();
                drop(line);
                drop(stale);
                match self.attempt(Some(deadline)) {
                    Ok(_) => return Ok(()),
                    // Why there was no server before says more than that the time is over.
                    Err(ClientError::DeadlineExceeded { .. }) => return Err(error),
                    // It stands in the line.
                    Err(_) => {}
                }
            }
            line = self.line.lock();
        }
    }
}

/// May an attempt to connect that failed so succeed a little later?
pub(super) fn passes(error: &ClientError) -> bool {
    match error {
        ClientError::Connect { kind, .. } => !is_lasting(*kind),
        ClientError::Draining { retry_after } => retry_after.is_none_or(|after| after <= RETRY_AFTER_MAX),
        _ => false,
    }
}

/// Ends an attempt whatever happens to it, so that nobody waits for it for ever.
struct Attempt<'a> {
    dialer: &'a Dialer,
    result: Option<Result<Arc<ClientConnection>, ClientError>>,
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let (mut line, mut stale) = (self.dialer.line.lock(), None);
        line.dialing = false;
        match self.result.take() {
            Some(Ok(link)) => {
                (line.failures, line.due) = (0, None);
                stale = line.link.replace(link);
            }
            // Another caller's deadline says nothing to the others; the next of them tries.
            Some(Err(ClientError::DeadlineExceeded { .. })) | None => {}
            Some(Err(error)) => line.fail(error),
        }
        drop(line);
        drop(stale);
        self.dialer.settled.notify_all();
    }
}
