//! Hooks that the embedding program sets for an administrator: services that take orders, quit, and the log level.
//!
//! Invariant: an order runs on a thread of its own and under `catch_unwind`, so the server goes on whatever it does.

use crate::monitor::{ControlError, ServiceCounter};
use crate::sync::{Arc, AtomicBool, Ordering, bounded};
use log::LevelFilter;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::{Duration, Instant};

/// How long the reply of a service is waited for.
const TELL_TIMEOUT: Duration = Duration::from_secs(10);

/// Runs an order, and returns its reply or what is wrong with it.
type TellHandler = dyn Fn(&str) -> Result<String, String> + Send + Sync;

/// Hooks that the program has set.
#[derive(Default)]
pub(in crate::server) struct AdminHooks {
    services: Vec<(String, TellService)>,
    pub(in crate::server) counters: Vec<&'static ServiceCounter>,
    pub(in crate::server) quit: Option<Box<dyn Fn() + Send + Sync>>,
    pub(in crate::server) log_level: Option<Box<dyn Fn(LevelFilter) + Send + Sync>>,
}

/// A service that takes orders.
struct TellService {
    run: Arc<TellHandler>,
    /// It is executing an order; another one is refused.
    busy: Arc<AtomicBool>,
}

impl fmt::Debug for AdminHooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let services: Vec<_> = self.services.iter().map(|(service, _)| service).collect();
        f.debug_struct("AdminHooks").field("services", &services).finish_non_exhaustive()
    }
}

impl AdminHooks {
    /// Adds a service. It replaces an earlier one of the same name.
    pub(in crate::server) fn on_tell(&mut self, service: &str, run: Arc<TellHandler>) {
        self.services.retain(|(known, _)| !known.eq_ignore_ascii_case(service));
        self.services.push((service.to_owned(), TellService { run, busy: Arc::default() }));
    }

    pub(super) fn tell(&self, service: &str, order: &str) -> Result<String, ControlError> {
        self.tell_within(service, order, TELL_TIMEOUT)
    }

    fn tell_within(&self, service: &str, order: &str, timeout: Duration) -> Result<String, ControlError> {
        let found = self.services.iter().find(|(name, _)| name.eq_ignore_ascii_case(service));
        let Some((name, TellService { run, busy })) = found else {
            return Err(ControlError::UnknownService(service.to_owned()));
        };
        let still_busy = || Err(ControlError::ServiceBusy(name.clone()));
        if busy.swap(true, Ordering::SeqCst) {
            return still_busy();
        }
        let (done, reply) = bounded(1);
        let (run, order, ended) = (Arc::clone(run), order.to_owned(), Arc::clone(busy));
        let execute = move || {
            let outcome = catch_unwind(AssertUnwindSafe(|| run(&order)));
            // Free before the reply: after it the next order may come at once.
            ended.store(false, Ordering::SeqCst);
            done.try_send(outcome).ok();
        };
        if let Err(error) = thread::Builder::new().name(format!("tell-{name}")).spawn(execute) {
            busy.store(false, Ordering::SeqCst);
            return Err(ControlError::NoThread(error.to_string()));
        }
        match reply.recv_deadline(Instant::now() + timeout) {
            Ok(Ok(outcome)) => outcome.map_err(ControlError::ServiceFailed),
            Ok(Err(_)) => Err(ControlError::ServicePanicked(name.clone())),
            Err(_) => still_busy(),
        }
    }

    pub(super) fn quit(&self) -> Result<(), ControlError> {
        let quit = self.quit.as_ref().ok_or(ControlError::QuitUnsupported)?;
        quit();
        Ok(())
    }

    /// Sets the log level. Returns whether the program has a hook for it.
    pub(super) fn set_log_level(&self, level: LevelFilter) -> bool {
        self.log_level.as_ref().map(|set| set(level)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::{Condvar, Mutex};

    const SOON: Duration = Duration::from_secs(30);

    #[test]
    fn a_service_has_one_order_at_a_time_and_a_panic_is_an_answer() {
        let gate = Arc::new((Mutex::new(false), Condvar::new()));
        let opened = Arc::clone(&gate);
        let mut hooks = AdminHooks::default();
        hooks.on_tell(
            "Notes",
            Arc::new(move |order: &str| match order {
                "panic" => panic!("on purpose"),
                "wait" => {
                    let mut open = opened.0.lock();
                    while !*open {
                        opened.1.wait(&mut open);
                    }
                    Ok("waited".to_owned())
                }
                _ => Err(format!("what is {order}?")),
            }),
        );
        let failed = hooks.tell_within("notes", "x", SOON);
        assert_eq!(failed, Err(ControlError::ServiceFailed("what is x?".to_owned())));
        let panicked = hooks.tell_within("NOTES", "panic", SOON);
        assert_eq!(panicked, Err(ControlError::ServicePanicked("Notes".to_owned())));
        let busy = Err(ControlError::ServiceBusy("Notes".to_owned()));
        assert_eq!(hooks.tell_within("notes", "wait", Duration::ZERO), busy);
        assert_eq!(hooks.tell_within("notes", "x", SOON), busy, "the one before goes on");
        *gate.0.lock() = true;
        gate.1.notify_all();
        while hooks.services[0].1.busy.load(Ordering::SeqCst) {
            thread::yield_now();
        }
        assert_eq!(hooks.tell_within("notes", "wait", SOON), Ok("waited".to_owned()));
        let unknown = hooks.tell_within("mail\n", "x", SOON).unwrap_err().to_string();
        assert!(unknown.starts_with("The mail\\n task either does not exist"), "{unknown}");
        assert!(hooks.quit().is_err() && !hooks.set_log_level(LevelFilter::Off));
    }
}
