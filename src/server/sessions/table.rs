//! Which sessions there are, and which must go: the rules, without lock, clock and log.
//!
//! Every connection that was welcomed has a session of its own; clients open others besides. Those are in the book
//! one by one, since they outlive their connections. The own ones are only counted, unless they are of interest: there
//! is a soft limit, and the book must know who was idle for longest, or the log tells of them.
//!
//! The hard limit bounds connections and opened sessions each, so that neither pushes out the other; `shares` says
//! which client may take one of the last places, and which opened session makes room.
//!
//! Knows a connection as a [`SessionHolder`]. The time comes in as a value.

use super::client_shares::{Carrier, Shares, Use};
use crate::service::session::SessionTicket;
use crate::service::{ClientId, ConnectionSessions, Session, Status, has_room};
use crate::sync::{Arc, Weak};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Between two looks at what is idle, while there are too many sessions.
pub(super) const CROWD_PAUSE: Duration = Duration::from_millis(100);

/// Longest time between two looks at what has timed out.
const TIMEOUT_PAUSE_MAX: Duration = Duration::from_secs(60);

/// Sessions at most where `Server_MaxUsers` sets no limit.
const SESSIONS_MAX: usize = 10_000_000;

/// How many sessions, and how long.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    pub(super) timeout: Duration,
    /// An idle session is left alone for so long, however many there are.
    pub(super) idle_min: Duration,
    pub(super) soft_max: Option<usize>,
    pub(super) hard_max: Option<usize>,
    /// Own sessions of connections are of interest, one by one: for the soft limit or for the log.
    pub(super) tracked: bool,
}

/// A connection as the book sees it.
pub(crate) trait SessionHolder: Send + Sync + std::fmt::Debug {
    /// Calls it has out.
    fn calls_out(&self) -> usize;
    /// Opened sessions that it carries.
    fn carries(&self) -> usize;
    /// It is idle and its place is wanted. Its listener has the last word.
    fn ask_to_leave(&self);
}

/// Why an opened session ended, as the log says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SessionEnd {
    Closed,
    TimedOut,
    Displaced,
    MadeRoom,
    Dropped,
    Stopped,
}

/// A session that a client opened.
#[derive(Debug)]
pub(super) struct SessionEntry {
    pub(super) session: Arc<Session>,
    token: [u8; 16],
    /// The connection that carries it, if any does, and its number there.
    place: (Weak<ConnectionSessions>, u32),
}

impl SessionEntry {
    fn is_carried_by(&self, carried: &Arc<ConnectionSessions>) -> bool {
        std::ptr::eq(self.place.0.as_ptr(), Arc::as_ptr(carried))
    }

    /// Ends it: no number of it is good any more.
    pub(super) fn end(&self) {
        self.session.unstamp();
        let (carried, number) = &self.place;
        if let Some(carried) = carried.upgrade() {
            carried.clear(*number);
        }
    }
}

/// The own session of a connection.
#[derive(Debug)]
struct Own {
    session: Arc<Session>,
    tenant: Weak<dyn SessionHolder>,
    /// It was asked to leave and is still there.
    asked: bool,
}

/// What a look at the book found.
#[derive(Debug, Default)]
pub(super) struct ExpiredSessions {
    pub(super) ended: Vec<(SessionEntry, SessionEnd)>,
    pub(super) ask: Vec<Arc<dyn SessionHolder>>,
    /// Were looked at. Whoever drops a connection last drops what handlers keep with it: not under the book's lock.
    seen: Vec<Arc<dyn SessionHolder>>,
}

/// A session that could go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Idle {
    Own(u64),
    Opened(u64),
}

/// Where an attached session is to be put, and where it was.
#[derive(Debug)]
pub(super) struct Move {
    pub(super) session: Arc<Session>,
    pub(super) stamp: u64,
    pub(super) number: u32,
    pub(super) from: Option<(Arc<ConnectionSessions>, u32)>,
}

#[derive(Debug)]
pub(super) struct SessionTable {
    rules: Rules,
    pub(super) restricted: bool,
    last_id: u64,
    connections: usize,
    /// The same by client.
    clients: HashMap<ClientId, usize>,
    own: HashMap<u64, Own>,
    opened: HashMap<u64, SessionEntry>,
    shares: Shares,
    /// When to look for what has timed out.
    next_timeout: Option<Instant>,
    /// When to look for what is idle.
    next_crowd: Option<Instant>,
    /// When it was looked for last.
    last_crowd: Option<Instant>,
}

impl SessionTable {
    pub(super) fn new(rules: Rules, restricted: bool) -> SessionTable {
        SessionTable {
            rules,
            restricted,
            last_id: 0,
            connections: 0,
            clients: HashMap::new(),
            own: HashMap::new(),
            opened: HashMap::new(),
            shares: Shares::default(),
            next_timeout: None,
            next_crowd: None,
            last_crowd: None,
        }
    }

    /// Sessions there are.
    pub(super) fn len(&self) -> usize {
        self.connections + self.opened.len()
    }

    /// Of them those that clients opened.
    pub(super) fn opened(&self) -> usize {
        self.opened.len()
    }

    /// From now on these rules hold, for what is in the book too.
    pub(super) fn set_rules(&mut self, rules: Rules, now: Instant) {
        self.rules = rules;
        self.next_timeout = self.next_timeout.map(|_| now);
        self.counted(now);
    }

    /// All sessions in the book, and whether a connection carries them.
    pub(super) fn known(&self) -> Vec<(Arc<Session>, bool)> {
        let own = self.own.values().map(|own| (Arc::clone(&own.session), true));
        let carried = |entry: &SessionEntry| entry.place.0.strong_count() > 0;
        own.chain(self.opened.values().map(|entry| (Arc::clone(&entry.session), carried(entry)))).collect()
    }

    /// When [`SessionTable::look`] has something to do.
    pub(super) fn next(&self) -> Option<Instant> {
        [self.next_timeout, self.next_crowd].into_iter().flatten().min()
    }

    fn most(&self) -> usize {
        self.rules.hard_max.unwrap_or(SESSIONS_MAX)
    }

    fn admits(&self) -> Result<(), Status> {
        if self.restricted { Err(Status::Restricted) } else { Ok(()) }
    }

    fn number(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// One more than the soft limit calls for a look.
    fn counted(&mut self, now: Instant) {
        if self.rules.soft_max.is_some_and(|most| self.len() > most) {
            let soonest = self.last_crowd.map_or(now, |last| now.max(last + CROWD_PAUSE));
            self.next_crowd.get_or_insert(soonest);
        }
    }

    /// A connection is let in; its own session, if that is of interest.
    ///
    /// # Errors
    /// MaxUsers, Restricted.
    pub(super) fn enter(
        &mut self,
        tenant: Weak<dyn SessionHolder>,
        (client, peer): (&str, SocketAddr),
        now: Instant,
    ) -> Result<Option<Arc<Session>>, Status> {
        self.admits()?;
        let (id, all, most) = (ClientId::of(peer.ip()), self.connections, self.most());
        let own = self.clients.get(&id).copied().unwrap_or(0);
        if !has_room(own, all, most) {
            return Err(Status::MaxUsers);
        }
        self.connections += 1;
        self.clients.insert(id, own + 1);
        self.counted(now);
        if !self.rules.tracked {
            return Ok(None);
        }
        let session = Arc::new(Session::new(self.number(), client, peer, now));
        self.own.insert(session.id(), Own { session: Arc::clone(&session), tenant, asked: false });
        Ok(Some(session))
    }

    /// A connection that was let in is closed. What it carries waits for another, and it opens no more.
    pub(super) fn leave(
        &mut self,
        peer: SocketAddr,
        (own, carried): (Option<u64>, Option<&Arc<ConnectionSessions>>),
        now: Instant,
    ) {
        self.connections -= 1;
        let client = ClientId::of(peer.ip());
        if let Some(count) = self.clients.get_mut(&client) {
            *count -= 1;
            if *count == 0 {
                self.clients.remove(&client);
            }
        }
        own.and_then(|own| self.own.remove(&own));
        if let Some(carried) = carried {
            carried.depart();
            self.shares.depart(carrier(carried), now);
        }
    }

    /// A connection that was asked to leave had begun to call.
    pub(super) fn stays(&mut self, own: u64, now: Instant) {
        if let Some(own) = self.own.get_mut(&own) {
            own.asked = false;
            self.next_crowd = Some(now + CROWD_PAUSE);
        }
    }

    /// A client opens a session: its place is `number` of what its connection carries. Another may have to make room,
    /// which is then ended without the book.
    ///
    /// # Errors
    /// MaxUsers, Restricted; UnknownSession if the connection is gone.
    pub(super) fn open(
        &mut self,
        token: [u8; 16],
        (carried, number): (&Arc<ConnectionSessions>, u32),
        (client, peer): (&str, SocketAddr),
        now: Instant,
    ) -> Result<(Move, SessionTicket, Option<SessionEntry>), Status> {
        self.admits()?;
        if carried.is_gone() {
            return Err(Status::UnknownSession);
        }
        let holder = (carrier(carried), ClientId::of(peer.ip()));
        let gone = self.make_room(holder, now)?;
        let id = self.number();
        let session = Arc::new(Session::new(id, client, peer, now));
        let moved = Move { session: Arc::clone(&session), stamp: session.restamp(), number, from: None };
        let place = (Arc::downgrade(carried), number);
        self.shares.add(id, holder, used(&session));
        self.opened.insert(id, SessionEntry { session, token, place });
        self.next_timeout.get_or_insert(now + self.rules.timeout);
        self.counted(now);
        Ok((moved, SessionTicket { id, token }, gone))
    }

    /// Finds a place for one more opened session; if there is none, takes the one out that is used least.
    fn make_room(
        &mut self,
        (carrier, client): (Carrier, ClientId),
        now: Instant,
    ) -> Result<Option<SessionEntry>, Status> {
        let (all, most) = (self.opened.len(), self.most());
        if has_room(self.shares.of(client), all, most) {
            return Ok(None);
        }
        let opened = &self.opened;
        let seen = |id: u64| {
            let session = &opened[&id].session;
            let runs = session.is_running();
            if runs {
                session.touch(now);
            }
            (used(session), runs)
        };
        let times = (now, self.rules.idle_min);
        let found = self.shares.makes_room((carrier, client), all >= most, times, &seen);
        found.and_then(|id| self.take(id)).map(Some).ok_or(Status::MaxUsers)
    }

    /// Takes an opened session out.
    fn take(&mut self, id: u64) -> Option<SessionEntry> {
        self.shares.remove(id);
        self.opened.remove(&id)
    }

    /// A connection asks for a session that there is. One that has it already keeps it where it is, and `number` is
    /// not needed.
    ///
    /// # Errors
    /// UnknownSession, also if the connection is gone.
    pub(super) fn attach(
        &mut self,
        ticket: &SessionTicket,
        (carried, number): (&Arc<ConnectionSessions>, u32),
        peer: SocketAddr,
        now: Instant,
    ) -> Result<Move, Status> {
        if carried.is_gone() {
            return Err(Status::UnknownSession);
        }
        let entry = self.opened.get_mut(&ticket.id).filter(|entry| ticket.fits(&entry.token));
        let SessionEntry { session, place, .. } = entry.ok_or(Status::UnknownSession)?;
        session.touch(now);
        let before = place.0.upgrade();
        if before.as_ref().is_some_and(|before| Arc::ptr_eq(before, carried)) {
            let (session, stamp) = (Arc::clone(session), session.stamp());
            return Ok(Move { session, stamp, number: place.1, from: None });
        }
        let from = before.map(|before| (before, place.1));
        *place = (Arc::downgrade(carried), number);
        self.shares.remove(ticket.id);
        self.shares.add(ticket.id, (carrier(carried), ClientId::of(peer.ip())), used(session));
        Ok(Move { session: Arc::clone(session), stamp: session.restamp(), number, from })
    }

    /// A client closes a session.
    /// Nothing if `carried` carries it no longer.
    pub(super) fn close(&mut self, id: u64, carried: &Arc<ConnectionSessions>) -> Option<SessionEntry> {
        let here = self.opened.get(&id).is_some_and(|entry| entry.is_carried_by(carried));
        if here { self.take(id) } else { None }
    }

    /// Those that an administrator means.
    pub(super) fn take_those(&mut self, meant: impl Fn(&Session) -> bool) -> Vec<SessionEntry> {
        let opened = self.opened.iter().filter(|(_, entry)| meant(&entry.session));
        let ids: Vec<u64> = opened.map(|(id, _)| *id).collect();
        ids.into_iter().filter_map(|id| self.take(id)).collect()
    }

    /// All that clients opened, at the end of the server.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = SessionEntry> {
        self.next_timeout = None;
        self.shares = Shares::default();
        std::mem::take(&mut self.opened).into_values()
    }

    /// Takes out what has timed out, and what is idle and over the soft limit.
    pub(super) fn look(&mut self, now: Instant) -> ExpiredSessions {
        let mut found = ExpiredSessions::default();
        if self.next_timeout.is_some_and(|next| now >= next) {
            self.time_out(now, &mut found);
        }
        if self.next_crowd.is_some_and(|next| now >= next) {
            self.thin_out(now, &mut found);
        }
        found
    }

    fn time_out(&mut self, now: Instant, found: &mut ExpiredSessions) {
        let timeout = self.rules.timeout;
        for entry in self.opened.values().filter(|entry| entry.session.is_running()) {
            entry.session.touch(now);
        }
        let late = self.take_those(|session| session.last_use() + timeout <= now);
        found.ended.extend(late.into_iter().map(|entry| (entry, SessionEnd::TimedOut)));
        let first = self.opened.values().map(|entry| entry.session.last_use() + timeout).min();
        self.next_timeout = first.map(|first| first.max(now + timeout.min(TIMEOUT_PAUSE_MAX)));
    }

    fn thin_out(&mut self, now: Instant, found: &mut ExpiredSessions) {
        (self.next_crowd, self.last_crowd) = (None, Some(now));
        let asked = self.own.values().filter(|own| own.asked).count();
        let most = self.rules.soft_max.unwrap_or(usize::MAX).saturating_add(asked);
        let over = self.len().saturating_sub(most);
        if over == 0 {
            return;
        }
        let mut unused = self.unused(now, &mut found.seen);
        unused.sort_unstable();
        let idle = unused.partition_point(|(last_use, _)| *last_use + self.rules.idle_min <= now);
        for (_, idle) in &unused[..idle.min(over)] {
            match idle {
                Idle::Opened(id) => {
                    found.ended.extend(self.take(*id).map(|entry| (entry, SessionEnd::Displaced)));
                }
                Idle::Own(id) => {
                    let own = self.own.get_mut(id).expect("it was found there just now");
                    own.asked = true;
                    found.ask.extend(own.tenant.upgrade());
                }
            }
        }
        if idle < over {
            // Where a session went, the connection that carried it may be free to go too.
            let first = unused.first().map_or(now, |(last_use, _)| *last_use) + self.rules.idle_min;
            self.next_crowd = Some(first.max(now + CROWD_PAUSE));
        }
    }

    /// Sessions that could go, each with its last use. One at work is used now.
    fn unused(&self, now: Instant, seen: &mut Vec<Arc<dyn SessionHolder>>) -> Vec<(Instant, Idle)> {
        let mut unused = Vec::new();
        for (id, SessionEntry { session, .. }) in &self.opened {
            if session.is_running() {
                session.touch(now);
            } else {
                unused.push((session.last_use(), Idle::Opened(*id)));
            }
        }
        for (id, Own { session, tenant, asked }) in &self.own {
            let Some(tenant) = tenant.upgrade() else { continue };
            if tenant.calls_out() > 0 {
                session.touch(now);
            } else if !asked && tenant.carries() == 0 {
                unused.push((session.last_use(), Idle::Own(*id)));
            }
            seen.push(tenant);
        }
        unused
    }
}

fn carrier(carried: &Arc<ConnectionSessions>) -> Carrier {
    Arc::as_ptr(carried) as Carrier
}

fn used(session: &Session) -> Use {
    Use { called: session.calls() > 0, last: session.last_use() }
}

#[cfg(test)]
mod tests;
