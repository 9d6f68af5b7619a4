//! The worker under a handler: it takes the permit back while the handler only waits (`blocking`), and knows the
//! transaction that the handler's own calls are made for.
//!
//! A permit means "runs now", and a worker's thread holds it. That worker is known here as the thread's
//! [`WorkerHooks`]. It is found through the thread, so code far below a handler (the client library too) needs no
//! transaction at hand, and a call that never waits pays nothing. Knows no pool, and neither how many permits there are
//! nor who has them.
//!
//! Invariant: [`PERMITTED`] has the host exactly while its permit is held. So a wait within a wait finds none and just
//! runs.

use crate::sync::{Weak, thread_local};
use crate::wire::{Chain, DecodeMemory, LinkId, Shortage};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

/// The worker that runs a transaction, as the layers without threads see it. For its own thread alone.
pub(crate) trait WorkerHooks {
    /// Gives the permit back, and with it whatever waits for the running transaction to end. Does not block.
    fn pause(&self);
    /// Blocks until the permit is there again. Does not panic.
    fn resume(&self);
    /// What a call that the running transaction makes now is made for.
    fn origin(&self) -> Origin;
    /// Until when somebody waits for the running transaction.
    fn deadline(&self) -> Option<Instant>;
    /// The handler waits for the answer to this call; `None`: no longer.
    fn awaits(&self, call: Option<LinkId>);
    /// So much memory more for the running transaction's arguments, until it ends.
    fn lend(&self, bytes: usize) -> Result<(), Shortage>;
}

/// Memory for the arguments of the transaction that this thread runs; as much as a body may take where it runs none.
pub(crate) struct Lender;

impl DecodeMemory for Lender {
    fn take(&self, bytes: usize) -> Result<(), Shortage> {
        ask(|host| host.lend(bytes)).unwrap_or(Ok(()))
    }
}

/// Where a call comes from that a handler makes.
#[derive(Debug)]
pub(crate) struct Origin {
    /// The calls it is made for, and it.
    pub(crate) chain: Chain,
    /// Of its own link.
    pub(crate) open: OutgoingCall,
}

/// What closes links.
pub(crate) trait OutgoingCallTable: Send + Sync {
    /// The call of this link is not waited for any more.
    fn close(&self, id: LinkId);
}

/// The link of a call that is out. To be dropped when the call is not waited for any more, whatever the reason.
#[derive(Debug)]
pub(crate) struct OutgoingCall {
    pub(crate) links: Weak<dyn OutgoingCallTable>,
    pub(crate) id: LinkId,
}

impl Drop for OutgoingCall {
    fn drop(&mut self) {
        if let Some(links) = self.links.upgrade() {
            links.close(self.id);
        }
    }
}

thread_local! {
    /// Empty on threads that run no transactions, and while the permit is given back.
    static PERMITTED: Cell<Option<Rc<dyn WorkerHooks>>> = Cell::default();
    /// Empty on threads that run no transactions.
    static HERE: Cell<Option<Rc<dyn WorkerHooks>>> = Cell::default();
}

/// From here on this thread's transactions run under `host`; under none once the thread runs no more.
pub(crate) fn set(host: Option<Rc<dyn WorkerHooks>>) {
    HERE.with(|here| here.set(host.clone()));
    PERMITTED.with(|here| here.set(host));
}

/// Asks the host, if this thread runs a transaction.
fn ask<R>(question: impl FnOnce(&dyn WorkerHooks) -> R) -> Option<R> {
    // A thread that is being destroyed has lost its place: it runs no transaction.
    let host = HERE.try_with(Cell::take).ok()??;
    let answer = question(host.as_ref());
    HERE.with(|here| here.set(Some(host)));
    Some(answer)
}

/// What a call made now by this thread is made for; `None` when no handler makes it.
pub(crate) fn origin() -> Option<Origin> {
    ask(|host| host.origin())
}

/// Does this thread run a transaction?
pub(crate) fn is_here() -> bool {
    ask(|_| ()).is_some()
}

/// Until when somebody waits for what this thread does, if anybody does.
pub(crate) fn deadline() -> Option<Instant> {
    ask(|host| host.deadline())?
}

/// As [`blocking`], while the handler waits for the answer to a call it made.
pub(crate) fn awaiting<R>(call: Option<LinkId>, wait: impl FnOnce() -> R) -> R {
    let Some(call) = call else { return blocking(wait) };
    // Within the pause: whoever is answered and stands in line for a permit waits for the call no longer.
    blocking(|| {
        let _awaiting = Awaiting::begin(call);
        wait()
    })
}

/// The time in which the host knows what is waited for. A panic ends it too.
struct Awaiting;

impl Awaiting {
    fn begin(call: LinkId) -> Awaiting {
        ask(|host| host.awaits(Some(call)));
        Awaiting
    }
}

impl Drop for Awaiting {
    fn drop(&mut self) {
        ask(|host| host.awaits(None));
    }
}

/// [`Transaction::blocking`](super::Transaction::blocking) for code that has no transaction at hand, such as a
/// database's driver. On a thread that runs no transaction it just runs `wait`.
pub fn blocking<R>(wait: impl FnOnce() -> R) -> R {
    let _pause = Pause::begin();
    wait()
}

/// The time in which the permit is given back, if this thread had one to give. A panic ends it too.
struct Pause(Option<Rc<dyn WorkerHooks>>);

impl Pause {
    fn begin() -> Pause {
        // A thread that is being destroyed has lost its place: it runs no transaction.
        let host = PERMITTED.try_with(Cell::take).unwrap_or_default();
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
            PERMITTED.with(|here| here.set(Some(host)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

    /// Says when the permit comes and goes.
    #[derive(Default)]
    struct Scribe(Cell<u32>, Cell<u32>, Cell<Option<LinkId>>);

    impl Scribe {
        fn pauses_and_resumes(&self) -> (u32, u32) {
            (self.0.get(), self.1.get())
        }
    }

    struct Nowhere;

    impl OutgoingCallTable for Nowhere {
        fn close(&self, _: LinkId) {}
    }

    impl WorkerHooks for Scribe {
        fn pause(&self) {
            self.0.set(self.0.get() + 1);
        }
        fn resume(&self) {
            assert_eq!(self.2.get(), None, "who stands in line for a permit waits for no call");
            self.1.set(self.1.get() + 1);
        }
        fn origin(&self) -> Origin {
            let links: Weak<Nowhere> = Weak::new();
            Origin { chain: Chain::default(), open: OutgoingCall { links, id: LinkId(7, 1) } }
        }
        fn deadline(&self) -> Option<Instant> {
            None
        }
        fn awaits(&self, call: Option<LinkId>) {
            self.2.set(call);
        }
        fn lend(&self, bytes: usize) -> Result<(), Shortage> {
            if bytes < 100 { Ok(()) } else { Err(Shortage::Now) }
        }
    }

    fn scribe() -> Rc<Scribe> {
        let scribe = Rc::<Scribe>::default();
        set(Some(Rc::clone(&scribe) as Rc<dyn WorkerHooks>));
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
    fn within_a_wait_the_transaction_is_still_known() {
        let scribe = scribe();
        let id = LinkId(7, 1);
        let seen = blocking(|| {
            assert_eq!(origin().map(|origin| origin.open.id), Some(id));
            awaiting(Some(id), || scribe.2.get())
        });
        assert_eq!((seen, scribe.2.get()), (Some(id), None));
        assert_eq!(scribe.pauses_and_resumes(), (1, 1));
        assert_eq!(awaiting(Some(id), || scribe.2.get()), Some(id), "and in a wait of its own");
        assert_eq!(scribe.pauses_and_resumes(), (2, 2));
        set(None);
        assert!(origin().is_none());
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
