//! Calls that handlers of this server made and that came back to it: which of them can never be answered.
//!
//! A worker whose handler waits for a call is *stuck* if that call, or one made for it, waits in the queue of a pool
//! whose workers are all stuck. Then none of them will ever run it: a deadlock, however many servers lie between. What
//! is found is certain; two pools of two servers that wait for one another by calls of different chains are not found,
//! because neither server sees the other's half.
//!
//! Knows queued calls and waiting workers, and which transactions make calls; knows no socket and no clock. Costs
//! nothing to calls that are not nested.
//!
//! Invariant: a queued nested call leaves this list exactly once, by whoever answers it: its worker or
//! [`Nested::break_deadlock`].

use super::{Outlet, Work};
use crate::port::Call;
use crate::service::host::Ticket;
use crate::sync::unordered::AtomicUsize;
use crate::sync::{Arc, AtomicU64, Mutex, Ordering};
use crate::wire::Chain;
use std::time::Instant;

/// The nested calls of a server.
#[derive(Debug)]
pub(crate) struct Nested {
    /// What the server calls itself in chains.
    server: u64,
    /// Of each port's workers: the transaction it runs, from the first call that this makes to its end; else 0.
    callers: Vec<Vec<AtomicU64>>,
    /// How many calls are queued; so that nobody takes the lock for nothing.
    count: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    queued: Vec<Queued>,
    waits: Vec<Wait>,
}

/// A call that waits for a worker, made for a transaction of this server.
#[derive(Clone)]
pub(crate) struct Queued {
    /// The port in whose queue it is.
    pub(crate) port: usize,
    pub(crate) call: Call,
    pub(crate) chain: Arc<Chain>,
    pub(crate) outlet: Arc<dyn Outlet>,
    /// When it was read.
    pub(crate) since: Instant,
}

/// A worker whose handler waits for a call it made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Wait {
    port: usize,
    worker: usize,
    call: Ticket,
}

impl Wait {
    /// Does the worker wait for this call, or for one it was made for?
    fn is_for(&self, server: u64, chain: &Chain) -> bool {
        let Ticket { transaction, step } = self.call;
        chain
            .links
            .iter()
            .any(|link| (link.server, link.transaction, link.step) == (server, transaction, step))
    }
}

impl Nested {
    /// For a server of this number, never 0, whose ports have pools of these sizes.
    pub(crate) fn new(server: u64, pools: &[usize]) -> Nested {
        let callers =
            pools.iter().map(|workers| (0..*workers).map(|_| AtomicU64::new(0)).collect()).collect();
        Nested { server, callers, count: AtomicUsize::new(0), state: Mutex::default() }
    }

    /// The server's number in chains.
    pub(crate) fn server(&self) -> u64 {
        self.server
    }

    /// The transaction that a worker runs makes a call. Before that is sent: who reads it finds the transaction.
    pub(super) fn calls(&self, port: usize, worker: usize, transaction: u64) {
        self.callers[port][worker].store(transaction, Ordering::Release);
    }

    /// The transaction that a worker runs, and that has made calls, has ended.
    pub(super) fn ended(&self, port: usize, worker: usize) {
        self.callers[port][worker].store(0, Ordering::Release);
    }

    /// Was a call with this chain made for a transaction that runs here still: at this port, or at any? A chain whose
    /// transactions have ended is as good as none: nobody here waits for what comes of it.
    pub(crate) fn is_nested(&self, chain: &Chain, port: Option<usize>) -> bool {
        let runs = |transaction| {
            let (at, worker) = place(transaction);
            let caller = self.callers.get(at).and_then(|workers| workers.get(worker));
            let meant = transaction != 0 && port.is_none_or(|port| port == at);
            meant && caller.is_some_and(|caller| caller.load(Ordering::Acquire) == transaction)
        };
        chain.links.iter().any(|link| link.server == self.server && runs(link.transaction))
    }

    /// How many of this server's transactions wait for a call with this chain.
    pub(super) fn depth(&self, chain: &Chain) -> usize {
        chain.links.iter().filter(|link| link.server == self.server).count()
    }

    /// To be called before a nested call is queued.
    pub(crate) fn queue(&self, queued: Queued) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.state.lock().queued.push(queued);
    }

    /// A worker has taken this call. False: it is answered already.
    pub(super) fn claims(&self, work: &Work, call: &Call) -> bool {
        let chain = work.chain(call).filter(|_| call.is_nested());
        chain.is_none_or(|chain| self.claim(chain))
    }

    /// The same by the chain, of which each call has its own.
    fn claim(&self, chain: &Arc<Chain>) -> bool {
        let mut state = self.state.lock();
        let found = state.queued.iter().position(|queued| Arc::ptr_eq(&queued.chain, chain));
        if let Some(at) = found {
            state.queued.swap_remove(at);
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
        found.is_some()
    }

    /// A worker's handler waits for the answer to a call it made.
    pub(super) fn wait(&self, port: usize, worker: usize, call: Ticket) {
        self.state.lock().waits.push(Wait { port, worker, call });
    }

    /// It waits no longer.
    pub(super) fn go_on(&self, port: usize, worker: usize) {
        self.state.lock().waits.retain(|wait| (wait.port, wait.worker) != (port, worker));
    }

    /// Does a nested call wait for a worker?
    pub(crate) fn any_queued(&self) -> bool {
        self.count.load(Ordering::Relaxed) > 0
    }

    /// Takes the innermost call in a deadlock from this port's queue, for its caller to be told; `None` when the port
    /// is in no deadlock. `pools` are the sizes of all ports' pools.
    pub(crate) fn break_deadlock(&self, port: usize, pools: &[usize]) -> Option<Queued> {
        let mut state = self.state.lock();
        if !state.stuck_ports(self.server, pools).contains(&port) {
            return None;
        }
        let is_in_it = |queued: &Queued| {
            queued.port == port && state.waits.iter().any(|wait| wait.is_for(self.server, &queued.chain))
        };
        let depth = |at: &usize| self.depth(&state.queued[*at].chain);
        let victim = (0..state.queued.len()).filter(|at| is_in_it(&state.queued[*at])).max_by_key(depth)?;
        self.count.fetch_sub(1, Ordering::Relaxed);
        Some(state.queued.swap_remove(victim))
    }
}

/// Transactions of a worker before their numbers come again: weeks of doing nothing else.
const NUMBERS: u64 = 1 << 40;

/// A transaction's number in chains: the `number`th of its worker. There is a place for each port and worker that can
/// be.
pub(super) fn transaction(port: usize, worker: usize, number: u64) -> u64 {
    (port as u64) << 56 | (worker as u64) << 40 | (number % NUMBERS)
}

/// The port and the worker of a transaction. Of one that somebody made up, any.
fn place(transaction: u64) -> (usize, usize) {
    ((transaction >> 56) as usize, (transaction >> 40) as usize & 0xFFFF)
}

impl State {
    /// The ports whose workers are all stuck: first all whose workers all wait, then without those that have a worker
    /// that somebody will answer, until only the stuck are left.
    fn stuck_ports(&self, server: u64, pools: &[usize]) -> Vec<usize> {
        let waits = |port: usize| self.waits.iter().filter(move |wait| wait.port == port);
        let mut ports: Vec<usize> =
            (0..pools.len()).filter(|port| waits(*port).count() == pools[*port]).collect();
        loop {
            let is_stuck = |wait: &Wait| {
                let mut queued = self.queued.iter().filter(|queued| ports.contains(&queued.port));
                queued.any(|queued| wait.is_for(server, &queued.chain))
            };
            let left: Vec<usize> = ports.iter().copied().filter(|port| waits(*port).all(is_stuck)).collect();
            if left.len() == ports.len() {
                return left;
            }
            ports = left;
        }
    }
}

impl std::fmt::Debug for Queued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queued").field("port", &self.port).field("chain", &self.chain).finish_non_exhaustive()
    }
}

/// What the caller in a deadlock is told: the chain of calls, the pool, and the lines that would have avoided it.
/// `kept` workers of the pool are kept for such calls already.
pub(super) fn deadlock_in_words(
    path: &str,
    (port, workers, kept): (&str, usize, usize),
    depth: usize,
) -> String {
    let advice = advice(port, workers, kept, depth);
    format!("{path}: all {workers} workers of {port} wait for calls that wait for them; avoided by {advice}")
}

/// The lines of the INI file that would have avoided a deadlock at a port: a reserve that always leaves a worker for
/// the innermost of `depth` calls nested in a transaction.
fn advice(port: &str, workers: usize, kept: usize, depth: usize) -> String {
    // With one level, one worker that runs nothing else is enough: what it runs waits for nobody. With more, as many
    // transactions may begin as can have all their calls run at once.
    let reserve = if depth == 1 { 1 } else { workers - workers / (depth + 1) }.max(kept + 1);
    if reserve < workers {
        format!("Server_Nested_Reserve={reserve}")
    } else {
        // One transaction at a time, with a worker for each call within it.
        let reserve = depth.max(kept + 1);
        format!("{port}_Pool_Tasks={} with Server_Nested_Reserve={reserve}", reserve + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::super::stand_in::StandIn;
    use super::*;
    use crate::wire::{Codec, Link};

    const SERVER: u64 = 9;

    /// A call queued at `port` for these (transaction, step), outermost first.
    fn queued(port: usize, links: &[(u64, u32)]) -> Queued {
        let link = |&(transaction, step): &(u64, u32)| Link {
            server: SERVER,
            transaction,
            step,
            name: format!("m{transaction}"),
        };
        // A link of another server between means nothing.
        let other = Link { server: 5, transaction: 1, step: 1, name: "other".to_owned() };
        let chain = Arc::new(Chain { links: links.iter().map(link).chain([other]).collect() });
        Queued {
            port,
            call: Call::new(1, 1, Codec::Bincode, 0, None).chained(0, true),
            chain,
            outlet: Arc::new(StandIn::default()),
            since: Instant::now(),
        }
    }

    #[test]
    fn a_full_pool_that_waits_for_its_own_queue_is_a_deadlock() {
        let nested = Nested::new(SERVER, &[]);
        nested.wait(0, 0, Ticket { transaction: 10, step: 1 });
        nested.wait(0, 1, Ticket { transaction: 11, step: 3 });
        nested.queue(queued(0, &[(10, 1)]));
        assert!(nested.break_deadlock(0, &[2]).is_none(), "worker 1 may be answered");
        nested.queue(queued(0, &[(11, 2)]));
        assert!(nested.break_deadlock(0, &[2]).is_none(), "it waits for another of its calls");
        let inner = queued(0, &[(10, 1), (11, 3)]);
        nested.queue(inner.clone());
        assert!(nested.break_deadlock(0, &[3]).is_none(), "a third worker can run it");
        let victim = nested.break_deadlock(0, &[2]).unwrap();
        assert!(Arc::ptr_eq(&victim.chain, &inner.chain), "the innermost");
        assert!(!nested.claim(&inner.chain), "it is answered");
        nested.go_on(0, 1);
        assert!(nested.break_deadlock(0, &[2]).is_none(), "its caller goes on");
        assert!(nested.any_queued());
    }

    #[test]
    fn two_pools_that_wait_for_each_other_are_a_deadlock() {
        let nested = Nested::new(SERVER, &[]);
        nested.wait(0, 0, Ticket { transaction: 10, step: 1 });
        nested.wait(1, 0, Ticket { transaction: 20, step: 1 });
        nested.queue(queued(1, &[(10, 1)]));
        assert!(
            nested.break_deadlock(0, &[1, 1]).is_none(),
            "port 1's worker waits for nothing of this server"
        );
        let back = queued(0, &[(20, 1)]);
        nested.queue(back.clone());
        assert!(nested.break_deadlock(0, &[1, 2]).is_none(), "port 1 has another worker");
        assert!(
            nested.break_deadlock(0, &[1, 1]).is_some_and(|victim| Arc::ptr_eq(&victim.chain, &back.chain))
        );
        assert!(nested.break_deadlock(1, &[1, 1]).is_none(), "once is enough");
    }

    #[test]
    fn a_claimed_call_is_no_longer_queued() {
        let nested = Nested::new(SERVER, &[]);
        let call = queued(0, &[(10, 1)]);
        nested.queue(call.clone());
        nested.wait(0, 0, Ticket { transaction: 10, step: 1 });
        assert!(nested.claim(&call.chain));
        assert!(!nested.any_queued() && nested.break_deadlock(0, &[1]).is_none());
    }

    #[test]
    fn a_call_is_nested_while_its_transaction_runs() {
        let (nested, mine) = (Nested::new(SERVER, &[1, 2]), transaction(1, 1, 7));
        let is_nested = |transaction, port| nested.is_nested(&queued(0, &[(transaction, 1)]).chain, port);
        assert!(!is_nested(mine, None), "it has not called yet");
        nested.calls(1, 1, mine);
        assert!(is_nested(mine, None) && is_nested(mine, Some(1)) && !is_nested(mine, Some(0)));
        assert!(!is_nested(transaction(1, 1, 6), None), "the one before it has ended");
        for strange in [0, u64::MAX, transaction(1, 0, 7), transaction(1, 2, 7), transaction(2, 1, 7)] {
            assert!(!is_nested(strange, None), "{strange:#x}");
        }
        let other = Nested::new(5 + SERVER, &[1, 2]);
        other.calls(1, 1, mine);
        assert!(
            !other.is_nested(&queued(0, &[(mine, 1)]).chain, None),
            "a link of this server means nothing there"
        );
        nested.ended(1, 1);
        assert!(!is_nested(mine, None));
        let late = transaction(1, 0, NUMBERS + 7);
        nested.calls(1, 0, late);
        assert!(is_nested(late, None), "however many ran before");
    }

    #[test]
    fn the_advice_leaves_a_worker_for_the_innermost_call() {
        assert_eq!(advice("P", 4, 0, 1), "Server_Nested_Reserve=1");
        assert_eq!(advice("P", 6, 0, 2), "Server_Nested_Reserve=4");
        assert_eq!(advice("P", 2, 0, 2), "P_Pool_Tasks=3 with Server_Nested_Reserve=2");
        assert_eq!(advice("P", 4, 1, 1), "Server_Nested_Reserve=2", "what is set was not enough");
        assert_eq!(advice("P", 2, 1, 1), "P_Pool_Tasks=3 with Server_Nested_Reserve=2");
        assert_eq!(advice("P", 1, 0, 1), "P_Pool_Tasks=2 with Server_Nested_Reserve=1");
    }
}
