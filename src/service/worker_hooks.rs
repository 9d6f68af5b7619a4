//! Hooks from a handler to its worker: the permit is given back while the handler only waits (`blocking`), and the
//! handler's own calls know the transaction that they are made for.
//!
//! A permit means "runs now", and a worker's thread holds it. The hooks are found through the thread, so code far below
//! a handler (the client library too) needs no transaction at hand, and a call that never waits costs nothing.
//!
//! Invariant: [`PERMITTED`] has the hooks exactly while the permit is held. So a wait within a wait finds none and just
//! runs.
//!
//! Does not know the pool, nor how many permits there are and which workers have them.

#[cfg(feature = "server")]
use super::worker_values::PlaceValues;
#[cfg(feature = "server")]
use crate::sync::Arc;
use crate::sync::{Weak, thread_local};
use crate::wire::{Chain, DecodeMemory, EntryId, Shortage};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

/// The worker that runs a transaction, as the layers without threads see it. For use on its own thread only.
pub(crate) trait WorkerHooks {
    /// Gives the permit back, and with it the calls that wait for the running transaction to end. Does not block.
    fn pause(&self);
    /// Blocks until the worker has a permit again. Does not panic.
    fn resume(&self);
    /// Returns the chain for a call that the running transaction makes now.
    fn origin(&self) -> Origin;
    /// Returns the deadline of the running transaction.
    fn deadline(&self) -> Option<Instant>;
    /// Sets the call that the handler waits for; `None` once it no longer waits.
    fn awaits(&self, call: Option<EntryId>);
    /// Reserves more memory for the running transaction's arguments, until it ends.
    fn reserve(&self, bytes: usize) -> Result<(), Shortage>;
    /// Returns the values of the worker's place; `None` if it has none.
    #[cfg(feature = "server")]
    fn place_values(&self) -> Option<Arc<PlaceValues>>;
}

/// Memory for the arguments of the transaction that this thread runs; without a limit of its own where it runs none.
pub(crate) struct ArgumentMemory;

impl DecodeMemory for ArgumentMemory {
    fn take(&self, bytes: usize) -> Result<(), Shortage> {
        with_hooks(|hooks| hooks.reserve(bytes)).unwrap_or(Ok(()))
    }
}

/// Origin of a call that a handler makes.
#[derive(Debug)]
pub(crate) struct Origin {
    /// The calls that it is made for, and itself.
    pub(crate) chain: Chain,
    /// Its own entry in the table of outgoing calls.
    pub(crate) open: OutgoingCall,
}

/// Table of the calls that are out.
pub(crate) trait OutgoingCallTable: Send + Sync {
    /// Removes a call that is no longer waited for.
    fn close(&self, id: EntryId);
}

/// A call that is out. To be dropped when the call is no longer waited for, whatever the reason.
#[derive(Debug)]
pub(crate) struct OutgoingCall {
    pub(crate) table: Weak<dyn OutgoingCallTable>,
    pub(crate) id: EntryId,
}

impl Drop for OutgoingCall {
    fn drop(&mut self) {
        if let Some(table) = self.table.upgrade() {
            table.close(self.id);
        }
    }
}

thread_local! {
    /// Empty on threads that run no transactions, and while the permit is given back.
    static PERMITTED: Cell<Option<Rc<dyn WorkerHooks>>> = Cell::default();
    /// Empty on threads that run no transactions.
    static HERE: Cell<Option<Rc<dyn WorkerHooks>>> = Cell::default();
}

/// Sets the hooks of this thread's transactions; `None` once the thread runs no more.
pub(crate) fn set(hooks: Option<Rc<dyn WorkerHooks>>) {
    HERE.with(|here| here.set(hooks.clone()));
    PERMITTED.with(|here| here.set(hooks));
}

/// Calls `run` with the hooks, if this thread runs a transaction.
fn with_hooks<R>(run: impl FnOnce(&dyn WorkerHooks) -> R) -> Option<R> {
    // A thread that is being destroyed has lost its place: it runs no transaction.
    let hooks = HERE.try_with(Cell::take).ok()??;
    let result = run(hooks.as_ref());
    HERE.with(|here| here.set(Some(hooks)));
    Some(result)
}

/// Returns the origin of a call made now by this thread; `None` when no handler makes it.
pub(crate) fn origin() -> Option<Origin> {
    with_hooks(|hooks| hooks.origin())
}

/// Returns whether this thread runs a transaction.
pub(crate) fn is_here() -> bool {
    with_hooks(|_| ()).is_some()
}

/// Returns the deadline of the transaction that this thread runs.
pub(crate) fn deadline() -> Option<Instant> {
    with_hooks(|hooks| hooks.deadline())?
}

/// Returns the values of the place of the worker that this thread is; `None` if it is none or there are no values.
#[cfg(feature = "server")]
pub(crate) fn place_values() -> Option<Arc<PlaceValues>> {
    with_hooks(|hooks| hooks.place_values())?
}

/// As [`blocking`], while the handler waits for the answer to a call it made.
pub(crate) fn awaiting<R>(call: Option<EntryId>, wait: impl FnOnce() -> R) -> R {
    let Some(call) = call else { return blocking(wait) };
    // Within the pause: a handler that has its answer and waits for a permit no longer waits for the call.
    blocking(|| {
        let _awaiting = Awaiting::begin(call);
        wait()
    })
}

/// Marks the time in which the handler waits for a call. A panic ends it too.
struct Awaiting;

impl Awaiting {
    fn begin(call: EntryId) -> Awaiting {
        with_hooks(|hooks| hooks.awaits(Some(call)));
        Awaiting
    }
}

impl Drop for Awaiting {
    fn drop(&mut self) {
        with_hooks(|hooks| hooks.awaits(None));
    }
}

/// [`Transaction::blocking`](super::Transaction::blocking) for code that has no transaction at hand, such as a
/// database's driver. On a thread that runs no transaction it just runs `wait`.
pub fn blocking<R>(wait: impl FnOnce() -> R) -> R {
    let _pause = Pause::begin();
    wait()
}

/// Marks the time in which the permit is given back, if this thread had one. A panic ends it too.
struct Pause(Option<Rc<dyn WorkerHooks>>);

impl Pause {
    fn begin() -> Pause {
        // A thread that is being destroyed has lost its place: it runs no transaction.
        let hooks = PERMITTED.try_with(Cell::take).unwrap_or_default();
        if let Some(hooks) = &hooks {
            hooks.pause();
        }
        Pause(hooks)
    }
}

impl Drop for Pause {
    fn drop(&mut self) {
        if let Some(hooks) = self.0.take() {
            hooks.resume();
            PERMITTED.with(|here| here.set(Some(hooks)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

    /// Counts how often the permit is given back and taken again.
    #[derive(Default)]
    struct PermitCounts(Cell<u32>, Cell<u32>, Cell<Option<EntryId>>);

    impl PermitCounts {
        fn pauses_and_resumes(&self) -> (u32, u32) {
            (self.0.get(), self.1.get())
        }
    }

    struct NoTable;

    impl OutgoingCallTable for NoTable {
        fn close(&self, _: EntryId) {}
    }

    impl WorkerHooks for PermitCounts {
        fn pause(&self) {
            self.0.set(self.0.get() + 1);
        }
        fn resume(&self) {
            assert_eq!(self.2.get(), None, "a handler that waits for a permit waits for no call");
            self.1.set(self.1.get() + 1);
        }
        fn origin(&self) -> Origin {
            let table: Weak<NoTable> = Weak::new();
            Origin { chain: Chain::default(), open: OutgoingCall { table, id: EntryId(7, 1) } }
        }
        fn deadline(&self) -> Option<Instant> {
            None
        }
        fn awaits(&self, call: Option<EntryId>) {
            self.2.set(call);
        }
        fn reserve(&self, bytes: usize) -> Result<(), Shortage> {
            if bytes < 100 { Ok(()) } else { Err(Shortage::Now) }
        }
        #[cfg(feature = "server")]
        fn place_values(&self) -> Option<Arc<PlaceValues>> {
            None
        }
    }

    fn counts() -> Rc<PermitCounts> {
        let counts = Rc::<PermitCounts>::default();
        set(Some(Rc::clone(&counts) as Rc<dyn WorkerHooks>));
        counts
    }

    #[test]
    fn a_wait_within_a_wait_gives_the_permit_back_once() {
        let counts = counts();
        let inner = blocking(|| {
            assert_eq!(counts.pauses_and_resumes(), (1, 0));
            let inner = blocking(|| 7);
            assert_eq!(counts.pauses_and_resumes(), (1, 0), "the outer wait goes on");
            inner
        });
        assert_eq!((inner, counts.pauses_and_resumes()), (7, (1, 1)));
        blocking(|| ());
        assert_eq!(counts.pauses_and_resumes(), (2, 2), "and again");
    }

    #[test]
    fn a_panic_goes_on_with_the_permit_taken_again() {
        let counts = counts();
        let panic = || blocking(|| blocking(|| resume_unwind(Box::new("on purpose"))));
        assert!(catch_unwind(AssertUnwindSafe(panic)).is_err());
        assert_eq!(counts.pauses_and_resumes(), (1, 1));
        blocking(|| ());
        assert_eq!(counts.pauses_and_resumes(), (2, 2));
    }

    #[test]
    fn within_a_wait_the_transaction_is_still_known() {
        let counts = counts();
        let id = EntryId(7, 1);
        let seen = blocking(|| {
            assert_eq!(origin().map(|origin| origin.open.id), Some(id));
            awaiting(Some(id), || counts.2.get())
        });
        assert_eq!((seen, counts.2.get()), (Some(id), None));
        assert_eq!(counts.pauses_and_resumes(), (1, 1));
        assert_eq!(awaiting(Some(id), || counts.2.get()), Some(id), "and in a wait of its own");
        assert_eq!(counts.pauses_and_resumes(), (2, 2));
        set(None);
        assert!(origin().is_none());
    }

    #[test]
    fn on_a_thread_without_hooks_it_just_runs() {
        let counts = counts();
        assert_eq!(std::thread::scope(|scope| scope.spawn(|| blocking(|| 7)).join().unwrap()), 7);
        set(None);
        assert_eq!(blocking(|| 7), 7);
        assert_eq!((counts.pauses_and_resumes(), Rc::strong_count(&counts)), ((0, 0), 1));
    }
}
