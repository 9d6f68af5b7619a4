//! Shares of a port's queue: how many calls each client has in it, and whose are displaced when it is full and others
//! come.
//!
//! A client is compared with clients, and a connection with those of its own client: so neither many connections nor
//! many calls get more of the queue than their share. A call is displaced only for one whose sender has fewer even with
//! the one that comes: two that have the same do not take each other's places by turns. For a nested call any call can
//! be displaced, since a transaction waits for it that has begun.
//!
//! Surveyed now and then while the queue may get full, since workers take calls all along. Between two surveys those
//! calls are added that were queued at another's cost, and counts that are too high are corrected where that matters.
//! Calls that found room since the last survey are not in it: their client counts too few of them until the next.
//! Knows connections by [`QueueHolder`] alone.

use crate::pool::Displaced;
use crate::service::ClientId;
use crate::sync::Arc;
use std::collections::{BinaryHeap, HashMap};
use std::time::{Duration, Instant};

/// Shortest time between two surveys, and for each thousand of the listener's connections.
const PAUSE: Duration = Duration::from_millis(1);

/// Attempts to find a call that workers have not taken meanwhile.
const TRIES: usize = 8;

/// A connection with calls in the queue.
pub(in crate::server) trait QueueHolder {
    /// Returns how many calls it has there.
    fn waiting(&self) -> usize;
}

/// The clients with calls in the queue; empty while the queue is not nearly full.
#[derive(Debug)]
pub(in crate::server) struct QueueShares<H> {
    surveyed: Option<Instant>,
    connections: Vec<Arc<H>>,
    clients: Vec<Client>,
    places: HashMap<ClientId, usize>,
    /// Calls and place of each client, those with the most on top; an entry with more than its client has is old.
    order: BinaryHeap<(usize, usize)>,
    /// Calls displaced in this read that are still to be answered.
    pub(super) displaced: Vec<(Arc<H>, Displaced)>,
}

#[derive(Debug)]
struct Client {
    calls: usize,
    /// Calls and place of each connection, the one with the most on top.
    connections: BinaryHeap<(usize, usize)>,
}

/// A call that wants a place in the queue.
#[derive(Debug, Clone, Copy)]
pub(super) struct Contender {
    pub(super) client: ClientId,
    /// Calls that its connection has in the queue.
    pub(super) waiting: usize,
    /// Calls of its read that come before it.
    pub(super) ahead: usize,
    pub(super) nested: bool,
}

/// The client that loses a call, and the number of calls that its connection must exceed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Target {
    place: usize,
    most: usize,
}

impl<H> Default for QueueShares<H> {
    fn default() -> Self {
        QueueShares {
            surveyed: None,
            connections: Vec::new(),
            clients: Vec::new(),
            places: HashMap::new(),
            order: BinaryHeap::new(),
            displaced: Vec::new(),
        }
    }
}

impl<H: QueueHolder> QueueShares<H> {
    /// Returns whether it is time for a survey of so many connections.
    pub(in crate::server) fn is_due(&self, connections: usize, now: Instant) -> bool {
        let pause = PAUSE.max(PAUSE * u32::try_from(connections).unwrap_or(u32::MAX) / 1000);
        self.surveyed.is_none_or(|surveyed| now.saturating_duration_since(surveyed) >= pause)
    }

    /// Counts the calls of all connections anew.
    pub(in crate::server) fn survey(
        &mut self,
        connections: impl Iterator<Item = (ClientId, Arc<H>)>,
        now: Instant,
    ) {
        self.forget();
        self.surveyed = Some(now);
        for (id, connection) in connections {
            let calls = connection.waiting();
            if calls > 0 {
                self.add(id, connection, calls);
            }
        }
        self.order.extend(self.clients.iter().zip(0..).map(|(client, place)| (client.calls, place)));
    }

    /// Adds calls of a connection that come into the queue, for some of which others were displaced.
    pub(super) fn gained(&mut self, id: ClientId, connection: &Arc<H>, calls: usize) {
        if self.surveyed.is_some() && calls > 0 {
            let place = self.add(id, Arc::clone(connection), calls);
            self.order.push((self.clients[place].calls, place));
        }
    }

    /// Adds calls of a connection to those of its client, whose place it returns.
    fn add(&mut self, id: ClientId, connection: Arc<H>, calls: usize) -> usize {
        let place = *self.places.entry(id).or_insert(self.clients.len());
        if place == self.clients.len() {
            self.clients.push(Client { calls: 0, connections: BinaryHeap::new() });
        }
        let client = &mut self.clients[place];
        client.calls += calls;
        client.connections.push((calls, self.connections.len()));
        self.connections.push(connection);
        place
    }

    /// Drops the last survey.
    pub(in crate::server) fn forget(&mut self) {
        if self.surveyed.take().is_none() {
            return;
        }
        self.connections.clear();
        self.clients.clear();
        self.places.clear();
        self.order.clear();
    }

    /// Returns whether another connection has enough more calls than the contender's.
    pub(super) fn can_displace(&mut self, contender: Contender) -> bool {
        self.target(contender).is_some()
    }

    /// Displaces a call of such a connection by `take`, which gets the connection and the number of calls that it must
    /// exceed. Returns false if there is none any more.
    pub(super) fn displace(
        &mut self,
        contender: Contender,
        take: impl Fn(&H, usize) -> Option<Displaced>,
    ) -> bool {
        for _ in 0..TRIES {
            let Some(Target { place, most }) = self.target(contender) else { return false };
            let client = &mut self.clients[place];
            let Some(mut top) = client.connections.peek_mut() else { return false };
            let (calls, connection) = (top.0, &self.connections[top.1]);
            let displaced = take(connection, most);
            // Workers may have taken some meanwhile, so count the calls that are left.
            let left = if displaced.is_some() { calls - 1 } else { connection.waiting().min(calls - 1) };
            client.calls -= calls - left;
            top.0 = left;
            if let Some(displaced) = displaced {
                self.displaced.push((Arc::clone(connection), displaced));
                return true;
            }
        }
        false
    }

    fn target(&mut self, Contender { client, waiting, ahead, nested }: Contender) -> Option<Target> {
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
        (top.0 > most).then_some(Target { place, most })
    }

    /// Returns the place of the client with the most calls.
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

    /// A connection with this many calls.
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

    /// Returns whether a call of a client can displace one whose connection has this many waiting and before it. The
    /// first client has connections of 100, 50 and no calls, the second one of 10.
    fn displaces(last: u8, waiting: usize, ahead: usize) -> bool {
        let mut shares = QueueShares::default();
        let connections = [(1, 100), (1, 50), (2, 10), (1, 0)];
        let known = connections.map(|(last, calls)| (client(last), Arc::new(Fixed(calls))));
        shares.survey(known.into_iter(), Instant::now());
        shares.can_displace(Contender { client: client(last), waiting, ahead, nested: false })
    }

    #[test]
    fn clients_are_compared_first_and_then_connections_of_one() {
        assert!(displaces(2, 10, 0) && displaces(2, 10, 138), "the first has 150");
        assert!(!displaces(2, 10, 139) && !displaces(2, 149, 0), "it would have as many then");
        assert!(displaces(3, 0, 148) && !displaces(3, 0, 149), "a client that has none yet");
        assert!(displaces(1, 0, 98) && displaces(1, 50, 48), "within a client connections count");
        assert!(!displaces(1, 0, 99) && !displaces(1, 100, 0));
    }

    #[test]
    fn a_nested_call_displaces_any_other() {
        let mut shares = QueueShares::default();
        let known = (1..=50).map(|last| (client(last), Arc::new(Fixed(1))));
        shares.survey(known, Instant::now());
        let contender = |nested| Contender { client: client(1), waiting: 1, ahead: 9, nested };
        assert!(!shares.can_displace(contender(false)) && shares.can_displace(contender(true)));
        let displaced = || Some(Displaced::none());
        let made = (0..60)
            .filter(|_| shares.displace(contender(true), |_, most| displaced().filter(|_| most == 0)))
            .count();
        assert_eq!((made, shares.displaced.len()), (50, 50), "while there is any");
    }

    /// One client has filled the queue; before the next survey come many connections of another, with a call each.
    #[test]
    fn calls_that_a_client_gains_between_two_surveys_count() {
        let (mut shares, take) = (QueueShares::default(), |_: &Fixed, _| Some(Displaced::none()));
        shares.survey([(client(1), Arc::new(Fixed(100)))].into_iter(), Instant::now());
        let contender = Contender { client: client(2), waiting: 0, ahead: 0, nested: false };
        let gained = (0..200).filter(|_| {
            let gained = shares.displace(contender, take);
            if gained {
                shares.gained(client(2), &Arc::new(Fixed(1)), 1);
            }
            gained
        });
        assert_eq!(gained.count(), 50, "until both have the same");
        // A third displaces calls of both.
        let third = Contender { client: client(3), ..contender };
        let mut gave = [0u32; 2];
        for _ in 0..20 {
            assert!(shares.displace(third, take), "both have more");
            let (connection, _) = shares.displaced.last().unwrap();
            gave[usize::from(connection.0 == 1)] += 1;
        }
        assert!(gave[0].abs_diff(gave[1]) <= 1, "{gave:?}");
    }

    #[test]
    fn counts_that_are_too_high_are_corrected() {
        let (mut shares, start) = (QueueShares::default(), Instant::now());
        let gone = Arc::new(Fixed(0));
        shares.survey([(client(1), Arc::new(Fixed(9)))].into_iter(), start);
        shares.connections.push(gone);
        shares.clients[0].connections.push((20, 1));
        shares.clients[0].calls += 20;
        let contender = Contender { client: client(2), waiting: 0, ahead: 0, nested: false };
        let asked = std::cell::RefCell::new(Vec::new());
        let take = |connection: &Fixed, most| {
            asked.borrow_mut().push((connection.0, most));
            None
        };
        assert!(!shares.displace(contender, take), "workers were quicker each time");
        assert_eq!(asked.into_inner()[..2], [(0, 0), (9, 0)], "the one with none is not asked again");
        assert!(!shares.is_due(10, start) && shares.is_due(10, start + PAUSE));
        assert!(!shares.is_due(50_000, start + 10 * PAUSE), "a survey of many costs more");
        shares.forget();
        assert!(!shares.can_displace(contender) && shares.is_due(10, start));
    }
}
