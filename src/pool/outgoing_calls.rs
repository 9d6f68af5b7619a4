//! Table of the outgoing calls of handlers: one open entry for each, while its reply is awaited.
//!
//! An entry is 128 random bits, drawn for one call. The called service can pass it on; calls that come back with it are
//! served before others, and while the server stops. So an entry opens nothing once its call has ended, nothing if any
//! part of it was changed, and no more calls than a handler can be expected to cause.
//!
//! Invariant: an entry is in the table from before its call is sent until the first of: its reply has come, its caller
//! stops waiting (deadline, cancel, drop), its transaction ends.
//!
//! Knows entries and the workers they belong to, but no queue.

use crate::admission::OwnCallers;
use crate::sync::Mutex;
use crate::wire::{Chain, ChainEntry, EntryId};
use std::collections::HashMap;

/// Outgoing calls of a transaction that may have open entries at once.
const ENTRIES_PER_TRANSACTION_MAX: usize = 1024;

/// Calls that an entry admits in all: a handler may be called back for each row of a large reply.
const CALLS_MAX: u32 = 65_536;

/// Calls that an entry admits to wait for a worker at once.
const WAITING_MAX: u32 = 64;

/// The open entries of all ports.
#[derive(Debug)]
pub(crate) struct OutgoingCalls(Mutex<Table>);

#[derive(Debug)]
struct Table {
    open: HashMap<EntryId, Open>,
    /// The entries of each port's workers, to be closed when a transaction ends.
    by_worker: Vec<Vec<Vec<EntryId>>>,
}

#[derive(Debug)]
struct Open {
    entry: ChainEntry,
    port: usize,
    worker: usize,
    admitted: u32,
    waiting: u32,
}

impl OutgoingCalls {
    /// For ports whose pools have these sizes.
    pub(super) fn new(pools: &[usize]) -> OutgoingCalls {
        let by_worker = pools.iter().map(|workers| vec![Vec::new(); *workers]).collect();
        OutgoingCalls(Mutex::new(Table { open: HashMap::new(), by_worker }))
    }

    /// Makes an entry for a call of a worker's transaction, with random bits for its numbers, before the call is sent.
    /// Returns it and whether it is open; without an open entry the call is served like a client's.
    pub(super) fn open(&self, port: usize, worker: usize, step: u32, name: String) -> (ChainEntry, bool) {
        let mut bits = [[0; 8]; 2];
        let drawn = getrandom::fill(bits.as_flattened_mut()).is_ok();
        let [server, transaction] = bits.map(u64::from_le_bytes);
        let entry = ChainEntry { server, transaction, step, name };
        (entry.clone(), drawn && self.insert(entry, port, worker))
    }

    fn insert(&self, entry: ChainEntry, port: usize, worker: usize) -> bool {
        let mut table = self.0.lock();
        let of_worker = &mut table.by_worker[port][worker];
        let room = of_worker.len() < ENTRIES_PER_TRANSACTION_MAX;
        if room {
            of_worker.push(entry.id());
            table.open.insert(entry.id(), Open { entry, port, worker, admitted: 0, waiting: 0 });
        }
        room
    }

    /// The call of an entry is no longer waited for.
    pub(crate) fn close(&self, id: EntryId) {
        let mut table = self.0.lock();
        if let Some(Open { port, worker, .. }) = table.open.remove(&id) {
            table.by_worker[port][worker].retain(|other| *other != id);
        }
    }

    /// The transaction that a worker runs has ended: closes its entries.
    pub(super) fn close_all(&self, port: usize, worker: usize) {
        let table = &mut *self.0.lock();
        for id in table.by_worker[port][worker].drain(..) {
            table.open.remove(&id);
        }
    }

    /// Admits a call with this chain, nested in the transactions of `port`, or of any port: which entries are open, and
    /// which one it counts against. `Err` if that entry has admitted as many calls as it may.
    pub(super) fn enter(&self, chain: &Chain, port: Option<usize>) -> Result<OwnCallers, OwnCallers> {
        let mut table = self.0.lock();
        let (mut found, mut meant) = (OwnCallers::default(), false);
        for (at, entry) in chain.entries.iter().enumerate() {
            if let Some(open) = table.open.get(&entry.id()).filter(|open| open.entry == *entry) {
                found.open |= 1 << at;
                found.by = Some(at);
                meant |= port.is_none_or(|port| port == open.port);
            }
        }
        // The innermost: the others belong to its callers.
        let by = found.by.take().filter(|_| meant);
        let Some(open) = by.and_then(|at| table.open.get_mut(&chain.entries[at].id())) else {
            return Ok(found);
        };
        if open.admitted == CALLS_MAX || open.waiting == WAITING_MAX {
            return Err(found);
        }
        open.admitted += 1;
        open.waiting += 1;
        Ok(OwnCallers { by, ..found })
    }

    /// A call that this entry has admitted waits no longer.
    pub(super) fn leave(&self, id: EntryId) {
        if let Some(open) = self.0.lock().open.get_mut(&id) {
            open.waiting = open.waiting.saturating_sub(1);
        }
    }

    /// A call that this entry has admitted was refused at once: it does not count.
    pub(super) fn undo(&self, id: EntryId) {
        if let Some(open) = self.0.lock().open.get_mut(&id) {
            open.waiting = open.waiting.saturating_sub(1);
            open.admitted = open.admitted.saturating_sub(1);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        let table = self.0.lock();
        assert_eq!(table.by_worker.iter().flatten().map(Vec::len).sum::<usize>(), table.open.len());
        table.open.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outgoing() -> OutgoingCalls {
        OutgoingCalls::new(&[2, 1])
    }

    fn open(outgoing: &OutgoingCalls, port: usize, worker: usize) -> ChainEntry {
        let (entry, open) = outgoing.open(port, worker, 3, "P a.b".to_owned());
        assert!(open);
        entry
    }

    fn chain(entries: &[&ChainEntry]) -> Chain {
        Chain { entries: entries.iter().copied().cloned().collect() }
    }

    #[test]
    fn an_entry_admits_calls_while_its_call_is_waited_for() {
        let outgoing = outgoing();
        let (outer, inner) = (open(&outgoing, 0, 1), open(&outgoing, 1, 0));
        let foreign = ChainEntry { server: 7, ..outer.clone() };
        let found = outgoing.enter(&chain(&[&outer, &foreign, &inner, &foreign]), None);
        assert_eq!(found, Ok(OwnCallers { open: 0b0101, by: Some(2) }));
        assert_eq!(outgoing.enter(&chain(&[&outer]), Some(0)), Ok(OwnCallers { open: 1, by: Some(0) }));
        assert_eq!(
            outgoing.enter(&chain(&[&outer]), Some(1)),
            Ok(OwnCallers { open: 1, by: None }),
            "another port's"
        );
        outgoing.close(inner.id());
        let found = outgoing.enter(&chain(&[&outer, &inner]), None);
        assert_eq!(found, Ok(OwnCallers { open: 1, by: Some(0) }), "its caller is still waited for");
        outgoing.close_all(0, 1);
        assert_eq!(outgoing.enter(&chain(&[&outer, &inner]), None), Ok(OwnCallers::default()));
        assert_eq!(outgoing.len(), 0);
        outgoing.close(outer.id());
        outgoing.leave(outer.id());
        outgoing.undo(outer.id());
    }

    #[test]
    fn a_changed_entry_admits_nothing() {
        let outgoing = outgoing();
        let entry = open(&outgoing, 0, 0);
        for change in [
            |entry: &mut ChainEntry| entry.server ^= 1,
            |entry: &mut ChainEntry| entry.transaction ^= 1 << 63,
            |entry: &mut ChainEntry| entry.step += 1,
            |entry: &mut ChainEntry| entry.name.push('x'),
            |entry: &mut ChainEntry| std::mem::swap(&mut entry.server, &mut entry.transaction),
        ] {
            let mut other = entry.clone();
            change(&mut other);
            assert_eq!(outgoing.enter(&chain(&[&other]), None), Ok(OwnCallers::default()), "{other:?}");
        }
        assert_ne!(entry.id(), open(&outgoing, 0, 0).id(), "each is new");
    }

    #[test]
    fn an_entry_admits_a_limited_number_of_calls_at_once_and_in_all() {
        let outgoing = outgoing();
        let entry = open(&outgoing, 0, 0);
        let admits = || outgoing.enter(&chain(&[&entry]), None).is_ok_and(|found| found.by.is_some());
        assert_eq!((0..1000).filter(|_| admits()).count(), WAITING_MAX as usize);
        let mut all = WAITING_MAX;
        for _ in 0..2 * CALLS_MAX {
            outgoing.undo(entry.id());
            assert!(admits(), "refused calls do not count");
        }
        for _ in 0..2 * CALLS_MAX {
            outgoing.leave(entry.id());
            all += u32::from(admits());
        }
        assert_eq!(all, CALLS_MAX);
        let opened =
            (0..2 * ENTRIES_PER_TRANSACTION_MAX).filter(|_| outgoing.open(0, 0, 1, String::new()).1).count();
        assert_eq!(opened, ENTRIES_PER_TRANSACTION_MAX - 1);
        assert!(outgoing.open(0, 1, 1, String::new()).1, "another transaction's");
        outgoing.close_all(0, 0);
        assert_eq!(outgoing.len(), 1);
    }
}
