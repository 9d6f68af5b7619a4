//! Table of sessions and the rules by which they end, without lock, clock and log.
//!
//! Every connection that was welcomed has a session of its own; clients open others besides. Those are in the table
//! one by one, since they outlive their connections. The own ones are only counted, unless they are of interest: there
//! is a soft limit, and the table must know which was idle for longest, or the log reports them.
//!
//! The hard limit bounds connections and opened sessions each, so that neither pushes out the other; `shares` says
//! which client may take one of the last places, and which opened session makes room.
//!
//! Knows a connection as a [`SessionHolder`]. The time comes in as a value.

use super::client_shares::{Carrier, Shares, Use};
use crate::service::session::SessionTicket;
use crate::service::{ClientId, ConnectionSessions, SessionState, Status, has_room};
use crate::sync::{Arc, Weak};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Pause between two searches for idle sessions, while there are too many.
pub(super) const CROWD_PAUSE: Duration = Duration::from_millis(100);

/// Limit on the pause between two searches for sessions that have timed out.
const TIMEOUT_PAUSE_MAX: Duration = Duration::from_secs(60);

/// Limit on sessions where `Server_MaxUsers` sets none.
const SESSIONS_MAX: usize = 10_000_000;

/// Limits on the number of sessions and on their idle time.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    pub(super) timeout: Duration,
    /// An idle session is kept for this time, however many there are.
    pub(super) idle_min: Duration,
    pub(super) soft_max: Option<usize>,
    pub(super) hard_max: Option<usize>,
    /// Connections' own sessions are in the table: for the soft limit or for the log.
    pub(super) tracked: bool,
}

/// A connection as the table knows it.
pub(crate) trait SessionHolder: Send + Sync + std::fmt::Debug {
    /// Returns the number of its calls out.
    fn calls_out(&self) -> usize;
    /// Returns the number of opened sessions that it carries.
    fn carries(&self) -> usize;
    /// Asks an idle connection to close. Its listener decides.
    fn ask_to_leave(&self);
}

/// Reason why an opened session ended.
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
    pub(super) session: Arc<SessionState>,
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
    session: Arc<SessionState>,
    holder: Weak<dyn SessionHolder>,
    /// It was asked to close and is still open.
    asked: bool,
}

/// Sessions found by a look at the table.
#[derive(Debug, Default)]
pub(super) struct ExpiredSessions {
    pub(super) ended: Vec<(SessionEntry, SessionEnd)>,
    pub(super) ask: Vec<Arc<dyn SessionHolder>>,
    /// Connections looked at. The last owner of a connection drops its handlers' values, which must not happen under
    /// the table's lock.
    seen: Vec<Arc<dyn SessionHolder>>,
}

/// A session that could be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Idle {
    Own(u64),
    Opened(u64),
}

/// An attached session: its new place and the one before.
#[derive(Debug)]
pub(super) struct Move {
    pub(super) session: Arc<SessionState>,
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
    /// Time of the next search for sessions that have timed out.
    next_timeout: Option<Instant>,
    /// Time of the next search for idle sessions.
    next_crowd: Option<Instant>,
    /// Time of the last search for idle sessions.
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

    pub(super) fn len(&self) -> usize {
        self.connections + self.opened.len()
    }

    /// Returns the number of sessions that clients opened.
    pub(super) fn opened(&self) -> usize {
        self.opened.len()
    }

    /// Sets the rules, for the sessions in the table too.
    pub(super) fn set_rules(&mut self, rules: Rules, now: Instant) {
        self.rules = rules;
        self.next_timeout = self.next_timeout.map(|_| now);
        self.counted(now);
    }

    /// Returns all sessions in the table, and whether a connection carries them.
    pub(super) fn known(&self) -> Vec<(Arc<SessionState>, bool)> {
        let own = self.own.values().map(|own| (Arc::clone(&own.session), true));
        let carried = |entry: &SessionEntry| entry.place.0.strong_count() > 0;
        own.chain(self.opened.values().map(|entry| (Arc::clone(&entry.session), carried(entry)))).collect()
    }

    /// Returns the time of the next [`SessionTable::look`].
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

    /// Schedules a look if there are more sessions than the soft limit.
    fn counted(&mut self, now: Instant) {
        if self.rules.soft_max.is_some_and(|most| self.len() > most) {
            let soonest = self.last_crowd.map_or(now, |last| now.max(last + CROWD_PAUSE));
            self.next_crowd.get_or_insert(soonest);
        }
    }

    /// Admits a connection. Returns its own session, if that is tracked.
    ///
    /// # Errors
    /// MaxUsers, Restricted.
    pub(super) fn enter(
        &mut self,
        holder: Weak<dyn SessionHolder>,
        (client, peer): (&str, SocketAddr),
        now: Instant,
    ) -> Result<Option<Arc<SessionState>>, Status> {
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
        let session = Arc::new(SessionState::new(self.number(), client, peer, now));
        self.own.insert(session.id(), Own { session: Arc::clone(&session), holder, asked: false });
        Ok(Some(session))
    }

    /// Removes a connection that was admitted. The sessions that it carries wait for another, and it opens no more.
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
            carried.set_gone();
            self.shares.depart(carrier(carried), now);
        }
    }

    /// Keeps a connection that was asked to close, since it has calls again.
    pub(super) fn stays(&mut self, own: u64, now: Instant) {
        if let Some(own) = self.own.get_mut(&own) {
            own.asked = false;
            self.next_crowd = Some(now + CROWD_PAUSE);
        }
    }

    /// Opens a session with a reserved number of its connection. Another session may have to make room; the caller ends
    /// it without the table's lock.
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
        let session = Arc::new(SessionState::new(id, client, peer, now));
        let moved = Move { session: Arc::clone(&session), stamp: session.restamp(), number, from: None };
        let place = (Arc::downgrade(carried), number);
        self.shares.add(id, holder, used(&session));
        self.opened.insert(id, SessionEntry { session, token, place });
        self.next_timeout.get_or_insert(now + self.rules.timeout);
        self.counted(now);
        Ok((moved, SessionTicket { id, token }, gone))
    }

    /// Finds a place for one more opened session; if there is none, removes the one that is used least.
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

    /// Removes an opened session.
    fn take(&mut self, id: u64) -> Option<SessionEntry> {
        self.shares.remove(id);
        self.opened.remove(&id)
    }

    /// Moves a session to a connection. On the connection that carries it already it keeps its number, and `number` is
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

    /// Closes a session; `None` if `carried` carries it no longer.
    pub(super) fn close(&mut self, id: u64, carried: &Arc<ConnectionSessions>) -> Option<SessionEntry> {
        let here = self.opened.get(&id).is_some_and(|entry| entry.is_carried_by(carried));
        if here { self.take(id) } else { None }
    }

    /// Removes the opened sessions that an administrator selects.
    pub(super) fn take_those(&mut self, selected: impl Fn(&SessionState) -> bool) -> Vec<SessionEntry> {
        let opened = self.opened.iter().filter(|(_, entry)| selected(&entry.session));
        let ids: Vec<u64> = opened.map(|(id, _)| *id).collect();
        ids.into_iter().filter_map(|id| self.take(id)).collect()
    }

    /// Removes all opened sessions, at the end of the server.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = SessionEntry> {
        self.next_timeout = None;
        self.shares = Shares::default();
        std::mem::take(&mut self.opened).into_values()
    }

    /// Removes sessions that have timed out, and idle ones over the soft limit.
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
                    found.ask.extend(own.holder.upgrade());
                }
            }
        }
        if idle < over {
            // The connection that carried a removed session may now be idle too.
            let first = unused.first().map_or(now, |(last_use, _)| *last_use) + self.rules.idle_min;
            self.next_crowd = Some(first.max(now + CROWD_PAUSE));
        }
    }

    /// Returns the sessions that could be closed, each with its last use. A running one counts as used now.
    fn unused(&self, now: Instant, seen: &mut Vec<Arc<dyn SessionHolder>>) -> Vec<(Instant, Idle)> {
        let mut unused = Vec::new();
        for (id, SessionEntry { session, .. }) in &self.opened {
            if session.is_running() {
                session.touch(now);
            } else {
                unused.push((session.last_use(), Idle::Opened(*id)));
            }
        }
        for (id, Own { session, holder, asked }) in &self.own {
            let Some(holder) = holder.upgrade() else { continue };
            if holder.calls_out() > 0 {
                session.touch(now);
            } else if !asked && holder.carries() == 0 {
                unused.push((session.last_use(), Idle::Own(*id)));
            }
            seen.push(holder);
        }
        unused
    }
}

fn carrier(carried: &Arc<ConnectionSessions>) -> Carrier {
    Arc::as_ptr(carried) as Carrier
}

fn used(session: &SessionState) -> Use {
    Use { called: session.calls() > 0, last: session.last_use() }
}

#[cfg(test)]
mod tests;
