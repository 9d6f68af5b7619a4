//! The table of sessions, with the time as a value.

use super::*;
use crate::sync::AtomicUsize;
use crate::sync::Ordering::SeqCst;

const TIMEOUT: Duration = Duration::from_secs(600);
const IDLE: Duration = Duration::from_secs(60);
/// Result of an open for which there is no place.
const NO_PLACE: Result<SessionTicket, Status> = Err(Status::MaxUsers);

/// A connection: calls out, opened sessions, how often it was asked to leave.
#[derive(Debug)]
struct TestConnection {
    peer: SocketAddr,
    out: AtomicUsize,
    carried: Arc<ConnectionSessions>,
    asked: AtomicUsize,
}

impl SessionHolder for TestConnection {
    fn calls_out(&self) -> usize {
        self.out.load(SeqCst)
    }
    fn carries(&self) -> usize {
        self.carried.count()
    }
    fn ask_to_leave(&self) {
        self.asked.fetch_add(1, SeqCst);
    }
}

struct TestTable {
    table: SessionTable,
    start: Instant,
}

impl TestTable {
    fn new(soft_max: Option<usize>, hard_max: Option<usize>) -> TestTable {
        let rules =
            Rules { timeout: TIMEOUT, idle_min: IDLE, soft_max, hard_max, tracked: soft_max.is_some() };
        TestTable { table: SessionTable::new(rules, false), start: Instant::now() }
    }

    fn at(&self, seconds: u64) -> Instant {
        self.start + Duration::from_secs(seconds)
    }

    fn enter(&mut self, seconds: u64) -> Result<(Arc<TestConnection>, Option<Arc<SessionState>>), Status> {
        self.enter_from(1, seconds)
    }

    /// A connection of 127.0.0.`last`.
    fn enter_from(
        &mut self,
        last: u8,
        seconds: u64,
    ) -> Result<(Arc<TestConnection>, Option<Arc<SessionState>>), Status> {
        let (peer, now) = (SocketAddr::from(([127, 0, 0, last], 1)), self.at(seconds));
        let (out, carried, asked) = Default::default();
        let stand = Arc::new(TestConnection { peer, out, carried, asked });
        let holder = Arc::downgrade(&stand) as Weak<dyn SessionHolder>;
        self.table.enter(holder, ("test", peer), now).map(|own| (stand, own))
    }

    /// A connection ends.
    fn leave(&mut self, stand: &TestConnection, own: Option<u64>, seconds: u64) {
        let now = self.at(seconds);
        self.table.leave(stand.peer, (own, Some(&stand.carried)), now);
    }

    /// Returns the session that lost its place to one that `stand` opens.
    fn displaces(&mut self, stand: &TestConnection, seconds: u64) -> Option<u64> {
        let before = self.ids();
        let new = self.open(stand, seconds).ok()?;
        let mut after = self.ids();
        after.retain(|id| *id != new.id);
        before.into_iter().find(|id| !after.contains(id))
    }

    fn ids(&self) -> Vec<u64> {
        self.table.opened.keys().copied().collect()
    }

    fn open(&mut self, stand: &TestConnection, seconds: u64) -> Result<SessionTicket, Status> {
        let (number, now) = (stand.carried.reserve().unwrap(), self.at(seconds));
        let whose = ("test", stand.peer);
        let opened = self.table.open([number as u8; 16], (&stand.carried, number), whose, now);
        let (moved, ticket, gone) = opened.inspect_err(|_| stand.carried.clear(number))?;
        gone.iter().for_each(SessionEntry::end);
        stand.carried.put(number, moved.session, moved.stamp);
        Ok(ticket)
    }

    /// Moves a session to a number of a connection.
    fn attach(&mut self, ticket: &SessionTicket, to: &TestConnection, number: u32) -> Result<Move, Status> {
        let now = self.at(1);
        self.table.attach(ticket, (&to.carried, number), to.peer, now)
    }

    /// Looks, ends the sessions found, and returns their ids and how many connections were asked to close.
    fn look(&mut self, seconds: u64) -> (Vec<(u64, SessionEnd)>, usize) {
        let found = self.table.look(self.at(seconds));
        found.ended.iter().for_each(|(entry, _)| entry.end());
        found.ask.iter().for_each(|holder| holder.ask_to_leave());
        let mut ended: Vec<_> = found.ended.iter().map(|(entry, why)| (entry.session.id(), *why)).collect();
        ended.sort_by_key(|(id, _)| *id);
        (ended, found.ask.len())
    }

    fn next(&self) -> Option<Duration> {
        self.table.next().map(|next| next - self.start)
    }
}

#[test]
fn a_session_unused_for_the_timeout_is_closed_whether_attached_or_not() {
    let mut sessions = TestTable::new(None, None);
    let (stand, _) = sessions.enter(0).unwrap();
    assert_eq!(sessions.next(), None, "connections alone are left alone");
    let tickets: Vec<_> = (0..3).map(|n| sessions.open(&stand, n).unwrap()).collect();
    assert_eq!(sessions.next(), Some(TIMEOUT));
    let used = stand.carried.find(2).unwrap();
    used.begin(sessions.at(100));
    used.end(sessions.at(200));
    assert_eq!(sessions.look(599), (vec![], 0));
    assert_eq!(sessions.look(600), (vec![(tickets[0].id, SessionEnd::TimedOut)], 0));
    assert_eq!(sessions.next(), Some(Duration::from_secs(660)), "a look a minute at most");
    assert_eq!((stand.carried.count(), stand.carried.find(1).is_none()), (2, true));
    assert_eq!(sessions.look(660), (vec![(tickets[2].id, SessionEnd::TimedOut)], 0));
    assert_eq!(sessions.next(), Some(Duration::from_secs(800)));
    used.begin(sessions.at(790));
    assert_eq!(sessions.look(5000), (vec![], 0), "while a call runs it is in use");
    used.end(sessions.at(5100));
    drop(stand);
    assert_eq!(
        sessions.look(5700),
        (vec![(tickets[1].id, SessionEnd::TimedOut)], 0),
        "without a connection too"
    );
    assert_eq!((sessions.next(), sessions.table.len()), (None, 1));
}

#[test]
fn over_the_soft_limit_the_longest_idle_is_closed_and_none_is_refused() {
    let mut sessions = TestTable::new(Some(3), None);
    let (first, own) = sessions.enter(0).unwrap();
    let (second, asked) = sessions.enter(1).unwrap();
    let ticket = sessions.open(&first, 2).unwrap();
    assert_eq!(sessions.next(), Some(TIMEOUT + Duration::from_secs(2)), "there is room");
    sessions.enter(3).unwrap();
    assert_eq!(sessions.next(), Some(Duration::from_secs(3)));
    assert_eq!(sessions.look(3), (vec![], 0), "none has been idle for a minute");
    assert_eq!(
        sessions.next(),
        Some(Duration::from_secs(61)),
        "the second will have been: the first carries another"
    );
    assert_eq!(sessions.look(61), (vec![], 1));
    assert_eq!((first.asked.load(SeqCst), second.asked.load(SeqCst)), (0, 1));
    assert_eq!(sessions.look(70), (vec![], 0), "a connection that was asked counts as closed");
    // Two more: the opened session and the connection without calls are idle, the busy one is not.
    let busy = sessions.enter(71).unwrap().0;
    busy.out.store(1, SeqCst);
    sessions.enter(72).unwrap();
    assert_eq!(sessions.look(72), (vec![(ticket.id, SessionEnd::Displaced)], 0), "the longest idle");
    sessions.leave(&second, asked.map(|own| own.id()), 72);
    assert_eq!(first.carries(), 0);
    assert_eq!(sessions.next(), Some(Duration::from_secs(72) + CROWD_PAUSE), "and looks soon again");
    assert_eq!(sessions.look(73), (vec![], 1));
    assert_eq!(first.asked.load(SeqCst), 1);
    sessions.table.stays(own.unwrap().id(), sessions.at(74));
    assert_eq!(
        sessions.next(),
        Some(Duration::from_secs(74) + CROWD_PAUSE),
        "it began to call: another look"
    );
}

#[test]
fn a_limit_of_n_admits_n() {
    let mut sessions = TestTable::new(None, Some(3));
    let (stand, _) = sessions.enter(0).unwrap();
    let ticket = sessions.open(&stand, 0).unwrap();
    sessions.open(&stand, 0).unwrap();
    sessions.open(&stand, 0).unwrap();
    assert_eq!(sessions.open(&stand, 0), NO_PLACE);
    sessions.table.close(ticket.id, &stand.carried).unwrap().end();
    sessions.open(&stand, 0).unwrap();
    assert_eq!(sessions.open(&stand, 0), NO_PLACE);
    let (second, _) = sessions.enter(0).expect("connections have places of their own");
    sessions.enter(0).unwrap();
    assert_eq!(sessions.enter(0).unwrap_err(), Status::MaxUsers);
    sessions.leave(&second, None, 0);
    sessions.table.restricted = true;
    assert_eq!(sessions.enter(0).unwrap_err(), Status::Restricted);
    assert_eq!(sessions.open(&stand, 0), Err(Status::Restricted));
    sessions.table.restricted = false;
    assert!(sessions.enter(0).is_ok());
}

#[test]
fn only_the_right_token_attaches_and_what_moves_is_gone_from_where_it_was() {
    let mut sessions = TestTable::new(None, None);
    let (here, there) = (sessions.enter(0).unwrap().0, sessions.enter(0).unwrap().0);
    let ticket = sessions.open(&here, 0).unwrap();
    let mut wrong = ticket;
    wrong.token[15] ^= 1;
    let unknown = SessionTicket { id: ticket.id + 1, ..ticket };
    for ticket in [wrong, unknown] {
        assert_eq!(sessions.attach(&ticket, &there, 1).unwrap_err(), Status::UnknownSession);
    }
    let again = sessions.attach(&ticket, &here, 9).unwrap();
    assert_eq!((again.number, again.from.is_none()), (1, true), "where it is, it has the number it had");
    assert!(here.carried.find(1).is_some());
    let number = there.carried.reserve().unwrap();
    let Move { session, stamp, from, .. } = sessions.attach(&ticket, &there, number).unwrap();
    assert!(here.carried.find(1).is_none(), "at once");
    there.carried.put(number, session, stamp);
    let (carried, old) = from.unwrap();
    assert!(Arc::ptr_eq(&carried, &here.carried) && old == 1);
    assert!(there.carried.find(number).is_some());
    assert!(
        sessions.table.close(ticket.id, &here.carried).is_none(),
        "a connection that no longer carries it does not close it"
    );
    sessions.table.close(ticket.id, &there.carried).unwrap().end();
    assert!(there.carried.find(number).is_none());
    assert_eq!(sessions.attach(&ticket, &there, 2).unwrap_err(), Status::UnknownSession);
}

#[test]
fn the_largest_holder_makes_room_for_smaller_ones_and_is_refused_itself() {
    let mut sessions = TestTable::new(None, Some(6));
    let flood = sessions.enter_from(1, 0).unwrap().0;
    let tickets: Vec<_> = (0..6).map(|_| sessions.open(&flood, 0).unwrap()).collect();
    assert_eq!(sessions.open(&flood, 0), NO_PLACE, "its own, which it carries, it does not lose");
    let connection = sessions.enter_from(2, 0).unwrap().0;
    assert_eq!(
        sessions.displaces(&connection, 1),
        Some(tickets[0].id),
        "at once, the first that was never called"
    );
    assert!(flood.carried.find(1).is_none(), "its number is free");
    // Used ones are spared; what was not used for a while is not.
    for number in 2..7 {
        let session = flood.carried.find(number).unwrap();
        session.begin(sessions.at(2));
        if number > 2 {
            session.end(sessions.at(u64::from(number)))
        }
    }
    assert_eq!(sessions.open(&connection, 10), NO_PLACE);
    assert_eq!(
        sessions.displaces(&connection, 63),
        Some(tickets[2].id),
        "the longest idle that no handler runs for"
    );
    assert_eq!(sessions.displaces(&connection, 65), Some(tickets[3].id));
    assert_eq!(sessions.open(&connection, 300), NO_PLACE, "each has three: none holds less");
    assert_eq!(sessions.table.len(), 8);
}

#[test]
fn an_abandoned_session_makes_room_also_for_its_own_client() {
    let mut sessions = TestTable::new(None, Some(4));
    let (first, second, third) = (
        sessions.enter_from(1, 0).unwrap().0,
        sessions.enter_from(1, 0).unwrap().0,
        sessions.enter_from(1, 0).unwrap().0,
    );
    let early = sessions.open(&first, 0).unwrap();
    let left: Vec<_> = (0..2).map(|_| sessions.open(&second, 1).unwrap()).collect();
    let used = sessions.open(&third, 2).unwrap();
    third.carried.find(1).unwrap().begin(sessions.at(3));
    sessions.leave(&second, None, 3);
    assert_eq!(sessions.open(&second, 3), Err(Status::UnknownSession), "it is gone");
    let moved = sessions.table.attach(&left[0], (&first.carried, 9), first.peer, sessions.at(3)).unwrap();
    first.carried.put(9, moved.session, moved.stamp);
    assert_eq!(sessions.displaces(&third, 4), Some(left[1].id), "the other was come back to");
    assert_eq!(sessions.open(&third, 5), NO_PLACE, "all are carried, by no connection more than by this");
    sessions.leave(&first, None, 6);
    let other = sessions.enter_from(2, 7).unwrap().0;
    assert_eq!(sessions.displaces(&other, 7), Some(early.id));
    assert_eq!(sessions.displaces(&other, 8), Some(left[0].id), "however short the time");
    assert!(sessions.ids().contains(&used.id));
    assert_eq!(sessions.open(&other, 9), NO_PLACE);
}

#[test]
fn connections_of_one_client_have_shares_too() {
    let mut sessions = TestTable::new(None, Some(5));
    let (flood, connection) = (sessions.enter(0).unwrap().0, sessions.enter(0).unwrap().0);
    let tickets: Vec<_> = (0..5).map(|_| sessions.open(&flood, 0).unwrap()).collect();
    assert_eq!(sessions.displaces(&connection, 0), Some(tickets[0].id));
    assert_eq!(sessions.displaces(&connection, 0), Some(tickets[1].id));
    assert_eq!(sessions.open(&connection, 0), NO_PLACE, "three and two");
    assert_eq!(sessions.open(&flood, 0), NO_PLACE);
}

#[test]
fn among_small_holders_an_old_abandoned_session_makes_room() {
    let mut sessions = TestTable::new(None, Some(100));
    for client in 0..100 {
        let stand = sessions.enter_from(client, 0).unwrap().0;
        sessions.open(&stand, 0).unwrap();
        sessions.leave(&stand, None, u64::from(client));
    }
    let connection = sessions.enter_from(200, 59).unwrap().0;
    assert!(sessions.displaces(&connection, 59).is_some(), "one that holds nothing gets a place at once");
    assert_eq!(sessions.open(&connection, 59), NO_PLACE, "they may come back yet");
    assert!(sessions.displaces(&connection, 62).is_some());
    assert_eq!(sessions.open(&connection, 300), NO_PLACE, "it holds more than the others");
}

#[test]
fn the_last_places_are_for_clients_that_hold_few() {
    let mut sessions = TestTable::new(None, Some(128));
    let flood = sessions.enter_from(1, 0).unwrap().0;
    for number in 0..126 {
        sessions.open(&flood, 0).unwrap();
        flood.carried.find(number + 1).unwrap().begin(sessions.at(0));
    }
    assert_eq!(sessions.open(&flood, 0), NO_PLACE);
    let connection = sessions.enter_from(2, 0).unwrap().0;
    sessions.open(&connection, 0).unwrap();
    sessions.open(&connection, 0).unwrap();
    assert_eq!(sessions.open(&connection, 0), NO_PLACE, "all others are at work");
    (0..124).for_each(|_| _ = sessions.enter_from(1, 0).unwrap());
    assert_eq!(sessions.enter_from(1, 0).unwrap_err(), Status::MaxUsers, "connections too");
    assert!(sessions.enter_from(2, 0).is_ok());
    assert_eq!(sessions.enter_from(2, 0).unwrap_err(), Status::MaxUsers);
    assert!(sessions.enter_from(3, 0).is_ok());
    assert_eq!(sessions.enter_from(3, 0).unwrap_err(), Status::MaxUsers, "all are taken");
}

/// As a gateway leaves them: each was called, and called last in another order than they were opened in.
#[test]
fn sessions_that_were_called_make_room_when_their_connection_is_gone() {
    let mut sessions = TestTable::new(None, Some(100));
    let gateway = sessions.enter_from(1, 0).unwrap().0;
    for number in 1..=99 {
        sessions.open(&gateway, 0).unwrap();
        let session = gateway.carried.find(number).unwrap();
        session.begin(sessions.at(1));
        session.end(sessions.at(200 - u64::from(number)));
    }
    sessions.leave(&gateway, None, 200);
    let (again, other) = (sessions.enter_from(1, 200).unwrap().0, sessions.enter_from(2, 200).unwrap().0);
    assert!(sessions.displaces(&again, 201).is_some(), "its own make room for what it opens anew");
    assert_eq!(sessions.displaces(&other, 201), None, "a place was kept");
    for n in 0..45 {
        assert!(sessions.displaces(&other, 201).is_some(), "{n}");
        assert!(sessions.displaces(&again, 201).is_some(), "{n}");
    }
    assert_eq!(sessions.table.opened(), 100);
}

/// They are looked at by what they are now, not by what they were when they were opened.
#[test]
fn sessions_that_are_carried_and_were_called_long_ago_make_room() {
    let mut sessions = TestTable::new(None, Some(100));
    let flood = sessions.enter_from(1, 0).unwrap().0;
    for number in 1..=99 {
        sessions.open(&flood, 0).unwrap();
        let session = flood.carried.find(number).unwrap();
        session.begin(sessions.at(10));
        session.end(sessions.at(10));
    }
    let other = sessions.enter_from(2, 20).unwrap().0;
    sessions.open(&other, 20).unwrap();
    assert_eq!(sessions.open(&other, 20), NO_PLACE, "they are in use");
    assert!(sessions.displaces(&other, 71).is_some(), "and then they are not");
}
