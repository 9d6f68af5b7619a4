//! [`RetryPolicy`]: which calls are repeated, when, how many, and which are not sent.
//!
//! Decides and counts; sends nothing and never sleeps. Knows errors; knows no connections. One for all clones of a
//! client.

use super::adaptive_throttle::AdaptiveThrottle;
use super::backoff::wait;
use super::budget::RetryBudget;
use crate::client::options::ClientOptions;
use crate::service::{Blame, ClientError, Repeat, Status};
use crate::sync::Mutex;
use std::io::ErrorKind;
use std::time::{Duration, Instant};

/// A server that asks a client to wait longer than this is left to the caller.
pub(in crate::client) const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// The rules of one client, and what it remembers for them.
#[derive(Debug)]
pub(in crate::client) struct RetryPolicy {
    retries: u32,
    waits_for_server: bool,
    hedge_after: Option<Duration>,
    budget: RetryBudget,
    /// `None` where the options turn it off.
    throttle: Option<Mutex<AdaptiveThrottle>>,
}

impl RetryPolicy {
    pub(in crate::client) fn new(options: &ClientOptions) -> RetryPolicy {
        RetryPolicy {
            retries: options.retries,
            waits_for_server: options.wait_for_server && options.retries > 0,
            hedge_after: options.hedge_after,
            budget: RetryBudget::new(),
            throttle: options.throttle.then(|| Mutex::new(AdaptiveThrottle::new(Instant::now()))),
        }
    }

    /// Counts a call that begins: once, however often it is repeated.
    pub(in crate::client) fn on_call(&self) {
        self.budget.deposit();
    }

    /// Admits an attempt, before anything is sent.
    ///
    /// # Errors
    /// [`ClientError::Throttled`].
    pub(in crate::client) fn admit(&self) -> Result<(), ClientError> {
        let rejected = self
            .throttle
            .as_ref()
            .is_some_and(|throttle| throttle.lock().rejects(Instant::now(), fastrand::f64()));
        if rejected { Err(ClientError::Throttled) } else { Ok(()) }
    }

    /// Counts the outcome of an attempt for the throttle.
    pub(in crate::client) fn record<T>(&self, outcome: &Result<T, ClientError>) {
        let accepted = match outcome {
            // A server that stops is not overloaded, and the one started after it has refused nothing.
            Err(ClientError::Draining { .. }) => return,
            // The server's settings are wrong, whatever its load.
            Err(ClientError::NestedDeadlock(_)) => return,
            // There is no room for a session or connection, or for calls of one method, whatever the load of others.
            Err(ClientError::Unavailable { status, .. }) if *status != Status::BuffersFull => return,
            // It ran; the server that refused is another, or serves other methods as before.
            Err(ClientError::NestedRefused { .. }) => return,
            // The call was accepted and not run: neither served nor refused.
            Err(ClientError::DeadlineExceeded { .. }) => return,
            Err(error) => error.blame() != Blame::Overload,
            Ok(_) => true,
        };
        if let Some(throttle) = &self.throttle {
            throttle.lock().record(Instant::now(), accepted);
        }
    }

    /// Returns whether calls wait for a server that is not there.
    pub(in crate::client) fn waits_for_server(&self) -> bool {
        self.waits_for_server
    }

    /// How long to wait before the `number`th repetition, from 1, of a call that failed with `error`. `None` if it
    /// must not be repeated, or cannot in time, or the server asks for a longer wait than is worth while.
    pub(super) fn wait_before_repetition(
        &self,
        error: &ClientError,
        number: u32,
        idempotent: bool,
        deadline: Option<Instant>,
    ) -> Option<Duration> {
        if number > self.retries || !may_repeat(error, idempotent) {
            return None;
        }
        if error.retry_after().is_some_and(|after| after > RETRY_AFTER_MAX) {
            return None;
        }
        let wait = random_wait(number, error.retry_after().unwrap_or_default());
        let in_time = deadline.is_none_or(|deadline| Instant::now() + wait < deadline);
        (in_time && (costs_nothing(error) || self.budget.spend())).then_some(wait)
    }

    /// How long a call waits for its reply before it is hedged, if ever.
    pub(super) fn hedge_after(&self, idempotent: bool) -> Option<Duration> {
        self.hedge_after.filter(|_| idempotent)
    }

    /// Returns whether a call may be hedged now, and spends the budget for it.
    pub(super) fn may_hedge(&self) -> bool {
        self.budget.spend()
    }
}

/// How long to wait after failed attempt `number`, from 1, where the server asks for `least`.
pub(in crate::client) fn random_wait(number: u32, least: Duration) -> Duration {
    wait(number, least, fastrand::f64())
}

/// Returns whether a repetition puts no load on a server: the connection is gone or about to go, and the call is the
/// first that another server, or this one after a restart, gets of it.
fn costs_nothing(error: &ClientError) -> bool {
    matches!(error, ClientError::Draining { .. } | ClientError::Disconnected { may_have_run: false, .. })
}

/// Returns whether what prevents a connection lasts until the program or the machine is changed.
fn is_lasting(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::InvalidInput | ErrorKind::PermissionDenied | ErrorKind::Unsupported)
}

/// Returns whether an attempt to connect that failed so may succeed a little later.
pub(in crate::client) fn is_transient(error: &ClientError) -> bool {
    match error {
        ClientError::Connect { kind, .. } => !is_lasting(*kind),
        ClientError::Draining { retry_after } => retry_after.is_none_or(|after| after <= RETRY_AFTER_MAX),
        _ => false,
    }
}

/// Returns whether a call that failed so may be repeated with hope: only if it was refused for load or lost its
/// connection, and unless it is idempotent, only if no handler saw it.
pub(super) fn may_repeat(error: &ClientError, idempotent: bool) -> bool {
    match error {
        // It took all the time that an attempt may take.
        ClientError::Connect { kind: ErrorKind::TimedOut, .. } => false,
        ClientError::Connect { kind, .. } => !is_lasting(*kind),
        ClientError::NoThread(_) => true,
        ClientError::Disconnected { may_have_run, .. } => idempotent || !may_have_run,
        // The handler may have done a part before its own call was refused.
        ClientError::NestedRefused { status, .. } => {
            idempotent && matches!(status.repeat(), Repeat::ByClient(_))
        }
        error => error.status().is_some_and(|status| matches!(status.repeat(), Repeat::ByClient(_))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::DeadlineSource;

    fn connect(kind: ErrorKind) -> ClientError {
        ClientError::Connect { address: String::new(), kind, message: String::new() }
    }

    fn lost(may_have_run: bool) -> ClientError {
        ClientError::Disconnected { may_have_run, reason: String::new() }
    }

    fn refused_within(status: Status) -> ClientError {
        ClientError::NestedRefused { status, message: String::new(), retry_after: None }
    }

    const FULL: ClientError = ClientError::QueueFull { retry_after: None };
    const DRAINING: ClientError = ClientError::Draining { retry_after: None };

    #[test]
    fn only_what_cannot_have_run_is_repeated_unless_it_is_idempotent() {
        for idempotent in [false, true] {
            for error in [FULL, DRAINING, connect(ErrorKind::ConnectionRefused), lost(false)] {
                assert!(may_repeat(&error, idempotent), "{error:?}");
            }
            assert_eq!(may_repeat(&lost(true), idempotent), idempotent);
            assert_eq!(may_repeat(&refused_within(Status::QueueFull), idempotent), idempotent);
            assert!(!may_repeat(&refused_within(Status::NestedDeadlock), idempotent));
            let nested = ClientError::NestedDeadlock(String::new());
            for error in
                [ClientError::Throttled, nested, ClientError::late(false), connect(ErrorKind::TimedOut)]
            {
                assert!(!may_repeat(&error, idempotent), "{error:?}");
            }
        }
    }

    #[test]
    fn repetitions_end_with_their_number_the_deadline_and_the_budget() {
        let retry = RetryPolicy::new(&ClientOptions::default().retries(3));
        let soon = Some(Instant::now());
        let numbers =
            (1..=5).map(|number| retry.wait_before_repetition(&FULL, number, false, None).is_some());
        assert_eq!(numbers.collect::<Vec<_>>(), [true, true, true, false, false]);
        assert_eq!(retry.wait_before_repetition(&FULL, 1, false, soon), None, "not in time, and not paid");
        let left = std::iter::from_fn(|| retry.wait_before_repetition(&FULL, 1, false, None));
        assert_eq!(left.count(), 7);
    }

    #[test]
    fn only_refusals_for_load_throttle() {
        let throttled = |error: ClientError| {
            let retry = RetryPolicy::new(&ClientOptions::default());
            (0..1000).for_each(|_| retry.record(&Err::<(), _>(error.clone())));
            (0..1000).filter(|_| retry.admit().is_err()).count()
        };
        let unavailable =
            |status| ClientError::Unavailable { status, message: String::new(), retry_after: None };
        let no_room = [Status::MaxUsers, Status::Restricted, Status::SessionClosed, Status::ServiceBusy]
            .map(unavailable);
        let others = [
            DRAINING,
            ClientError::NestedDeadlock(String::new()),
            refused_within(Status::QueueFull),
            ClientError::Cancelled,
        ];
        for other in others.into_iter().chain(no_room) {
            assert_eq!(throttled(other.clone()), 0, "{other:?}");
        }
        assert!(throttled(FULL) > 500);
        assert!(throttled(unavailable(Status::BuffersFull)) > 500);
    }

    #[test]
    fn late_calls_do_not_count_as_served() {
        let retry = RetryPolicy::new(&ClientOptions::default());
        let late = ClientError::DeadlineExceeded { detected_by: DeadlineSource::Server, may_have_run: false };
        for _ in 0..1000 {
            retry.record(&Err::<(), _>(FULL));
            retry.record(&Err::<(), _>(late.clone()));
        }
        let throttled = (0..1000).filter(|_| retry.admit().is_err()).count();
        assert!(throttled > 500, "{throttled}");
    }
}
