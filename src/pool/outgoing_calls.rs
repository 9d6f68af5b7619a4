//! The links that are open: one for each call that a handler of this server makes, while that call is waited for.
//!
//! A link is 128 random bits, drawn for one call. Whoever is called can hand it on; what comes back with it is served
//! before others, and while the server stops. So a link opens nothing once its call has ended, nothing if anything of
//! it was changed, and no more than a handler can be expected to cause.
//!
//! Knows links and whose they are; knows no queue. Invariant: a link is here from before its call is sent until the
//! first of: its answer has come, its caller gives it up, its transaction ends.

use crate::admission::OwnCallers;
use crate::sync::Mutex;
use crate::wire::{Chain, ChainEntry, LinkId};
use std::collections::HashMap;

/// Calls that a transaction may have out with open links.
const OF_A_TRANSACTION_MAX: usize = 1024;

/// Calls that a link lets in altogether: a handler may be called back for each row of a large answer.
const CALLS_MAX: u32 = 65_536;

/// Of these, calls that wait for a worker at once.
const WAITING_MAX: u32 = 64;

/// Of all ports.
#[derive(Debug)]
pub(crate) struct OutgoingCalls(Mutex<Table>);

#[derive(Debug)]
struct Table {
    open: HashMap<LinkId, Open>,
    /// Those of each port's workers, for when a transaction ends.
    of: Vec<Vec<Vec<LinkId>>>,
}

#[derive(Debug)]
struct Open {
    link: ChainEntry,
    port: usize,
    worker: usize,
    let_in: u32,
    waiting: u32,
}

impl OutgoingCalls {
    /// For ports whose pools have these sizes.
    pub(super) fn new(pools: &[usize]) -> OutgoingCalls {
        let of = pools.iter().map(|workers| vec![Vec::new(); *workers]).collect();
        OutgoingCalls(Mutex::new(Table { open: HashMap::new(), of }))
    }

    /// A new link for a call of a worker's transaction, with random bits for its numbers. To be opened before the call
    /// is sent. Where it is not open the call is one like a client's.
    pub(super) fn open(&self, (port, worker): (usize, usize), step: u32, name: String) -> (ChainEntry, bool) {
        let mut bits = [[0; 8]; 2];
        let drawn = getrandom::fill(bits.as_flattened_mut()).is_ok();
        let [server, transaction] = bits.map(u64::from_le_bytes);
        let link = ChainEntry { server, transaction, step, name };
        (link.clone(), drawn && self.insert(link, (port, worker)))
    }

    fn insert(&self, link: ChainEntry, (port, worker): (usize, usize)) -> bool {
        let mut table = self.0.lock();
        let of = &mut table.of[port][worker];
        let room = of.len() < OF_A_TRANSACTION_MAX;
        if room {
            of.push(link.id());
            table.open.insert(link.id(), Open { link, port, worker, let_in: 0, waiting: 0 });
        }
        room
    }

    /// The call of a link is not waited for any more.
    pub(crate) fn close(&self, id: LinkId) {
        let mut table = self.0.lock();
        if let Some(Open { port, worker, .. }) = table.open.remove(&id) {
            table.of[port][worker].retain(|other| *other != id);
        }
    }

    /// The transaction that a worker runs has ended.
    pub(super) fn close_all(&self, port: usize, worker: usize) {
        let table = &mut *self.0.lock();
        for id in table.of[port][worker].drain(..) {
            table.open.remove(&id);
        }
    }

    /// A call comes with this chain, which may be nested in the transactions of this port, or of any: what opens it.
    /// `Err` if there is a link for it that has let in as many as it may.
    pub(super) fn enter(&self, chain: &Chain, port: Option<usize>) -> Result<OwnCallers, OwnCallers> {
        let mut table = self.0.lock();
        let (mut found, mut meant) = (OwnCallers::default(), false);
        for (at, link) in chain.links.iter().enumerate() {
            if let Some(open) = table.open.get(&link.id()).filter(|open| open.link == *link) {
                found.open |= 1 << at;
                found.by = Some(at);
                meant |= port.is_none_or(|port| port == open.port);
            }
        }
        // The innermost: the others are its callers'.
        let by = found.by.take().filter(|_| meant);
        let Some(open) = by.and_then(|at| table.open.get_mut(&chain.links[at].id())) else {
            return Ok(found);
        };
        if open.let_in == CALLS_MAX || open.waiting == WAITING_MAX {
            return Err(found);
        }
        open.let_in += 1;
        open.waiting += 1;
        Ok(OwnCallers { by, ..found })
    }

    /// A call that this link has let in waits no longer.
    pub(super) fn leave(&self, id: LinkId) {
        if let Some(open) = self.0.lock().open.get_mut(&id) {
            open.waiting = open.waiting.saturating_sub(1);
        }
    }

    /// A call that this link has let in was refused at once: it does not count.
    pub(super) fn undo(&self, id: LinkId) {
        if let Some(open) = self.0.lock().open.get_mut(&id) {
            open.waiting = open.waiting.saturating_sub(1);
            open.let_in = open.let_in.saturating_sub(1);
        }
    }

    /// How many are open.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        let table = self.0.lock();
        assert_eq!(table.of.iter().flatten().map(Vec::len).sum::<usize>(), table.open.len());
        table.open.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links() -> OutgoingCalls {
        OutgoingCalls::new(&[2, 1])
    }

    fn open(links: &OutgoingCalls, place: (usize, usize)) -> ChainEntry {
        let (link, open) = links.open(place, 3, "P a.b".to_owned());
        assert!(open);
        link
    }

    fn chain(links: &[&ChainEntry]) -> Chain {
        Chain { links: links.iter().copied().cloned().collect() }
    }

    #[test]
    fn a_link_lets_calls_in_while_its_call_is_waited_for() {
        let links = links();
        let (outer, inner) = (open(&links, (0, 1)), open(&links, (1, 0)));
        let foreign = ChainEntry { server: 7, ..outer.clone() };
        let found = links.enter(&chain(&[&outer, &foreign, &inner, &foreign]), None);
        assert_eq!(found, Ok(OwnCallers { open: 0b0101, by: Some(2) }));
        assert_eq!(links.enter(&chain(&[&outer]), Some(0)), Ok(OwnCallers { open: 1, by: Some(0) }));
        assert_eq!(
            links.enter(&chain(&[&outer]), Some(1)),
            Ok(OwnCallers { open: 1, by: None }),
            "another port's"
        );
        links.close(inner.id());
        let found = links.enter(&chain(&[&outer, &inner]), None);
        assert_eq!(found, Ok(OwnCallers { open: 1, by: Some(0) }), "its caller is waited for still");
        links.close_all(0, 1);
        assert_eq!(links.enter(&chain(&[&outer, &inner]), None), Ok(OwnCallers::default()));
        assert_eq!(links.len(), 0);
        links.close(outer.id());
        links.leave(outer.id());
        links.undo(outer.id());
    }

    #[test]
    fn what_is_not_quite_a_link_lets_nothing_in() {
        let links = links();
        let link = open(&links, (0, 0));
        for change in [
            |link: &mut ChainEntry| link.server ^= 1,
            |link: &mut ChainEntry| link.transaction ^= 1 << 63,
            |link: &mut ChainEntry| link.step += 1,
            |link: &mut ChainEntry| link.name.push('x'),
            |link: &mut ChainEntry| std::mem::swap(&mut link.server, &mut link.transaction),
        ] {
            let mut other = link.clone();
            change(&mut other);
            assert_eq!(links.enter(&chain(&[&other]), None), Ok(OwnCallers::default()), "{other:?}");
        }
        assert_ne!(link.id(), open(&links, (0, 0)).id(), "each is new");
    }

    #[test]
    fn a_link_lets_in_so_many_at_once_and_so_many_in_all() {
        let links = links();
        let link = open(&links, (0, 0));
        let let_in = || links.enter(&chain(&[&link]), None).is_ok_and(|found| found.by.is_some());
        assert_eq!((0..1000).filter(|_| let_in()).count(), WAITING_MAX as usize);
        let mut all = WAITING_MAX;
        for _ in 0..2 * CALLS_MAX {
            links.undo(link.id());
            assert!(let_in(), "those that were refused do not count");
        }
        for _ in 0..2 * CALLS_MAX {
            links.leave(link.id());
            all += u32::from(let_in());
        }
        assert_eq!(all, CALLS_MAX);
        let opened = (0..2 * OF_A_TRANSACTION_MAX).filter(|_| links.open((0, 0), 1, String::new()).1).count();
        assert_eq!(opened, OF_A_TRANSACTION_MAX - 1);
        assert!(links.open((0, 1), 1, String::new()).1, "another transaction's");
        links.close_all(0, 0);
        assert_eq!(links.len(), 1);
    }
}
