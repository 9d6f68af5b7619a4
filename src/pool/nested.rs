//! Deadlock detection for nested calls: calls that handlers of this server made and that came back to it.
//!
//! A worker whose handler waits for a call is *stuck* if that call, or one made for it, waits in the queue of a pool
//! whose workers are all stuck, or in the line of a limited method of which as many calls run as may, all on stuck
//! workers. Then none of them will ever run it: a deadlock, however many servers lie between.
//!
//! Invariants: a deadlock that is reported is certain; not found are two pools of two servers that wait for each other
//! by calls of different chains, because neither server sees the other's half. A queued nested call leaves the list
//! exactly once, when it is answered: by its worker or by [`Nested::take_deadlocked`].
//!
//! Knows queued calls, waiting workers, and the chain entries that connect them (`outgoing_calls.rs`); no sockets, no
//! clock.
//! Costs nothing for calls that are not nested.

use super::burst::{ReplySink, Work};
use super::outgoing_calls::OutgoingCalls;
use crate::admission::{OwnCallers, ReceivedChain};
use crate::metrics::PortStats;
use crate::proto::Call;
use crate::sync::unordered::AtomicUsize;
use crate::sync::{Arc, Mutex, Ordering};
use crate::wire::{Chain, EntryId};
use std::time::Instant;

/// The nested calls of a server.
#[derive(Debug)]
pub(crate) struct Nested {
    /// The open entries of the calls that handlers make.
    pub(crate) outgoing: OutgoingCalls,
    /// Number of queued calls, to be read without the lock.
    count: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    queued: Vec<QueuedNested>,
    waits: Vec<Wait>,
}

/// A call made for a transaction of this server that waits for a worker.
#[derive(Clone)]
pub(crate) struct QueuedNested {
    /// The port in whose queue it is.
    pub(crate) port: usize,
    /// The method in whose line it is instead.
    pub(crate) line: Option<u16>,
    pub(crate) call: Call,
    pub(crate) chain: Arc<ReceivedChain>,
    pub(crate) sink: Arc<dyn ReplySink>,
    /// When it was read.
    pub(crate) received: Instant,
}

/// A worker whose handler waits for a call it made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Wait {
    port: usize,
    worker: usize,
    /// The method whose handler waits.
    method: u16,
    call: EntryId,
}

/// A limited method of which as many calls run as may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FullMethod {
    pub(super) method: u16,
    pub(super) running: usize,
}

/// Pools and lines that will run none of the calls that wait there, by number.
#[derive(Debug, Default, PartialEq, Eq)]
struct Stuck {
    ports: Vec<usize>,
    methods: Vec<u16>,
}

impl Stuck {
    fn holds(&self, queued: &QueuedNested) -> bool {
        queued.line.map_or_else(|| self.ports.contains(&queued.port), |method| self.methods.contains(&method))
    }
}

impl Wait {
    /// Returns whether the worker waits for the call with this chain, or for one it was made for.
    fn is_for(&self, chain: &ReceivedChain) -> bool {
        let mut entries = chain.entries.iter().enumerate();
        entries.any(|(at, entry)| chain.is_open(at) && entry.id() == self.call)
    }
}

impl Nested {
    /// For a server whose ports have pools of these sizes.
    pub(crate) fn new(pools: &[usize]) -> Nested {
        Nested { outgoing: OutgoingCalls::new(pools), count: AtomicUsize::new(0), state: Mutex::default() }
    }

    /// Admits a call with this chain: which of its entries are open, and which of them it counts against. `port` limits
    /// the entries to those of one port.
    pub(crate) fn enter(&self, chain: &Chain, port: Option<usize>, stats: &PortStats) -> OwnCallers {
        self.outgoing.enter(chain, port).unwrap_or_else(|found| {
            stats.nested_over.add(1);
            found
        })
    }

    /// Undoes [`Nested::enter`] for a call that is refused at once.
    pub(crate) fn refused(&self, chain: &ReceivedChain) {
        if let Some(by) = chain.by() {
            self.outgoing.undo(chain.entries[by].id());
        }
    }

    /// A call that was admitted waits no longer.
    fn leave(&self, chain: &ReceivedChain) {
        if let Some(by) = chain.by() {
            self.outgoing.leave(chain.entries[by].id());
        }
    }

    /// Registers a nested call. To be called before it is queued.
    pub(crate) fn queue(&self, queued: QueuedNested) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.state.lock().queued.push(queued);
    }

    /// A call is about to be put into the line of a limited method, or out of it (`None`).
    pub(super) fn set_line(&self, work: &Work, call: &Call, line: Option<u16>) {
        let Some(chain) = work.chain(call).filter(|_| call.is_nested()) else { return };
        let mut state = self.state.lock();
        let found = state.queued.iter_mut().find(|queued| Arc::ptr_eq(&queued.chain, chain));
        found.into_iter().for_each(|queued| queued.line = line);
    }

    /// A worker has taken this call. Returns false if it was answered already.
    pub(super) fn claims(&self, work: &Work, call: &Call) -> bool {
        let chain = work.chain(call).filter(|_| call.is_nested());
        chain.is_none_or(|chain| self.claim(chain))
    }

    /// As [`Nested::claims`], by the chain, which is not shared between calls.
    fn claim(&self, chain: &Arc<ReceivedChain>) -> bool {
        let mut state = self.state.lock();
        let found = state.queued.iter().position(|queued| Arc::ptr_eq(&queued.chain, chain));
        if let Some(at) = found {
            state.queued.swap_remove(at);
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
        drop(state);
        if found.is_some() {
            self.leave(chain);
        }
        found.is_some()
    }

    /// A worker's handler begins to wait for the reply to a call it made.
    pub(super) fn begin_wait(&self, port: usize, worker: usize, method: u16, call: EntryId) {
        self.state.lock().waits.push(Wait { port, worker, method, call });
    }

    /// That handler waits no longer.
    pub(super) fn end_wait(&self, port: usize, worker: usize) {
        self.state.lock().waits.retain(|wait| (wait.port, wait.worker) != (port, worker));
    }

    /// Workers of a port whose handlers wait for calls they made.
    pub(crate) fn in_calls(&self, port: usize) -> usize {
        self.state.lock().waits.iter().filter(|wait| wait.port == port).count()
    }

    pub(crate) fn any_queued(&self) -> bool {
        self.count.load(Ordering::Relaxed) > 0
    }

    /// Takes the innermost call of a deadlock from this port's list, to be refused; `None` when none of its calls is in
    /// a deadlock. `pools` are the sizes of all ports' pools, `full` the methods of which as many calls run as may.
    pub(super) fn take_deadlocked(
        &self,
        port: usize,
        pools: &[usize],
        full: &[FullMethod],
    ) -> Option<QueuedNested> {
        let mut state = self.state.lock();
        let stuck = state.stuck(pools, full);
        let is_deadlocked = |queued: &QueuedNested| {
            queued.port == port
                && stuck.holds(queued)
                && state.waits.iter().any(|wait| wait.is_for(&queued.chain))
        };
        let depth = |at: &usize| state.queued[*at].chain.depth();
        let victim =
            (0..state.queued.len()).filter(|at| is_deadlocked(&state.queued[*at])).max_by_key(depth)?;
        self.count.fetch_sub(1, Ordering::Relaxed);
        let victim = state.queued.swap_remove(victim);
        drop(state);
        self.leave(&victim.chain);
        Some(victim)
    }
}

impl State {
    /// Begins with the ports whose workers all wait and the full methods whose handlers all wait, and removes those
    /// with a worker whose call may be answered, until nothing changes.
    fn stuck(&self, pools: &[usize], full: &[FullMethod]) -> Stuck {
        let at_port = |port: usize| self.waits.iter().filter(move |wait| wait.port == port);
        let in_method = |method: u16| self.waits.iter().filter(move |wait| wait.method == method);
        let all_wait = |full: &&FullMethod| in_method(full.method).count() == full.running;
        let mut stuck = Stuck {
            ports: (0..pools.len()).filter(|port| at_port(*port).count() == pools[*port]).collect(),
            methods: full.iter().filter(all_wait).map(|full| full.method).collect(),
        };
        loop {
            let is_stuck = |wait: &Wait| {
                let mut held = self.queued.iter().filter(|queued| stuck.holds(queued));
                held.any(|queued| wait.is_for(&queued.chain))
            };
            let ports = stuck.ports.iter().copied().filter(|port| at_port(*port).all(is_stuck));
            let methods = stuck.methods.iter().copied().filter(|method| in_method(*method).all(is_stuck));
            let left = Stuck { ports: ports.collect(), methods: methods.collect() };
            if left == stuck {
                return left;
            }
            stuck = left;
        }
    }
}

impl std::fmt::Debug for QueuedNested {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QueuedNested")
            .field("port", &self.port)
            .field("chain", &self.chain)
            .finish_non_exhaustive()
    }
}

/// A pool in a deadlock.
#[derive(Debug, Clone, Copy)]
pub(super) struct DeadlockedPool<'a> {
    /// Name of its port.
    pub(super) port: &'a str,
    pub(super) workers: usize,
    /// Workers that are kept for nested calls.
    pub(super) kept: usize,
}

impl DeadlockedPool<'_> {
    /// Describes the deadlock: the chain of calls `path`, of `depth` nested calls, the pool, and the lines of the INI
    /// file that would have avoided it.
    pub(super) fn describe(&self, path: &str, depth: usize) -> String {
        let (DeadlockedPool { port, workers, .. }, advice) = (self, self.advice(depth));
        format!(
            "{path}: all {workers} workers of {port} wait for calls that wait for them; avoided by {advice}"
        )
    }

    /// The lines of the INI file that would have avoided the deadlock: a reserve that always leaves a worker for the
    /// innermost of `depth` calls nested in a transaction.
    fn advice(&self, depth: usize) -> String {
        let DeadlockedPool { port, workers, kept } = *self;
        // With one level, one worker that runs nothing else is enough: the calls it runs make no calls. With more, as
        // many transactions may begin as can have all their calls run at once.
        let reserve = if depth == 1 { 1 } else { workers - workers / (depth + 1) }.max(kept + 1);
        if reserve < workers {
            format!("Server_Nested_Reserve={reserve}")
        } else {
            // One transaction at a time, with a worker for each call within it.
            let reserve = depth.max(kept + 1);
            format!("{port}_Pool_Tasks={} with Server_Nested_Reserve={reserve}", reserve + 1)
        }
    }
}

/// Describes a deadlock in the line of a method: the chain of calls `path`, the method, and how it would have been
/// avoided.
pub(super) fn describe_line(path: &str, method: &str) -> String {
    format!(
        "{path}: all calls of {method} that may run wait for calls that wait for them; avoided by a higher limit of \
         {method} in [Limits], or none"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::null_sink::NullSink;
    use crate::wire::{ChainEntry, Codec};

    /// A call queued at `port` and made for these, outermost first.
    fn queued(port: usize, ids: &[EntryId]) -> QueuedNested {
        let entry =
            |id: &EntryId| ChainEntry { server: id.0, transaction: id.1, step: 1, name: "m".to_owned() };
        // An entry of another server between means nothing.
        let other = entry(&EntryId(5, 1));
        let entries: Vec<ChainEntry> = ids.iter().map(entry).chain([other]).collect();
        let found = OwnCallers { open: (1 << ids.len()) - 1, by: ids.len().checked_sub(1) };
        QueuedNested {
            port,
            line: None,
            call: Call::new(1, 1, Codec::Bincode, 0, None).chained(0, true),
            chain: Arc::new(ReceivedChain::new(Chain { entries }, found)),
            sink: Arc::new(NullSink::default()),
            received: Instant::now(),
        }
    }

    #[test]
    fn a_full_pool_that_waits_for_its_own_queue_is_a_deadlock() {
        let nested = Nested::new(&[]);
        nested.begin_wait(0, 0, 1, EntryId(10, 1));
        nested.begin_wait(0, 1, 1, EntryId(11, 3));
        nested.queue(queued(0, &[EntryId(10, 1)]));
        assert!(nested.take_deadlocked(0, &[2], &[]).is_none(), "worker 1 may get its reply");
        nested.queue(queued(0, &[EntryId(11, 2)]));
        assert!(nested.take_deadlocked(0, &[2], &[]).is_none(), "it waits for another of its calls");
        let inner = queued(0, &[EntryId(10, 1), EntryId(11, 3)]);
        nested.queue(inner.clone());
        assert!(nested.take_deadlocked(0, &[3], &[]).is_none(), "a third worker can run it");
        let victim = nested.take_deadlocked(0, &[2], &[]).unwrap();
        assert!(Arc::ptr_eq(&victim.chain, &inner.chain), "the innermost");
        assert!(!nested.claim(&inner.chain), "it is answered");
        nested.end_wait(0, 1);
        assert!(nested.take_deadlocked(0, &[2], &[]).is_none(), "its caller runs again");
        assert!(nested.any_queued());
    }

    #[test]
    fn two_pools_that_wait_for_each_other_are_a_deadlock() {
        let nested = Nested::new(&[]);
        nested.begin_wait(0, 0, 1, EntryId(10, 1));
        nested.begin_wait(1, 0, 1, EntryId(20, 1));
        nested.queue(queued(1, &[EntryId(10, 1)]));
        assert!(
            nested.take_deadlocked(0, &[1, 1], &[]).is_none(),
            "port 1's worker waits for nothing of this server"
        );
        let back = queued(0, &[EntryId(20, 1)]);
        nested.queue(back.clone());
        assert!(nested.take_deadlocked(0, &[1, 2], &[]).is_none(), "port 1 has another worker");
        assert!(
            nested
                .take_deadlocked(0, &[1, 1], &[])
                .is_some_and(|victim| Arc::ptr_eq(&victim.chain, &back.chain))
        );
        assert!(nested.take_deadlocked(1, &[1, 1], &[]).is_none(), "one refused call is enough");
    }

    #[test]
    fn a_full_method_whose_handlers_all_wait_for_its_own_line_is_a_deadlock() {
        const METHOD: u16 = 4;
        let (nested, full) = (Nested::new(&[]), [FullMethod { method: METHOD, running: 2 }]);
        nested.begin_wait(0, 0, METHOD, EntryId(10, 1));
        let in_line = QueuedNested { line: Some(METHOD), ..queued(0, &[EntryId(10, 1)]) };
        nested.queue(in_line.clone());
        assert!(nested.take_deadlocked(0, &[9], &full).is_none(), "the other handler runs");
        // Waits for a call in a queue whose pool has a free worker, then for one in the line.
        nested.begin_wait(1, 3, METHOD, EntryId(20, 1));
        let other = QueuedNested { line: None, ..queued(0, &[EntryId(20, 1)]) };
        nested.queue(other.clone());
        assert!(nested.take_deadlocked(0, &[9], &full).is_none(), "it can be run");
        assert!(nested.claim(&other.chain));
        nested.queue(QueuedNested { line: Some(METHOD), ..other });
        assert!(nested.take_deadlocked(0, &[9], &[]).is_none(), "there is a place");
        assert!(nested.take_deadlocked(1, &[9], &full).is_none(), "it is refused at its own port");
        assert!(nested.take_deadlocked(0, &[9], &full).is_some());
        assert!(nested.take_deadlocked(0, &[9], &full).is_none(), "one refused call is enough");
    }

    #[test]
    fn a_claimed_call_is_no_longer_queued() {
        let nested = Nested::new(&[]);
        let call = queued(0, &[EntryId(10, 1)]);
        nested.queue(call.clone());
        nested.begin_wait(0, 0, 1, EntryId(10, 1));
        assert!(nested.claim(&call.chain));
        assert!(!nested.any_queued() && nested.take_deadlocked(0, &[1], &[]).is_none());
    }

    #[test]
    fn the_advice_leaves_a_worker_for_the_innermost_call() {
        let advice = |workers, kept, depth| DeadlockedPool { port: "P", workers, kept }.advice(depth);
        assert_eq!(advice(4, 0, 1), "Server_Nested_Reserve=1");
        assert_eq!(advice(6, 0, 2), "Server_Nested_Reserve=4");
        assert_eq!(advice(2, 0, 2), "P_Pool_Tasks=3 with Server_Nested_Reserve=2");
        assert_eq!(advice(4, 1, 1), "Server_Nested_Reserve=2", "the reserve that is set was not enough");
        assert_eq!(advice(2, 1, 1), "P_Pool_Tasks=3 with Server_Nested_Reserve=2");
        assert_eq!(advice(1, 0, 1), "P_Pool_Tasks=2 with Server_Nested_Reserve=1");
    }
}
