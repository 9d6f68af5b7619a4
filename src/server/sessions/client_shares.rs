//! Shares of clients in the sessions that may be opened, and which session makes room for another.
//!
//! A share binds only when room is short: while there are places any client may take them, but some are kept for those
//! that hold few ([`has_room`](crate::service::has_room)). When all are taken, a client gets a place from the one that
//! holds the most, or from another connection of its own, and the place taken is that of the session that is used
//! least: one that no connection came back to, the longest first; then one that was never called, or not for a while. A
//! session that a connection carries and uses is never taken.
//!
//! Sessions are grouped by the connection that carries them or carried them last, their [`Carrier`], which belongs to
//! one client. Knows numbers, clients and times handed in.
//!
//! Invariants: a carrier is known while it has sessions; of each there is one entry in `order`, and one in `away` if
//! its connection is gone. Every change costs logarithmic time, the end of a connection too, however many sessions it
//! carried: a client can open tens of thousands of sessions in a second, under the lock of all.

use crate::service::ClientId;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

/// Carriers and sessions that are looked at for one place.
const TRIES: usize = 8;

/// A connection, by the address of what it carries. No other has the same while a session names it.
pub(super) type Carrier = usize;

/// How a session is used: the smallest goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Use {
    pub(super) called: bool,
    pub(super) last: Instant,
}

/// How a session is found when its place is wanted, and whether a handler runs for it.
pub(super) type Seen<'a> = &'a dyn Fn(u64) -> (Use, bool);

/// The order in which carriers lose sessions: first those that are gone, the first to go in front; then those that are
/// there, the one with the most in front.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    Away(u64),
    Carries(std::cmp::Reverse<usize>),
}

#[derive(Debug)]
struct Held {
    client: ClientId,
    /// Its connection is gone: the number of that departure, and its time.
    gone: Option<(u64, Instant)>,
    sessions: BTreeSet<(Use, u64)>,
}

impl Held {
    fn standing(&self) -> Standing {
        match self.gone {
            Some((departure, _)) => Standing::Away(departure),
            None => Standing::Carries(std::cmp::Reverse(self.sessions.len())),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Shares {
    held: HashMap<Carrier, Held>,
    places: HashMap<u64, (Carrier, Use)>,
    clients: HashMap<ClientId, usize>,
    sizes: BTreeSet<(usize, ClientId)>,
    order: BTreeSet<(ClientId, Standing, Carrier)>,
    away: BTreeMap<u64, Carrier>,
    departures: u64,
}

impl Shares {
    /// Sessions that a client's connections carry, or carried last.
    pub(super) fn of(&self, client: ClientId) -> usize {
        self.clients.get(&client).copied().unwrap_or(0)
    }

    /// A connection carries a session from now on, which no other did.
    pub(super) fn add(&mut self, id: u64, (carrier, client): (Carrier, ClientId), used: Use) {
        let new = Held { client, gone: None, sessions: BTreeSet::new() };
        self.held.entry(carrier).or_insert(new);
        self.places.insert(id, (carrier, used));
        self.change(carrier, |held| _ = held.sessions.insert((used, id)));
    }

    /// A session is closed, or goes elsewhere.
    pub(super) fn remove(&mut self, id: u64) {
        if let Some((carrier, used)) = self.places.remove(&id) {
            self.change(carrier, |held| _ = held.sessions.remove(&(used, id)));
        }
    }

    /// A connection is gone; what it carried waits for another.
    pub(super) fn depart(&mut self, carrier: Carrier, now: Instant) {
        self.departures += 1;
        let departure = (self.departures, now);
        if self.held.contains_key(&carrier) {
            self.change(carrier, |held| held.gone = Some(departure));
        }
    }

    /// Every change of a carrier, with all that is ordered by it.
    fn change(&mut self, carrier: Carrier, change: impl FnOnce(&mut Held)) {
        let Some(held) = self.held.get_mut(&carrier) else { return };
        let (client, before, standing) = (held.client, held.sessions.len(), held.standing());
        change(held);
        let after = held.sessions.len();
        if held.standing() != standing || before == 0 || after == 0 {
            self.order.remove(&(client, standing, carrier));
            if let Standing::Away(departure) = standing {
                self.away.remove(&departure);
            }
            if after > 0 {
                self.order.insert((client, held.standing(), carrier));
                if let Standing::Away(departure) = held.standing() {
                    self.away.insert(departure, carrier);
                }
            }
        }
        if after == 0 {
            self.held.remove(&carrier);
        }
        let count = self.clients.entry(client).or_insert(0);
        self.sizes.remove(&(*count, client));
        *count = *count + after - before;
        if *count > 0 {
            self.sizes.insert((*count, client));
        } else {
            self.clients.remove(&client);
        }
    }

    /// The session whose place a connection gets that opens another. Of other clients only if the places are all
    /// taken.
    pub(super) fn makes_room(
        &mut self,
        (carrier, client): (Carrier, ClientId),
        all_taken: bool,
        (now, idle_min): (Instant, Duration),
        seen: Seen<'_>,
    ) -> Option<u64> {
        let (own, times) = (self.of(client), (now, idle_min));
        if let Some(&(size, largest)) = self.sizes.last().filter(|(size, _)| all_taken && *size > own) {
            // Of sessions that it carries only where it then still has as many: two would else take from each other.
            let more_than = if size > own + 1 { 0 } else { usize::MAX };
            if let Some(id) = self.least_used(largest, more_than, times, seen) {
                return Some(id);
            }
        }
        let carries = self.held.get(&carrier).map_or(0, |held| held.sessions.len());
        let of_own = self.least_used(client, carries + 1, times, seen);
        if of_own.is_some() || !all_taken {
            return of_own;
        }
        let first = *self.away.first_key_value()?.1;
        let Held { client: other, gone, .. } = self.held.get(&first)?;
        let long_gone = gone.is_some_and(|(_, since)| since + idle_min <= now);
        if long_gone && self.of(*other) >= own { self.of_carrier(first, times, seen) } else { None }
    }

    /// Of a client's sessions; of connections that are there only of those that carry more than so many.
    fn least_used(
        &mut self,
        client: ClientId,
        more_than: usize,
        times: (Instant, Duration),
        seen: Seen<'_>,
    ) -> Option<u64> {
        let last = Standing::Carries(std::cmp::Reverse(0));
        let all = (client, Standing::Away(0), 0)..=(client, last, Carrier::MAX);
        let meant = |standing: &Standing| match standing {
            Standing::Away(_) => true,
            Standing::Carries(count) => count.0 > more_than,
        };
        let first = self.order.range(all).take_while(|(_, standing, _)| meant(standing)).take(TRIES);
        let carriers: Vec<Carrier> = first.map(|(_, _, carrier)| *carrier).collect();
        carriers.into_iter().find_map(|carrier| self.of_carrier(carrier, times, seen))
    }

    /// Of a carrier's sessions. Those that were used since they were put in order are put in order anew. If only such
    /// are found in so many tries, the one of them that is used least and may go will do.
    fn of_carrier(
        &mut self,
        carrier: Carrier,
        (now, idle_min): (Instant, Duration),
        seen: Seen<'_>,
    ) -> Option<u64> {
        let mut best = None;
        for _ in 0..TRIES {
            let held = self.held.get_mut(&carrier)?;
            let &(used, id) = held.sessions.first()?;
            let (is_used, runs) = seen(id);
            let unused = !is_used.called || is_used.last + idle_min <= now;
            if !runs && (held.gone.is_some() || unused) {
                best = best.into_iter().chain([(is_used, id)]).min();
            }
            if is_used == used {
                break;
            }
            held.sessions.remove(&(used, id));
            held.sessions.insert((is_used, id));
            self.places.insert(id, (carrier, is_used));
        }
        best.map(|(_, id)| id)
    }
}
