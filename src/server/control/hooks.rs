//! What the program around a server has given it for an administrator: services that take orders, its own end, its log.
//!
//! The program's code runs here on threads of their own and under `catch_unwind`: whatever it does, the server goes on.

use crate::sync::{Arc, AtomicBool, Ordering, bounded};
use log::LevelFilter;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::{Duration, Instant};

/// How long what a service says is waited for.
const TELL_MAX: Duration = Duration::from_secs(10);

/// Runs an order, and gives its answer or what is wrong with it.
type Teller = dyn Fn(&str) -> Result<String, String> + Send + Sync;

/// What the program has given.
#[derive(Default)]
pub(in crate::server) struct Program {
    tellers: Vec<(String, Told)>,
    quit: Option<Box<dyn Fn() + Send + Sync>>,
    log_level: Option<Box<dyn Fn(LevelFilter) + Send + Sync>>,
}

/// A service that takes orders.
struct Told {
    run: Arc<Teller>,
    /// It has an order; another is refused.
    busy: Arc<AtomicBool>,
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let services: Vec<_> = self.tellers.iter().map(|(service, _)| service).collect();
        f.debug_struct("Program").field("services", &services).finish_non_exhaustive()
    }
}

impl Program {
    /// A later service of the same name takes the place of an earlier one.
    pub(in crate::server) fn on_tell(&mut self, service: &str, run: Arc<Teller>) {
        self.tellers.retain(|(known, _)| !known.eq_ignore_ascii_case(service));
        self.tellers.push((service.to_owned(), Told { run, busy: Arc::default() }));
    }

    pub(in crate::server) fn on_quit(&mut self, run: Box<dyn Fn() + Send + Sync>) {
        self.quit = Some(run);
    }

    pub(in crate::server) fn on_log_level(&mut self, run: Box<dyn Fn(LevelFilter) + Send + Sync>) {
        self.log_level = Some(run);
    }

    pub(super) fn tell(&self, service: &str, order: &str) -> Result<String, String> {
        self.tell_within(service, order, TELL_MAX)
    }

    fn tell_within(&self, service: &str, order: &str, patience: Duration) -> Result<String, String> {
        let found = self.tellers.iter().find(|(name, _)| name.eq_ignore_ascii_case(service));
        let Some((name, Told { run, busy })) = found else {
            let service = service.escape_debug();
            return Err(format!(
                "The {service} task either does not exist or does not accept \"Tell\" commands."
            ));
        };
        let still_busy = || Err(format!("{name} is still busy with an order"));
        if busy.swap(true, Ordering::SeqCst) {
            return still_busy();
        }
        let (done, said) = bounded(1);
        let (run, order, ended) = (Arc::clone(run), order.to_owned(), Arc::clone(busy));
        let obey = move || {
            let outcome = catch_unwind(AssertUnwindSafe(|| run(&order)));
            // First free, then answered: who has the answer may give the next order.
            ended.store(false, Ordering::SeqCst);
            done.try_send(outcome).ok();
        };
        if let Err(error) = thread::Builder::new().name(format!("tell-{name}")).spawn(obey) {
            busy.store(false, Ordering::SeqCst);
            return Err(format!("no thread could be made for it: {error}"));
        }
        match said.recv_deadline(Instant::now() + patience) {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(format!("{name} panicked; the log says where")),
            Err(_) => still_busy(),
        }
    }

    pub(super) fn quit(&self) -> Result<(), String> {
        let quit = self.quit.as_ref().ok_or("this program does not listen to that")?;
        quit();
        Ok(())
    }

    /// Whether somebody heeds it.
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
        let mut program = Program::default();
        program.on_tell(
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
        assert_eq!(program.tell_within("notes", "x", SOON), Err("what is x?".to_owned()));
        let panicked = program.tell_within("NOTES", "panic", SOON);
        assert_eq!(panicked, Err("Notes panicked; the log says where".to_owned()));
        let busy = Err("Notes is still busy with an order".to_owned());
        assert_eq!(program.tell_within("notes", "wait", Duration::ZERO), busy);
        assert_eq!(program.tell_within("notes", "x", SOON), busy, "the one before goes on");
        *gate.0.lock() = true;
        gate.1.notify_all();
        while program.tellers[0].1.busy.load(Ordering::SeqCst) {
            thread::yield_now();
        }
        assert_eq!(program.tell_within("notes", "wait", SOON), Ok("waited".to_owned()));
        let unknown = program.tell_within("mail\n", "x", SOON).unwrap_err();
        assert!(unknown.starts_with("The mail\\n task either does not exist"), "{unknown}");
        assert!(program.quit().is_err() && !program.set_log_level(LevelFilter::Off));
    }
}
