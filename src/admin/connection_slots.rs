//! Slots of connections. When all are in use, a new connection displaces an idle one.
//!
//! Order of displacement: connections without full access first, then those of the client with the most slots, then the
//! one that has been idle longest, measured from its last complete request, so that single bytes do not count. A
//! connection with full access keeps its slot while its command runs. Therefore a connection that sends its request at
//! once is answered, regardless of the number of idle ones: /health needs that.
//!
//! It does not know sockets, HTTP or the clock.

use crate::service::ClientId;
use crate::sync::{Arc, Mutex};
use std::cmp::Reverse;
use std::time::Instant;
use tokio::sync::oneshot;

#[derive(Debug)]
pub(super) struct ConnectionSlots {
    max: usize,
    used: Mutex<UsedSlots>,
}

#[derive(Debug, Default)]
struct UsedSlots {
    last_id: u64,
    all: Vec<UsedSlot>,
}

#[derive(Debug)]
struct UsedSlot {
    id: u64,
    /// `None` at the Unix socket.
    client: Option<ClientId>,
    full_access: bool,
    /// `None` while a command of it runs.
    idle_since: Option<Instant>,
    /// Dropped when it is displaced.
    _alive: oneshot::Sender<()>,
}

/// A slot in use. Dropping it frees the slot.
#[derive(Debug)]
pub(super) struct ConnectionSlot {
    slots: Arc<ConnectionSlots>,
    id: u64,
}

/// A slot that a new connection occupies.
#[derive(Debug)]
pub(super) struct Occupied {
    pub(super) slot: ConnectionSlot,
    /// Closed when the connection is displaced.
    pub(super) displaced: oneshot::Receiver<()>,
    /// Whether another connection was displaced for it.
    pub(super) displaced_another: bool,
}

impl ConnectionSlots {
    pub(super) fn new(max: usize) -> Arc<ConnectionSlots> {
        Arc::new(ConnectionSlots { max, used: Mutex::default() })
    }

    /// Occupies a slot for a client; `None` if all slots have running commands.
    pub(super) fn occupy(
        self: &Arc<ConnectionSlots>,
        client: Option<ClientId>,
        now: Instant,
    ) -> Option<Occupied> {
        let mut used = self.used.lock();
        let displaced_another = used.all.len() >= self.max;
        if displaced_another {
            let first = used.first_to_displace()?;
            used.all.swap_remove(first);
        }
        used.last_id += 1;
        let ((alive, displaced), id) = (oneshot::channel(), used.last_id);
        used.all.push(UsedSlot { id, client, full_access: false, idle_since: Some(now), _alive: alive });
        Some(Occupied { slot: ConnectionSlot { slots: Arc::clone(self), id }, displaced, displaced_another })
    }
}

impl UsedSlots {
    fn first_to_displace(&self) -> Option<usize> {
        let held = |client| self.all.iter().filter(|entry| entry.client == client).count();
        let idle = self.all.iter().enumerate().filter_map(|(at, entry)| Some((at, entry, entry.idle_since?)));
        let order = |entry: &UsedSlot, since| (entry.full_access, Reverse(held(entry.client)), since);
        idle.min_by_key(|(_, entry, since)| order(entry, *since)).map(|(at, ..)| at)
    }
}

impl ConnectionSlot {
    fn change(&self, change: impl FnOnce(&mut UsedSlot)) {
        // A displaced connection has no entry any more.
        if let Some(entry) = self.slots.used.lock().all.iter_mut().find(|entry| entry.id == self.id) {
            change(entry);
        }
    }

    /// Marks it idle from now on: a complete request arrived, or was answered.
    pub(super) fn set_idle(&self, now: Instant) {
        self.change(|entry| entry.idle_since = Some(now));
    }

    /// Marks it busy until [`ConnectionSlot::set_idle`], because a command of it runs. Only for full access: otherwise
    /// read-only clients could occupy all slots permanently.
    pub(super) fn set_busy(&self) {
        self.change(|entry| entry.idle_since = None);
    }

    pub(super) fn set_full_access(&self) {
        self.change(|entry| entry.full_access = true);
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.slots.used.lock().all.retain(|entry| entry.id != self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// Occupies a slot `s` seconds after `start`, from this address.
    fn occupy(slots: &Arc<ConnectionSlots>, start: Instant, s: u64, last: u8) -> Option<Occupied> {
        let client = ClientId::of([10, 0, 0, last].into());
        slots.occupy(Some(client), start + Duration::from_secs(s))
    }

    fn is_displaced(occupied: &mut Occupied) -> bool {
        occupied.displaced.try_recv() == Err(oneshot::error::TryRecvError::Closed)
    }

    #[test]
    fn the_longest_idle_is_displaced_and_one_with_a_running_command_is_not() {
        let (slots, start) = (ConnectionSlots::new(3), Instant::now());
        let mut all: Vec<_> = (0..3).map(|s| occupy(&slots, start, s, 1).unwrap()).collect();
        assert!(all.iter_mut().all(|occupied| !occupied.displaced_another && !is_displaced(occupied)));
        all[0].slot.set_idle(start + Duration::from_secs(5));
        all[1].slot.set_busy();
        all.push(occupy(&slots, start, 6, 1).unwrap());
        assert!(all[3].displaced_another);
        assert_eq!(all.iter_mut().map(is_displaced).collect::<Vec<_>>(), [false, false, true, false]);
        all.push(occupy(&slots, start, 7, 1).unwrap());
        assert_eq!(all.iter_mut().map(is_displaced).collect::<Vec<_>>(), [true, false, true, false, false]);
        [3, 4].into_iter().for_each(|at: usize| all[at].slot.set_busy());
        assert!(occupy(&slots, start, 8, 1).is_none(), "each slot runs a command");
        all[1].slot.set_idle(start + Duration::from_secs(9));
        assert!(occupy(&slots, start, 10, 1).is_some_and(|occupied| occupied.displaced_another));
        drop(all);
        assert!(slots.used.lock().all.is_empty());
    }

    #[test]
    fn the_client_with_the_most_slots_is_displaced_first_and_full_access_last() {
        let (slots, start) = (ConnectionSlots::new(4), Instant::now());
        let mut lone = occupy(&slots, start, 0, 2).unwrap();
        let mut many: Vec<_> = (1..4).map(|s| occupy(&slots, start, s, 1).unwrap()).collect();
        many[0].slot.set_full_access();
        many.push(occupy(&slots, start, 9, 1).unwrap());
        assert_eq!(many.iter_mut().map(is_displaced).collect::<Vec<_>>(), [false, true, false, false]);
        many.push(occupy(&slots, start, 10, 1).unwrap());
        many.push(occupy(&slots, start, 11, 1).unwrap());
        assert!(!is_displaced(&mut lone) && !is_displaced(&mut many[0]));
    }
}
