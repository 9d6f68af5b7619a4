//! The book of sessions with a clock given to it.

use super::*;
use crate::sync::AtomicUsize;
use crate::sync::Ordering::SeqCst;

const TIMEOUT: Duration = Duration::from_secs(600);
const IDLE: Duration = Duration::from_secs(60);

/// A connection: calls out, opened sessions, how often it was asked to leave.
#[derive(Debug, Default)]
struct Stand {
    out: AtomicUsize,
    carried: Arc<Carried>,
    asked: AtomicUsize,
}

impl Tenant for Stand {
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

struct Rig {
    book: Book,
    start: Instant,
}

impl Rig {
    fn new(soft_max: Option<usize>, hard_max: Option<usize>) -> Rig {
        let rules =
            Rules { timeout: TIMEOUT, idle_min: IDLE, soft_max, hard_max, tracked: soft_max.is_some() };
        Rig { book: Book::new(rules, false), start: Instant::now() }
    }

    fn at(&self, seconds: u64) -> Instant {
        self.start + Duration::from_secs(seconds)
    }

    fn enter(&mut self, seconds: u64) -> Result<(Arc<Stand>, Option<Arc<Session>>), Status> {
        let (stand, now) = (Arc::<Stand>::default(), self.at(seconds));
        let tenant = Arc::downgrade(&stand) as Weak<dyn Tenant>;
        self.book.enter(tenant, ("test", ([127, 0, 0, 1], 1).into()), now).map(|own| (stand, own))
    }

    fn open(&mut self, stand: &Stand, seconds: u64) -> Result<SessionTicket, Status> {
        let (number, now) = (stand.carried.reserve().unwrap(), self.at(seconds));
        let whose = ("test", ([127, 0, 0, 1], 1).into());
        let opened = self.book.open([number as u8; 16], (&stand.carried, number), whose, now);
        let (moved, ticket) = opened.inspect_err(|_| stand.carried.clear(number))?;
        stand.carried.put(number, moved.session, moved.stamp);
        Ok(ticket)
    }

    /// Looks, ends what is found, and returns the ids of it and how many were asked to leave.
    fn look(&mut self, seconds: u64) -> (Vec<(u64, Why)>, usize) {
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
    let mut rig = Rig::new(None, None);
    let (stand, _) = rig.enter(0).unwrap();
    assert_eq!(rig.next(), None, "connections alone are left alone");
    let tickets: Vec<_> = (0..3).map(|n| rig.open(&stand, n).unwrap()).collect();
    assert_eq!(rig.next(), Some(TIMEOUT));
    let used = stand.carried.find(2).unwrap();
    used.begin(rig.at(100));
    used.end(rig.at(200));
    assert_eq!(rig.look(599), (vec![], 0));
    assert_eq!(rig.look(600), (vec![(tickets[0].id, Why::TimedOut)], 0));
    assert_eq!(rig.next(), Some(Duration::from_secs(660)), "a look a minute at most");
    assert_eq!((stand.carried.count(), stand.carried.find(1).is_none()), (2, true));
    assert_eq!(rig.look(660), (vec![(tickets[2].id, Why::TimedOut)], 0));
    assert_eq!(rig.next(), Some(Duration::from_secs(800)));
    used.begin(rig.at(790));
    assert_eq!(rig.look(5000), (vec![], 0), "while a call runs it is in use");
    used.end(rig.at(5100));
    drop(stand);
    assert_eq!(rig.look(5700), (vec![(tickets[1].id, Why::TimedOut)], 0), "without a connection too");
    assert_eq!((rig.next(), rig.book.len()), (None, 1));
}

#[test]
fn over_the_soft_limit_the_longest_idle_goes_and_nobody_is_refused() {
    let mut rig = Rig::new(Some(3), None);
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
    assert_eq!(rig.look(72), (vec![(ticket.id, Why::Displaced)], 0), "the longest idle");
    rig.book.leave(asked.map(|own| own.id()));
    assert_eq!(first.carries(), 0);
    assert_eq!(rig.next(), Some(Duration::from_secs(72) + CROWD_PAUSE), "and looks soon again");
    assert_eq!(rig.look(73), (vec![], 1));
    assert_eq!(first.asked.load(SeqCst), 1);
    rig.book.stays(own.unwrap().id(), rig.at(74));
    assert_eq!(rig.next(), Some(Duration::from_secs(74) + CROWD_PAUSE), "it began to call: another look");
}

#[test]
fn a_limit_of_n_lets_n_in() {
    let mut rig = Rig::new(None, Some(3));
    let (stand, _) = rig.enter(0).unwrap();
    let ticket = rig.open(&stand, 0).unwrap();
    rig.open(&stand, 0).unwrap();
    assert_eq!(rig.open(&stand, 0), Err(Status::MaxUsers));
    assert_eq!(rig.enter(0).unwrap_err(), Status::MaxUsers);
    rig.book.close(ticket.id, &stand.carried).unwrap().end();
    rig.enter(0).unwrap();
    assert_eq!(rig.enter(0).unwrap_err(), Status::MaxUsers);
    rig.book.leave(None);
    rig.book.restricted = true;
    assert_eq!(rig.enter(0).unwrap_err(), Status::Restricted);
    assert_eq!(rig.open(&stand, 0), Err(Status::Restricted));
    rig.book.restricted = false;
    assert!(rig.enter(0).is_ok());
}

#[test]
fn only_the_right_token_attaches_and_what_moves_is_gone_from_where_it_was() {
    let mut rig = Rig::new(None, None);
    let (here, there) = (rig.enter(0).unwrap().0, rig.enter(0).unwrap().0);
    let ticket = rig.open(&here, 0).unwrap();
    let now = rig.at(1);
    let mut wrong = ticket;
    wrong.token[15] ^= 1;
    let nobody = SessionTicket { id: ticket.id + 1, ..ticket };
    for ticket in [wrong, nobody] {
        assert_eq!(rig.book.attach(&ticket, (&there.carried, 1), now).unwrap_err(), Status::UnknownSession);
    }
    let again = rig.book.attach(&ticket, (&here.carried, 9), now).unwrap();
    assert_eq!((again.number, again.from.is_none()), (1, true), "where it is, it has the number it had");
    assert!(here.carried.find(1).is_some());
    let number = there.carried.reserve().unwrap();
    let Move { session, stamp, from, .. } = rig.book.attach(&ticket, (&there.carried, number), now).unwrap();
    assert!(here.carried.find(1).is_none(), "at once");
    there.carried.put(number, session, stamp);
    let (carried, old) = from.unwrap();
    assert!(Arc::ptr_eq(&carried, &here.carried) && old == 1);
    assert!(there.carried.find(number).is_some());
    assert!(rig.book.close(ticket.id, &here.carried).is_none(), "who carries it no longer does not close it");
    rig.book.close(ticket.id, &there.carried).unwrap().end();
    assert!(there.carried.find(number).is_none());
    assert_eq!(rig.book.attach(&ticket, (&there.carried, 2), now).unwrap_err(), Status::UnknownSession);
}
