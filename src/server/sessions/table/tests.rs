//! The book of sessions with a clock given to it.

use super::*;
use crate::sync::AtomicUsize;
use crate::sync::Ordering::SeqCst;

const TIMEOUT: Duration = Duration::from_secs(600);
const IDLE: Duration = Duration::from_secs(60);

/// A connection: calls out, opened sessions, how often it was asked to leave.
#[derive(Debug)]
struct Stand {
    peer: SocketAddr,
    out: AtomicUsize,
    carried: Arc<ConnectionSessions>,
    asked: AtomicUsize,
}

impl SessionHolder for Stand {
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

struct BenchPool {
    book: SessionTable,
    start: Instant,
}

impl BenchPool {
    fn new(soft_max: Option<usize>, hard_max: Option<usize>) -> BenchPool {
        let rules =
            Rules { timeout: TIMEOUT, idle_min: IDLE, soft_max, hard_max, tracked: soft_max.is_some() };
        BenchPool { book: SessionTable::new(rules, false), start: Instant::now() }
    }

    fn at(&self, seconds: u64) -> Instant {
        self.start + Duration::from_secs(seconds)
    }

    fn enter(&mut self, seconds: u64) -> Result<(Arc<Stand>, Option<Arc<Session>>), Status> {
        self.enter_from(1, seconds)
    }

    /// A connection of 127.0.0.`last`.
    fn enter_from(&mut self, last: u8, seconds: u64) -> Result<(Arc<Stand>, Option<Arc<Session>>), Status> {
        let (peer, now) = (SocketAddr::from(([127, 0, 0, last], 1)), self.at(seconds));
        let (out, carried, asked) = Default::default();
        let stand = Arc::new(Stand { peer, out, carried, asked });
        let tenant = Arc::downgrade(&stand) as Weak<dyn SessionHolder>;
        self.book.enter(tenant, ("test", peer), now).map(|own| (stand, own))
    }

    /// A connection ends.
    fn leave(&mut self, stand: &Stand, own: Option<u64>, seconds: u64) {
        let now = self.at(seconds);
        self.book.leave(stand.peer, (own, Some(&stand.carried)), now);
    }

    /// Who lost its place to what `stand` opens.
    fn displaces(&mut self, stand: &Stand, seconds: u64) -> Option<u64> {
        let before = self.ids();
        let new = self.open(stand, seconds).ok()?;
        let mut after = self.ids();
        after.retain(|id| *id != new.id);
        before.into_iter().find(|id| !after.contains(id))
    }

    fn ids(&self) -> Vec<u64> {
        self.book.opened.keys().copied().collect()
    }

    fn open(&mut self, stand: &Stand, seconds: u64) -> Result<SessionTicket, Status> {
        let (number, now) = (stand.carried.reserve().unwrap(), self.at(seconds));
        let whose = ("test", stand.peer);
        let opened = self.book.open([number as u8; 16], (&stand.carried, number), whose, now);
        let (moved, ticket, gone) = opened.inspect_err(|_| stand.carried.clear(number))?;
        gone.iter().for_each(SessionEntry::end);
        stand.carried.put(number, moved.session, moved.stamp);
        Ok(ticket)
    }

    /// Looks, ends what is found, and returns the ids of it and how many were asked to leave.
    fn look(&mut self, seconds: u64) -> (Vec<(u64, SessionEnd)>, usize) {
        let found = self.book.look(self.at(seconds));
        found.ended.iter().for_each(|(entry, _)| entry.end());
        found.ask.iter().for_each(|tenant| tenant.ask_to_leave());
        let mut ended: Vec<_> = found.ended.iter().map(|(entry, why)| (entry.session.id(), *why)).collect();
        ended.sort_by_key(|(id, _)| *id);
        (ended, found.ask.len())
    }

    fn next(&self) -> Option<Duration> {
        self.book.next().map(|next| next - self.start)
    }
}

#[test]
fn what_is_not_used_for_the_timeout_is_closed_whether_attached_or_not() {
    let mut rig = BenchPool::new(None, None);
    let (stand, _) = rig.enter(0).unwrap();
    assert_eq!(rig.next(), None, "connections alone are left alone");
    let tickets: Vec<_> = (0..3).map(|n| rig.open(&stand, n).unwrap()).collect();
    assert_eq!(rig.next(), Some(TIMEOUT));
    let used = stand.carried.find(2).unwrap();
    used.begin(rig.at(100));
    used.end(rig.at(200));
    assert_eq!(rig.look(599), (vec![], 0));
    assert_eq!(rig.look(600), (vec![(tickets[0].id, SessionEnd::TimedOut)], 0));
    assert_eq!(rig.next(), Some(Duration::from_secs(660)), "a look a minute at most");
    assert_eq!((stand.carried.count(), stand.carried.find(1).is_none()), (2, true));
    assert_eq!(rig.look(660), (vec![(tickets[2].id, SessionEnd::TimedOut)], 0));
    assert_eq!(rig.next(), Some(Duration::from_secs(800)));
    used.begin(rig.at(790));
    assert_eq!(rig.look(5000), (vec![], 0), "while a call runs it is in use");
    used.end(rig.at(5100));
    drop(stand);
    assert_eq!(rig.look(5700), (vec![(tickets[1].id, SessionEnd::TimedOut)], 0), "without a connection too");
    assert_eq!((rig.next(), rig.book.len()), (None, 1));
}

#[test]
fn over_the_soft_limit_the_longest_idle_goes_and_nobody_is_refused() {
    let mut rig = BenchPool::new(Some(3), None);
    let (first, own) = rig.enter(0).unwrap();
    let (second, asked) = rig.enter(1).unwrap();
    let ticket = rig.open(&first, 2).unwrap();
    assert_eq!(rig.next(), Some(TIMEOUT + Duration::from_secs(2)), "there is room");
    rig.enter(3).unwrap();
    assert_eq!(rig.next(), Some(Duration::from_secs(3)));
    assert_eq!(rig.look(3), (vec![], 0), "nobody has been idle for a minute");
    assert_eq!(
        rig.next(),
        Some(Duration::from_secs(61)),
        "the second will have been: the first carries another"
    );
    assert_eq!(rig.look(61), (vec![], 1));
    assert_eq!((first.asked.load(SeqCst), second.asked.load(SeqCst)), (0, 1));
    assert_eq!(rig.look(70), (vec![], 0), "who was asked is as good as gone");
    // Two more: the opened session and the connection without calls are idle, the busy one is not.
    let busy = rig.enter(71).unwrap().0;
    busy.out.store(1, SeqCst);
    rig.enter(72).unwrap();
    assert_eq!(rig.look(72), (vec![(ticket.id, SessionEnd::Displaced)], 0), "the longest idle");
    rig.leave(&second, asked.map(|own| own.id()), 72);
    assert_eq!(first.carries(), 0);
    assert_eq!(rig.next(), Some(Duration::from_secs(72) + CROWD_PAUSE), "and looks soon again");
    assert_eq!(rig.look(73), (vec![], 1));
    assert_eq!(first.asked.load(SeqCst), 1);
    rig.book.stays(own.unwrap().id(), rig.at(74));
    assert_eq!(rig.next(), Some(Duration::from_secs(74) + CROWD_PAUSE), "it began to call: another look");
}

#[test]
fn a_limit_of_n_lets_n_in() {
    let mut rig = BenchPool::new(None, Some(3));
    let (stand, _) = rig.enter(0).unwrap();
    let ticket = rig.open(&stand, 0).unwrap();
    rig.open(&stand, 0).unwrap();
    rig.open(&stand, 0).unwrap();
    assert_eq!(rig.open(&stand, 0), Err(Status::MaxUsers));
    rig.book.close(ticket.id, &stand.carried).unwrap().end();
    rig.open(&stand, 0).unwrap();
    assert_eq!(rig.open(&stand, 0), Err(Status::MaxUsers));
    let (second, _) = rig.enter(0).expect("connections have places of their own");
    rig.enter(0).unwrap();
    assert_eq!(rig.enter(0).unwrap_err(), Status::MaxUsers);
    rig.leave(&second, None, 0);
    rig.book.restricted = true;
    assert_eq!(rig.enter(0).unwrap_err(), Status::Restricted);
    assert_eq!(rig.open(&stand, 0), Err(Status::Restricted));
    rig.book.restricted = false;
    assert!(rig.enter(0).is_ok());
}

#[test]
fn only_the_right_token_attaches_and_what_moves_is_gone_from_where_it_was() {
    let mut rig = BenchPool::new(None, None);
    let (here, there) = (rig.enter(0).unwrap().0, rig.enter(0).unwrap().0);
    let ticket = rig.open(&here, 0).unwrap();
    let now = rig.at(1);
    let mut wrong = ticket;
    wrong.token[15] ^= 1;
    let nobody = SessionTicket { id: ticket.id + 1, ..ticket };
    for ticket in [wrong, nobody] {
        assert_eq!(
            rig.book.attach(&ticket, (&there.carried, 1), there.peer, now).unwrap_err(),
            Status::UnknownSession
        );
    }
    let again = rig.book.attach(&ticket, (&here.carried, 9), here.peer, now).unwrap();
    assert_eq!((again.number, again.from.is_none()), (1, true), "where it is, it has the number it had");
    assert!(here.carried.find(1).is_some());
    let number = there.carried.reserve().unwrap();
    let Move { session, stamp, from, .. } =
        rig.book.attach(&ticket, (&there.carried, number), there.peer, now).unwrap();
    assert!(here.carried.find(1).is_none(), "at once");
    there.carried.put(number, session, stamp);
    let (carried, old) = from.unwrap();
    assert!(Arc::ptr_eq(&carried, &here.carried) && old == 1);
    assert!(there.carried.find(number).is_some());
    assert!(rig.book.close(ticket.id, &here.carried).is_none(), "who carries it no longer does not close it");
    rig.book.close(ticket.id, &there.carried).unwrap().end();
    assert!(there.carried.find(number).is_none());
    assert_eq!(
        rig.book.attach(&ticket, (&there.carried, 2), there.peer, now).unwrap_err(),
        Status::UnknownSession
    );
}

#[test]
fn who_holds_the_most_makes_room_for_who_holds_less_and_is_refused_itself() {
    let mut rig = BenchPool::new(None, Some(6));
    let flood = rig.enter_from(1, 0).unwrap().0;
    let tickets: Vec<_> = (0..6).map(|_| rig.open(&flood, 0).unwrap()).collect();
    assert_eq!(rig.open(&flood, 0), Err(Status::MaxUsers), "its own, which it carries, it does not lose");
    let connection = rig.enter_from(2, 0).unwrap().0;
    assert_eq!(
        rig.displaces(&connection, 1),
        Some(tickets[0].id),
        "at once, the first that was never called"
    );
    assert!(flood.carried.find(1).is_none(), "its number is nobody's");
    // Used ones are spared; what was not used for a while is not.
    for number in 2..7 {
        let session = flood.carried.find(number).unwrap();
        session.begin(rig.at(2));
        if number > 2 {
            session.end(rig.at(u64::from(number)))
        }
    }
    assert_eq!(rig.open(&connection, 10), Err(Status::MaxUsers));
    assert_eq!(
        rig.displaces(&connection, 63),
        Some(tickets[2].id),
        "the longest idle that no handler runs for"
    );
    assert_eq!(rig.displaces(&connection, 65), Some(tickets[3].id));
    assert_eq!(rig.open(&connection, 300), Err(Status::MaxUsers), "each has three: nobody holds less");
    assert_eq!(rig.book.len(), 8);
}

#[test]
fn what_nobody_came_back_to_makes_room_also_for_its_own_client() {
    let mut rig = BenchPool::new(None, Some(4));
    let (first, second, third) =
        (rig.enter_from(1, 0).unwrap().0, rig.enter_from(1, 0).unwrap().0, rig.enter_from(1, 0).unwrap().0);
    let early = rig.open(&first, 0).unwrap();
    let left: Vec<_> = (0..2).map(|_| rig.open(&second, 1).unwrap()).collect();
    let used = rig.open(&third, 2).unwrap();
    third.carried.find(1).unwrap().begin(rig.at(3));
    rig.leave(&second, None, 3);
    assert_eq!(rig.open(&second, 3), Err(Status::UnknownSession), "it is gone");
    let moved = rig.book.attach(&left[0], (&first.carried, 9), first.peer, rig.at(3)).unwrap();
    first.carried.put(9, moved.session, moved.stamp);
    assert_eq!(rig.displaces(&third, 4), Some(left[1].id), "the other was come back to");
    assert_eq!(
        rig.open(&third, 5),
        Err(Status::MaxUsers),
        "all are carried, by no connection more than by this"
    );
    rig.leave(&first, None, 6);
    let other = rig.enter_from(2, 7).unwrap().0;
    assert_eq!(rig.displaces(&other, 7), Some(early.id));
    assert_eq!(rig.displaces(&other, 8), Some(left[0].id), "however short the time");
    assert!(rig.ids().contains(&used.id));
    assert_eq!(rig.open(&other, 9), Err(Status::MaxUsers));
}

#[test]
fn connections_of_one_client_have_shares_too() {
    let mut rig = BenchPool::new(None, Some(5));
    let (flood, connection) = (rig.enter(0).unwrap().0, rig.enter(0).unwrap().0);
    let tickets: Vec<_> = (0..5).map(|_| rig.open(&flood, 0).unwrap()).collect();
    assert_eq!(rig.displaces(&connection, 0), Some(tickets[0].id));
    assert_eq!(rig.displaces(&connection, 0), Some(tickets[1].id));
    assert_eq!(rig.open(&connection, 0), Err(Status::MaxUsers), "three and two");
    assert_eq!(rig.open(&flood, 0), Err(Status::MaxUsers));
}

#[test]
fn where_each_holds_little_what_was_left_for_a_while_makes_room() {
    let mut rig = BenchPool::new(None, Some(100));
    for client in 0..100 {
        let stand = rig.enter_from(client, 0).unwrap().0;
        rig.open(&stand, 0).unwrap();
        rig.leave(&stand, None, u64::from(client));
    }
    let connection = rig.enter_from(200, 59).unwrap().0;
    assert!(rig.displaces(&connection, 59).is_some(), "who holds nothing gets a place at once");
    assert_eq!(rig.open(&connection, 59), Err(Status::MaxUsers), "they may come back yet");
    assert!(rig.displaces(&connection, 62).is_some());
    assert_eq!(rig.open(&connection, 300), Err(Status::MaxUsers), "it holds more than the others");
}

#[test]
fn the_last_places_are_for_those_who_hold_little() {
    let mut rig = BenchPool::new(None, Some(128));
    let flood = rig.enter_from(1, 0).unwrap().0;
    for number in 0..126 {
        rig.open(&flood, 0).unwrap();
        flood.carried.find(number + 1).unwrap().begin(rig.at(0));
    }
    assert_eq!(rig.open(&flood, 0), Err(Status::MaxUsers));
    let connection = rig.enter_from(2, 0).unwrap().0;
    rig.open(&connection, 0).unwrap();
    rig.open(&connection, 0).unwrap();
    assert_eq!(rig.open(&connection, 0), Err(Status::MaxUsers), "all others are at work");
    (0..124).for_each(|_| _ = rig.enter_from(1, 0).unwrap());
    assert_eq!(rig.enter_from(1, 0).unwrap_err(), Status::MaxUsers, "connections too");
    assert!(rig.enter_from(2, 0).is_ok());
    assert_eq!(rig.enter_from(2, 0).unwrap_err(), Status::MaxUsers);
    assert!(rig.enter_from(3, 0).is_ok());
    assert_eq!(rig.enter_from(3, 0).unwrap_err(), Status::MaxUsers, "all are taken");
}

/// As a gateway leaves them: each was called, and called last in another order than they were opened in.
#[test]
fn sessions_that_were_called_make_room_when_their_connection_is_gone() {
    let mut rig = BenchPool::new(None, Some(100));
    let gateway = rig.enter_from(1, 0).unwrap().0;
    for number in 1..=99 {
        rig.open(&gateway, 0).unwrap();
        let session = gateway.carried.find(number).unwrap();
        session.begin(rig.at(1));
        session.end(rig.at(200 - u64::from(number)));
    }
    rig.leave(&gateway, None, 200);
    let (again, other) = (rig.enter_from(1, 200).unwrap().0, rig.enter_from(2, 200).unwrap().0);
    assert!(rig.displaces(&again, 201).is_some(), "its own make room for what it opens anew");
    assert_eq!(rig.displaces(&other, 201), None, "a place was kept");
    for n in 0..45 {
        assert!(rig.displaces(&other, 201).is_some(), "{n}");
        assert!(rig.displaces(&again, 201).is_some(), "{n}");
    }
    assert_eq!(rig.book.opened(), 100);
}

/// They are looked at by what they are now, not by what they were when they were opened.
#[test]
fn sessions_that_are_carried_and_were_called_long_ago_make_room() {
    let mut rig = BenchPool::new(None, Some(100));
    let flood = rig.enter_from(1, 0).unwrap().0;
    for number in 1..=99 {
        rig.open(&flood, 0).unwrap();
        let session = flood.carried.find(number).unwrap();
        session.begin(rig.at(10));
        session.end(rig.at(10));
    }
    let other = rig.enter_from(2, 20).unwrap().0;
    rig.open(&other, 20).unwrap();
    assert_eq!(rig.open(&other, 20), Err(Status::MaxUsers), "they are in use");
    assert!(rig.displaces(&other, 71).is_some(), "and then they are not");
}
