//! Places of connections. When all are taken, a silent connection makes room for a new one.
//!
//! Which one: one that has not shown a right to command before one that has, then one of the client with the most
//! places, then the one that has been silent the longest, measured from its last whole request, so that a byte now and
//! then is silence too. One that may command keeps its place while its command runs. So whoever asks at once is
//! answered, however many say nothing: that is what /health needs.
//!
//! Knows neither sockets nor HTTP, and the time as a value.

use crate::service::ClientId;
use crate::sync::{Arc, Mutex};
use std::cmp::Reverse;
use std::time::Instant;
use tokio::sync::oneshot;

/// So many places.
#[derive(Debug)]
pub(super) struct ConnectionSlots {
    max: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    last_id: u64,
    all: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    id: u64,
    /// `None` comes over the Unix socket.
    client: Option<ClientId>,
    may_command: bool,
    /// `None`: a command of it runs.
    silent_since: Option<Instant>,
    /// Dropped when it is to make room.
    _stay: oneshot::Sender<()>,
}

/// A place. Dropping it gives it back.
#[derive(Debug)]
pub(super) struct ConnectionSlot {
    places: Arc<ConnectionSlots>,
    id: u64,
}

/// A place that was had.
#[derive(Debug)]
pub(super) struct Entered {
    pub(super) place: ConnectionSlot,
    /// Ends when the connection is to make room.
    pub(super) leave: oneshot::Receiver<()>,
    /// Another made room for it.
    pub(super) displaced: bool,
}

impl ConnectionSlots {
    pub(super) fn new(max: usize) -> Arc<ConnectionSlots> {
        Arc::new(ConnectionSlots { max, taken: Mutex::default() })
    }

    /// A place for a client; `None`: all have commands that run.
    pub(super) fn enter(
        self: &Arc<ConnectionSlots>,
        client: Option<ClientId>,
        now: Instant,
    ) -> Option<Entered> {
        let mut taken = self.taken.lock();
        let displaced = taken.all.len() >= self.max;
        if displaced {
            let first = taken.first_to_go()?;
            taken.all.swap_remove(first);
        }
        taken.last_id += 1;
        let ((stay, leave), id) = (oneshot::channel(), taken.last_id);
        taken.all.push(Entry { id, client, may_command: false, silent_since: Some(now), _stay: stay });
        Some(Entered { place: ConnectionSlot { places: Arc::clone(self), id }, leave, displaced })
    }
}

impl Taken {
    fn first_to_go(&self) -> Option<usize> {
        let held = |client| self.all.iter().filter(|entry| entry.client == client).count();
        let silent =
            self.all.iter().enumerate().filter_map(|(at, entry)| Some((at, entry, entry.silent_since?)));
        let order = |entry: &Entry, since| (entry.may_command, Reverse(held(entry.client)), since);
        silent.min_by_key(|(_, entry, since)| order(entry, *since)).map(|(at, ..)| at)
    }
}

impl ConnectionSlot {
    fn change(&self, change: impl FnOnce(&mut Entry)) {
        // One that is to make room is no longer there.
        if let Some(entry) = self.places.taken.lock().all.iter_mut().find(|entry| entry.id == self.id) {
            change(entry);
        }
    }

    /// A whole request came, or was answered.
    pub(super) fn spoke(&self, now: Instant) {
        self.change(|entry| entry.silent_since = Some(now));
    }

    /// A command of it begins to run, until [`ConnectionSlot::spoke`]. Only for those who may command: else whoever may
    /// look could take all places for good.
    pub(super) fn runs(&self) {
        self.change(|entry| entry.silent_since = None);
    }

    /// It has shown that it may give commands.
    pub(super) fn may_command(&self) {
        self.change(|entry| entry.may_command = true);
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.places.taken.lock().all.retain(|entry| entry.id != self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// Enters so many seconds after `start`, from this address.
    fn enter(places: &Arc<ConnectionSlots>, start: Instant, s: u64, last: u8) -> Option<Entered> {
        let client = ClientId::of([10, 0, 0, last].into());
        places.enter(Some(client), start + Duration::from_secs(s))
    }

    fn is_to_leave(entered: &mut Entered) -> bool {
        entered.leave.try_recv() == Err(oneshot::error::TryRecvError::Closed)
    }

    #[test]
    fn the_longest_silent_makes_room_and_one_whose_command_runs_does_not() {
        let (places, start) = (ConnectionSlots::new(3), Instant::now());
        let mut all: Vec<_> = (0..3).map(|s| enter(&places, start, s, 1).unwrap()).collect();
        assert!(all.iter_mut().all(|entered| !entered.displaced && !is_to_leave(entered)));
        all[0].place.spoke(start + Duration::from_secs(5));
        all[1].place.runs();
        all.push(enter(&places, start, 6, 1).unwrap());
        assert!(all[3].displaced);
        assert_eq!(all.iter_mut().map(is_to_leave).collect::<Vec<_>>(), [false, false, true, false]);
        all.push(enter(&places, start, 7, 1).unwrap());
        assert_eq!(all.iter_mut().map(is_to_leave).collect::<Vec<_>>(), [true, false, true, false, false]);
        [3, 4].into_iter().for_each(|at: usize| all[at].place.runs());
        assert!(enter(&places, start, 8, 1).is_none(), "each of them runs a command");
        all[1].place.spoke(start + Duration::from_secs(9));
        assert!(enter(&places, start, 10, 1).is_some_and(|entered| entered.displaced));
        drop(all);
        assert!(places.taken.lock().all.is_empty());
    }

    #[test]
    fn the_client_with_the_most_places_makes_room_first_and_those_who_may_command_last() {
        let (places, start) = (ConnectionSlots::new(4), Instant::now());
        let mut lone = enter(&places, start, 0, 2).unwrap();
        let mut many: Vec<_> = (1..4).map(|s| enter(&places, start, s, 1).unwrap()).collect();
        many[0].place.may_command();
        many.push(enter(&places, start, 9, 1).unwrap());
        assert_eq!(many.iter_mut().map(is_to_leave).collect::<Vec<_>>(), [false, true, false, false]);
        many.push(enter(&places, start, 10, 1).unwrap());
        many.push(enter(&places, start, 11, 1).unwrap());
        assert!(!is_to_leave(&mut lone) && !is_to_leave(&mut many[0]));
    }
}
