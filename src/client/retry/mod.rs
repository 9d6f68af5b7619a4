//! How a client treats a server that refuses: which calls are made again, when, how many, and which are not sent.
//!
//! Decides and counts; sends nothing and never sleeps. `backoff`, `budget` and `throttle` are pure, so that time and
//! chance come in here. Knows errors; knows no connections. One for all clones of a client.

mod adaptive_throttle;
mod backoff;
mod budget;
pub(in crate::client) mod call;

use super::error::ClientError;
use super::options::ClientOptions;
use crate::service::{Blame, Repeat, Status};
use crate::sync::Mutex;
use adaptive_throttle::AdaptiveThrottle;
use budget::RetryBudget;
use std::io::ErrorKind;
use std::time::{Duration, Instant};

/// One client's retry and what it remembers for them.
#[derive(Debug)]
pub(super) struct RetryPolicy {
    retries: u32,
    /// Do calls wait for a server that is not there?
    waits: bool,
    hedge_after: Option<Duration>,
    budget: RetryBudget,
    /// `None` where the options say so.
    throttle: Option<Mutex<AdaptiveThrottle>>,
}

impl RetryPolicy {
    pub(super) fn new(options: &ClientOptions) -> RetryPolicy {
        RetryPolicy {
            retries: options.retries,
            waits: options.wait_for_server && options.retries > 0,
            hedge_after: options.hedge_after,
            budget: RetryBudget::new(),
            throttle: options.throttle.then(|| Mutex::new(AdaptiveThrottle::new(Instant::now()))),
        }
    }

    /// A call begins: however often it is made, it comes here once.
    pub(super) fn begin(&self) {
        self.budget.pay_in();
    }

    /// Asked before anything is sent.
    ///
    /// # Errors
    /// [`ClientError::Throttled`].
    pub(super) fn admit(&self) -> Result<(), ClientError> {
        let held_back = self
            .throttle
            .as_ref()
            .is_some_and(|throttle| throttle.lock().holds_back(Instant::now(), fastrand::f64()));
        if held_back { Err(ClientError::Throttled) } else { Ok(()) }
    }

    /// The server answered a call so.
    pub(super) fn heard<T>(&self, answer: &Result<T, ClientError>) {
        let accepted = match answer {
            // A server that stops is not overloaded, and the one started after it has refused nobody.
            Err(ClientError::Draining { .. }) => return,
            // Its settings are wrong, whatever its load.
            Err(ClientError::NestedDeadlock(_)) => return,
            // There is no place for a session or connection, whatever the load of those that have one.
            Err(ClientError::Unavailable { status, .. }) if *status != Status::BuffersFull => return,
            // It was taken in and not run: neither served nor refused.
            Err(ClientError::DeadlineExceeded { .. }) => return,
            Err(error) => error.blame() != Blame::Overload,
            Ok(_) => true,
        };
        if let Some(throttle) = &self.throttle {
            throttle.lock().heard(Instant::now(), accepted);
        }
    }

    /// Does a call wait for its server, where there is none?
    pub(super) fn waits(&self) -> bool {
        self.waits
    }

    /// How long to wait before a call that failed with `error` is made again, for the `number`th time, from 1. `None`
    /// when it must not be, or cannot in time, or the server asks for much patience.
    pub(super) fn wait(
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
        let wait = pause(number, error.retry_after().unwrap_or_default());
        let in_time = deadline.is_none_or(|deadline| Instant::now() + wait < deadline);
        (in_time && (costs_nothing(error) || self.budget.spend())).then_some(wait)
    }

    /// How long a call waits for its answer before it is hedged, if ever.
    pub(super) fn hedge_after(&self, idempotent: bool) -> Option<Duration> {
        self.hedge_after.filter(|_| idempotent)
    }

    /// May a call be hedged now? Then that is paid.
    pub(super) fn spend(&self) -> bool {
        self.budget.spend()
    }
}

/// A server that asks a client to wait longer than this is left to the caller.
pub(super) const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// How long to wait after an attempt that failed, from 1, where the server asks for `least`.
pub(super) fn pause(number: u32, least: Duration) -> Duration {
    backoff::wait(number, least, fastrand::f64())
}

/// Is no server troubled when such a call is made again? The connection is gone, or about to go, and a call on another
/// is the first that its server hears of it.
fn costs_nothing(error: &ClientError) -> bool {
    matches!(error, ClientError::Draining { .. } | ClientError::Disconnected { may_have_run: false, .. })
}

/// Does what keeps a connection from being made stay so, until somebody changes the program or the machine?
pub(super) fn is_lasting(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::InvalidInput | ErrorKind::PermissionDenied | ErrorKind::Unsupported)
}

/// Returns whether a call that failed with `error` is made again: if its status says so, or if it has lost its
/// connection and, unless it is idempotent, no handler saw it.
pub(super) fn may_repeat(error: &ClientError, idempotent: bool) -> bool {
    match error {
        // It has had all the time that an attempt may take.
        ClientError::Connect { kind: ErrorKind::TimedOut, .. } => false,
        ClientError::Connect { kind, .. } => !is_lasting(*kind),
        ClientError::NoThread(_) => true,
        ClientError::Disconnected { may_have_run, .. } => idempotent || !may_have_run,
        error => error.status().is_some_and(|status| matches!(status.repeat(), Repeat::ByClient(_))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::error::DeadlineSource;
    use super::*;

    fn connect(kind: ErrorKind) -> ClientError {
        ClientError::Connect { address: String::new(), kind, message: String::new() }
    }

    fn lost(may_have_run: bool) -> ClientError {
        ClientError::Disconnected { may_have_run, reason: String::new() }
    }

    const FULL: ClientError = ClientError::QueueFull { retry_after: None };
    const STOPS: ClientError = ClientError::Draining { retry_after: None };

    #[test]
    fn only_what_cannot_have_run_is_repeated_unless_it_is_idempotent() {
        for idempotent in [false, true] {
            for error in [FULL, STOPS, connect(ErrorKind::ConnectionRefused), lost(false)] {
                assert!(may_repeat(&error, idempotent), "{error:?}");
            }
            assert_eq!(may_repeat(&lost(true), idempotent), idempotent);
            let nested = ClientError::NestedDeadlock(String::new());
            for error in
                [ClientError::Throttled, nested, ClientError::late(false), connect(ErrorKind::TimedOut)]
            {
                assert!(!may_repeat(&error, idempotent), "{error:?}");
            }
        }
    }

    #[test]
    fn repetitions_end_with_their_number_with_time_and_with_the_budget() {
        let retry = RetryPolicy::new(&ClientOptions::default().retries(3));
        let soon = Some(Instant::now());
        let numbers = (1..=5).map(|number| retry.wait(&FULL, number, false, None).is_some());
        assert_eq!(numbers.collect::<Vec<_>>(), [true, true, true, false, false]);
        assert_eq!(retry.wait(&FULL, 1, false, soon), None, "not in time, and not paid");
        let left = std::iter::from_fn(|| retry.wait(&FULL, 1, false, None));
        assert_eq!(left.count(), 7);
    }

    #[test]
    fn refusals_for_load_throttle_and_others_do_not() {
        let held_back = |error: ClientError| {
            let retry = RetryPolicy::new(&ClientOptions::default());
            (0..1000).for_each(|_| retry.heard(&Err::<(), _>(error.clone())));
            (0..1000).filter(|_| retry.admit().is_err()).count()
        };
        let unavailable =
            |status| ClientError::Unavailable { status, message: String::new(), retry_after: None };
        let no_place = [Status::MaxUsers, Status::Restricted, Status::SessionClosed].map(unavailable);
        let others = [STOPS, ClientError::NestedDeadlock(String::new()), ClientError::Cancelled];
        for other in others.into_iter().chain(no_place) {
            assert_eq!(held_back(other.clone()), 0, "{other:?}");
        }
        assert!(held_back(FULL) > 500);
        assert!(held_back(unavailable(Status::BuffersFull)) > 500);
    }

    #[test]
    fn calls_that_the_server_finds_late_are_not_taken_for_served() {
        let retry = RetryPolicy::new(&ClientOptions::default());
        let late = ClientError::DeadlineExceeded { detected_by: DeadlineSource::Server, may_have_run: false };
        for _ in 0..1000 {
            retry.heard(&Err::<(), _>(FULL));
            retry.heard(&Err::<(), _>(late.clone()));
        }
        let held_back = (0..1000).filter(|_| retry.admit().is_err()).count();
        assert!(held_back > 500, "{held_back}");
    }
}
