//! `blocking`: a handler that only waits gives its permit back meanwhile.
//!
//! A permit means "runs now", and a worker's thread holds it. That worker is known here as the thread's [`Host`]. It is
//! found through the thread, so code far below a handler (the client library too) needs no transaction at hand, and a
//! call that never waits pays nothing. Knows no pool, and neither how many permits there are nor who has them.
//!
//! Invariant: a host is in its place exactly while its permit is held. So a wait within a wait finds none and just
//! runs.

use crate::sync::thread_local;
use std::cell::Cell;
use std::rc::Rc;

/// The worker that runs a transaction, as the layers without threads see it. For its own thread alone.
pub(crate) trait Host {
    /// Gives the permit back, and with it whatever waits for the running transaction to end. Does not block.
    fn pause(&self);
    /// Blocks until the permit is there again. Does not panic.
    fn resume(&self);
}

thread_local! {
    /// Empty on threads that run no transactions, and while the permit is given back.
    static HERE: Cell<Option<Rc<dyn Host>>> = Cell::default();
}

/// From here on this thread's transactions run under `host`; under none once the thread runs no more.
pub(crate) fn set(host: Option<Rc<dyn Host>>) {
    HERE.with(|here| here.set(host));
}

/// [`Transaction::blocking`](super::Transaction::blocking) for code that has no transaction at hand, such as a
/// database's driver. On a thread that runs no transaction it just runs `wait`.
pub fn blocking<R>(wait: impl FnOnce() -> R) -> R {
    let _pause = Pause::begin();
    wait()
}

/// The time in which the permit is given back, if this thread had one to give. A panic ends it too.
struct Pause(Option<Rc<dyn Host>>);

impl Pause {
    fn begin() -> Pause {
        // A thread that is being destroyed has lost its place: it runs no transaction.
        let host = HERE.try_with(Cell::take).unwrap_or_default();
        if let Some(host) = &host {
            host.pause();
        }
        Pause(host)
    }
}

impl Drop for Pause {
    fn drop(&mut self) {
        if let Some(host) = self.0.take() {
            host.resume();
            set(Some(host));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

    /// Says when the permit comes and goes.
    #[derive(Default)]
    struct Scribe(Cell<u32>, Cell<u32>);

    impl Scribe {
        fn pauses_and_resumes(&self) -> (u32, u32) {
            (self.0.get(), self.1.get())
        }
    }

    impl Host for Scribe {
        fn pause(&self) {
            self.0.set(self.0.get() + 1);
        }
        fn resume(&self) {
            self.1.set(self.1.get() + 1);
        }
    }

    fn scribe() -> Rc<Scribe> {
        let scribe = Rc::<Scribe>::default();
        set(Some(Rc::clone(&scribe) as Rc<dyn Host>));
        scribe
    }

    #[test]
    fn a_wait_within_a_wait_gives_the_permit_back_once() {
        let scribe = scribe();
        let inner = blocking(|| {
            assert_eq!(scribe.pauses_and_resumes(), (1, 0));
            let inner = blocking(|| 7);
            assert_eq!(scribe.pauses_and_resumes(), (1, 0), "the outer wait goes on");
            inner
        });
        assert_eq!((inner, scribe.pauses_and_resumes()), (7, (1, 1)));
        blocking(|| ());
        assert_eq!(scribe.pauses_and_resumes(), (2, 2), "and again");
    }

    #[test]
    fn a_panic_goes_on_with_the_permit_taken_again() {
        let scribe = scribe();
        let panic = || blocking(|| blocking(|| resume_unwind(Box::new("on purpose"))));
        assert!(catch_unwind(AssertUnwindSafe(panic)).is_err());
        assert_eq!(scribe.pauses_and_resumes(), (1, 1));
        blocking(|| ());
        assert_eq!(scribe.pauses_and_resumes(), (2, 2));
    }

    #[test]
    fn on_a_thread_without_a_host_it_just_runs() {
        let scribe = scribe();
        assert_eq!(std::thread::scope(|scope| scope.spawn(|| blocking(|| 7)).join().unwrap()), 7);
        set(None);
        assert_eq!(blocking(|| 7), 7);
        assert_eq!((scribe.pauses_and_resumes(), Rc::strong_count(&scribe)), ((0, 0), 1));
    }
}
