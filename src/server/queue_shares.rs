//! Who has how many calls in a port's queue, and whose go when it is full and others come.
//!
//! A client is compared with clients, and a connection with those of its own client: so neither many connections nor
//! many calls get more of the queue than their part. A call makes room only for who has fewer even with the one that
//! comes: two that have the same do not take each other's places by turns. For a nested call any call makes room, since
//! a transaction waits for it that has begun.
//!
//! Made now and then while the queue may get full, since workers take calls all along. Between, those are added that
//! got in at another's cost, and counts that are too high are corrected where that matters. Knows connections by what
//! [`QueueHolder`] says.

use crate::pool::Displaced;
use crate::service::ClientId;
use crate::sync::Arc;
use std::collections::{BinaryHeap, HashMap};
use std::time::{Duration, Instant};

/// Between two surveys at least, and for each thousand of the listener's connections.
const PAUSE: Duration = Duration::from_millis(1);

/// How often it is tried to find a call that workers have not taken meanwhile.
const TRIES: usize = 8;

/// A connection with calls in the queue.
pub(super) trait QueueHolder {
    /// How many.
    fn waiting(&self) -> usize;
}

#[derive(Debug)]
pub(super) struct QueueShares<H> {
    made: Option<Instant>,
    clients: Vec<Client<H>>,
    places: HashMap<ClientId, usize>,
    /// Calls and place of each client, those with the most on top; an entry with more than its client has is old.
    order: BinaryHeap<(usize, usize)>,
}

#[derive(Debug)]
struct Client<H> {
    calls: usize,
    /// Those with the most on top.
    connections: BinaryHeap<Held<H>>,
}

/// A connection, by its calls.
#[derive(Debug)]
struct Held<H> {
    calls: usize,
    connection: Arc<H>,
}

impl<H> PartialEq for Held<H> {
    fn eq(&self, other: &Self) -> bool {
        self.calls == other.calls
    }
}

impl<H> Eq for Held<H> {}

impl<H> PartialOrd for Held<H> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<H> Ord for Held<H> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.calls.cmp(&other.calls)
    }
}

/// Who wants a place: its client, and the calls that its connection has in the queue and before it. Is the call nested?
#[derive(Debug, Clone, Copy)]
pub(super) struct Newcomer {
    pub(super) client: ClientId,
    pub(super) waiting: usize,
    pub(super) ahead: usize,
    pub(super) nested: bool,
}

/// Of which client a call is to go, and of which of its connections: of one with more than so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Target {
    place: usize,
    most: usize,
}

impl<H: QueueHolder> QueueShares<H> {
    pub(super) fn new() -> QueueShares<H> {
        QueueShares { made: None, clients: Vec::new(), places: HashMap::new(), order: BinaryHeap::new() }
    }

    /// Is it time for a survey of so many connections?
    pub(super) fn is_due(&self, connections: usize, now: Instant) -> bool {
        let pause = PAUSE.max(PAUSE * u32::try_from(connections).unwrap_or(u32::MAX) / 1000);
        self.made.is_none_or(|made| now.saturating_duration_since(made) >= pause)
    }

    /// Takes in all connections anew.
    pub(super) fn survey(&mut self, connections: impl Iterator<Item = (ClientId, Arc<H>)>, now: Instant) {
        self.forget();
        self.made = Some(now);
        for (id, connection) in connections {
            let calls = connection.waiting();
            if calls > 0 {
                self.take_in(id, connection, calls);
            }
        }
        self.order.extend(self.clients.iter().zip(0..).map(|(client, place)| (client.calls, place)));
    }

    /// So many calls of a connection come into the queue, for some of which others have made room.
    pub(super) fn gained(&mut self, id: ClientId, connection: &Arc<H>, calls: usize) {
        if self.made.is_some() && calls > 0 {
            let place = self.take_in(id, Arc::clone(connection), calls);
            self.order.push((self.clients[place].calls, place));
        }
    }

    /// Adds calls of a connection to those of its client, whose place it returns.
    fn take_in(&mut self, id: ClientId, connection: Arc<H>, calls: usize) -> usize {
        let place = *self.places.entry(id).or_insert(self.clients.len());
        if place == self.clients.len() {
            self.clients.push(Client { calls: 0, connections: BinaryHeap::new() });
        }
        let client = &mut self.clients[place];
        client.calls += calls;
        client.connections.push(Held { calls, connection });
        place
    }

    /// Holds nothing any more.
    pub(super) fn forget(&mut self) {
        if self.made.take().is_none() {
            return;
        }
        self.clients.clear();
        self.places.clear();
        self.order.clear();
    }

    /// Has somebody enough more than the newcomer?
    pub(super) fn outweigh(&mut self, newcomer: Newcomer) -> bool {
        self.target(newcomer).is_some()
    }

    /// Has a call of such a connection taken out by `displace`, which is given the connection and how many calls it
    /// must have more than.
    pub(super) fn make_room(
        &mut self,
        newcomer: Newcomer,
        displace: impl Fn(&H, usize) -> Option<Displaced>,
    ) -> Option<(Arc<H>, Displaced)> {
        for _ in 0..TRIES {
            let Target { place, most } = self.target(newcomer)?;
            let client = &mut self.clients[place];
            let mut top = client.connections.peek_mut()?;
            let displaced = displace(&top.connection, most);
            // How many there are after all tells how many workers have taken meanwhile.
            let left =
                if displaced.is_some() { top.calls - 1 } else { top.connection.waiting().min(top.calls - 1) };
            client.calls -= top.calls - left;
            top.calls = left;
            if let Some(displaced) = displaced {
                return Some((Arc::clone(&top.connection), displaced));
            }
        }
        None
    }

    fn target(&mut self, Newcomer { client, waiting, ahead, nested }: Newcomer) -> Option<Target> {
        if nested {
            let place = self.largest()?;
            return (self.clients[place].calls > 0).then_some(Target { place, most: 0 });
        }
        let own = self.places.get(&client).copied();
        let own_calls = own.map_or(waiting, |own| self.clients[own].calls.max(waiting)) + ahead;
        let place = self.largest()?;
        if own != Some(place) && own_calls + 1 < self.clients[place].calls {
            return Some(Target { place, most: 0 });
        }
        let (place, most) = (own?, waiting + ahead + 1);
        let top = self.clients[place].connections.peek()?;
        (top.calls > most).then_some(Target { place, most })
    }

    /// The client with the most calls.
    fn largest(&mut self) -> Option<usize> {
        loop {
            let mut top = self.order.peek_mut()?;
            let calls = self.clients[top.1].calls;
            if top.0 == calls {
                return Some(top.1);
            }
            top.0 = calls;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Has so many calls.
    #[derive(Debug)]
    struct Fixed(usize);

    impl QueueHolder for Fixed {
        fn waiting(&self) -> usize {
            self.0
        }
    }

    fn client(last: u8) -> ClientId {
        ClientId::of([127, 0, 0, last].into())
    }

    /// Would somebody make room for a call of a client whose connection has so many waiting and before it? The first
    /// client has connections of 100, 50 and no calls, the second one of 10.
    fn makes_room(last: u8, waiting: usize, ahead: usize) -> bool {
        let mut holders = QueueShares::new();
        let connections = [(1, 100), (1, 50), (2, 10), (1, 0)];
        let known = connections.map(|(last, calls)| (client(last), Arc::new(Fixed(calls))));
        holders.survey(known.into_iter(), Instant::now());
        holders.outweigh(Newcomer { client: client(last), waiting, ahead, nested: false })
    }

    #[test]
    fn clients_are_compared_first_and_then_connections_of_one() {
        assert!(makes_room(2, 10, 0) && makes_room(2, 10, 138), "the first has 150");
        assert!(!makes_room(2, 10, 139) && !makes_room(2, 149, 0), "it would have as many then");
        assert!(makes_room(3, 0, 148) && !makes_room(3, 0, 149), "who has none yet");
        assert!(makes_room(1, 0, 98) && makes_room(1, 50, 48), "within a client connections count");
        assert!(!makes_room(1, 0, 99) && !makes_room(1, 100, 0));
    }

    #[test]
    fn for_a_nested_call_anybody_makes_room() {
        let mut holders = QueueShares::new();
        let known = (1..=50).map(|last| (client(last), Arc::new(Fixed(1))));
        holders.survey(known, Instant::now());
        let newcomer = |nested| Newcomer { client: client(1), waiting: 1, ahead: 9, nested };
        assert!(!holders.outweigh(newcomer(false)) && holders.outweigh(newcomer(true)));
        let displaced = || Some(Displaced::none());
        let made = (0..60).filter(|_| {
            holders.make_room(newcomer(true), |_, most| displaced().filter(|_| most == 0)).is_some()
        });
        assert_eq!(made.count(), 50, "while there is any");
    }

    /// One client has filled the queue; before the next survey come many connections of another, with a call each.
    #[test]
    fn what_a_client_gains_between_two_surveys_counts() {
        let (mut holders, displace) = (QueueShares::new(), |_: &Fixed, _| Some(Displaced::none()));
        holders.survey([(client(1), Arc::new(Fixed(100)))].into_iter(), Instant::now());
        let newcomer = Newcomer { client: client(2), waiting: 0, ahead: 0, nested: false };
        let gained = (0..200).filter(|_| {
            let gained = holders.make_room(newcomer, displace).is_some();
            if gained {
                holders.gained(client(2), &Arc::new(Fixed(1)), 1);
            }
            gained
        });
        assert_eq!(gained.count(), 50, "until both have the same");
        // A third is given room by both.
        let third = Newcomer { client: client(3), ..newcomer };
        let mut gave = [0u32; 2];
        for _ in 0..20 {
            let (connection, _) = holders.make_room(third, displace).expect("both have more");
            gave[usize::from(connection.0 == 1)] += 1;
        }
        assert!(gave[0].abs_diff(gave[1]) <= 1, "{gave:?}");
    }

    #[test]
    fn counts_that_are_too_high_are_put_right() {
        let (mut holders, start) = (QueueShares::new(), Instant::now());
        let gone = Arc::new(Fixed(0));
        holders.survey([(client(1), Arc::new(Fixed(9)))].into_iter(), start);
        holders.clients[0].connections.push(Held { calls: 20, connection: gone });
        holders.clients[0].calls += 20;
        let newcomer = Newcomer { client: client(2), waiting: 0, ahead: 0, nested: false };
        let asked = std::cell::RefCell::new(Vec::new());
        let displace = |connection: &Fixed, most| {
            asked.borrow_mut().push((connection.0, most));
            None
        };
        assert!(holders.make_room(newcomer, displace).is_none(), "workers were quicker each time");
        assert_eq!(asked.into_inner()[..2], [(0, 0), (9, 0)], "the one with none is not asked again");
        assert!(!holders.is_due(10, start) && holders.is_due(10, start + PAUSE));
        assert!(!holders.is_due(50_000, start + 10 * PAUSE), "a survey of many costs more");
        holders.forget();
        assert!(!holders.outweigh(newcomer) && holders.is_due(10, start));
    }
}
