//! The sessions of all ports: who is let in, who carries which session, who must go.
//!
//! [`SessionTable`] has the rules; here are its lock, the clock and the log. The listener of the first port looks at
//! the book when it is due, and is woken when that time comes nearer; while no session has been opened and there are
//! not too many it never is. Must not know ports and connections; a connection is a [`SessionHolder`].
//!
//! Invariants: nothing is logged, drawn at random, moved or dropped with the lock held. Tokens are never logged.

mod client_shares;
mod table;

pub(super) use table::SessionHolder;

use super::listener::ListenerHandle;
use crate::config::{Config, plural};
use crate::metrics::{CloseReason, Counter};
use crate::monitor::SessionSnapshot;
use crate::service::session::{CARRIED_SESSIONS_MAX, Opened, SessionTicket};
use crate::service::{
    ClientId, ConnectionSessions, LogLimiter, Refusal, Session, Sessions, Status, Transaction, name_in_line,
};
use crate::sync::unordered::{AtomicBool, AtomicU64};
use crate::sync::{Arc, Mutex, Ordering, Weak};
use log::Level;
use std::fmt::Display;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use table::{Move, Rules, SessionEnd, SessionEntry, SessionTable};

/// All sessions of a server.
#[derive(Debug)]
pub(super) struct Registry {
    book: Mutex<SessionTable>,
    /// When to look at the book, in microseconds since `epoch`; [`NEVER`] is what it says. Written with its lock, read
    /// without.
    next_us: AtomicU64,
    epoch: Instant,
    /// Own sessions of connections are of interest. Once they are they stay so: what is in the book must come out.
    tracked: AtomicBool,
    log: AtomicBool,
    log_bound: Arc<LogLimiter>,
    /// Of the listener that looks.
    bell: Arc<ListenerHandle>,
    /// The most sessions there ever were.
    peak: AtomicU64,
    timed_out: Counter,
    displaced: Counter,
}

const NEVER: u64 = u64::MAX;

impl Registry {
    pub(super) fn new(
        config: &Config,
        bell: Arc<ListenerHandle>,
        log_bound: Arc<LogLimiter>,
        now: Instant,
    ) -> Registry {
        let rules = rules(config);
        let (tracked, log) = (AtomicBool::new(rules.tracked), AtomicBool::new(config.log_sessions.value));
        let book = Mutex::new(SessionTable::new(rules, config.restricted.value == 2));
        let (next_us, epoch) = (AtomicU64::new(NEVER), now);
        let (peak, timed_out, displaced) = Default::default();
        Registry { book, next_us, epoch, tracked, log, log_bound, bell, peak, timed_out, displaced }
    }

    /// From now on these settings count, for the sessions there are too. Connections that were let in while nobody
    /// wanted to know of them stay unknown.
    pub(super) fn configure(&self, config: &Config, now: Instant) {
        self.log.store(config.log_sessions.value, Ordering::Relaxed);
        let mut rules = rules(config);
        rules.tracked |= self.is_tracked();
        self.tracked.store(rules.tracked, Ordering::Relaxed);
        self.with(|book| book.set_rules(rules, now));
    }

    /// Are own sessions of connections of interest?
    pub(super) fn is_tracked(&self) -> bool {
        self.tracked.load(Ordering::Relaxed)
    }

    fn is_logged(&self) -> bool {
        self.log.load(Ordering::Relaxed)
    }

    /// All sessions that are known one by one, in the order of their numbers.
    pub(super) fn snapshots(&self, now: Instant) -> Vec<SessionSnapshot> {
        let mut known = self.book.lock().known();
        known.sort_unstable_by_key(|(session, _)| session.id());
        let snapshot = |(session, carried): &(Arc<Session>, bool)| SessionSnapshot {
            id: session.id(),
            client: session.client().to_owned(),
            peer: session.peer(),
            age: session.age(now),
            idle: now.saturating_duration_since(session.last_use()),
            calls: session.calls(),
            attached: *carried,
        };
        known.iter().map(snapshot).collect()
    }

    /// What `change` makes of the book. The listener that looks at it hears when it must do so sooner.
    fn with<R>(&self, change: impl FnOnce(&mut SessionTable) -> R) -> R {
        let mut book = self.book.lock();
        let result = change(&mut book);
        self.peak.fetch_max(book.len() as u64, Ordering::Relaxed);
        let since = |at: Instant| at.saturating_duration_since(self.epoch).as_micros() as u64;
        let next_us = book.next().map_or(NEVER, since);
        let before = self.next_us.swap(next_us, Ordering::Relaxed);
        drop(book);
        if next_us < before {
            self.bell.wake();
        }
        result
    }

    /// When to [`look`](Registry::look).
    pub(super) fn next(&self) -> Option<Instant> {
        let next_us = self.next_us.load(Ordering::Relaxed);
        (next_us != NEVER).then(|| self.epoch + Duration::from_micros(next_us))
    }

    /// Closes what has timed out, and what is idle while there are too many.
    pub(super) fn look(&self, now: Instant) {
        let found = self.with(|book| book.look(now));
        for (entry, why) in found.ended {
            let counter = if why == SessionEnd::TimedOut { &self.timed_out } else { &self.displaced };
            counter.add(1);
            self.end(&entry, why, now);
        }
        for tenant in found.ask {
            tenant.ask_to_leave();
        }
    }

    /// Lets a connection in, or says why not. Its own session, if that is of interest, is then in `carried`.
    pub(super) fn enter(
        &self,
        tenant: Weak<dyn SessionHolder>,
        carried: impl FnOnce() -> Arc<ConnectionSessions>,
        (client, peer): (&str, SocketAddr),
        now: Instant,
    ) -> Result<(), Refusal> {
        let client = if self.is_logged() { client } else { "" };
        let entered = self.with(|book| book.enter(tenant, (client, peer), now));
        if let Some(own) = entered.map_err(refusal)? {
            self.say_opened(&own, now);
            carried().set_own(own);
        }
        Ok(())
    }

    /// A connection that was let in is closed. `own` is its own session, if that was of interest; `carried` has those
    /// it may have opened.
    pub(super) fn leave(
        &self,
        peer: SocketAddr,
        (own, carried): (Option<&Arc<Session>>, Option<&Arc<ConnectionSessions>>),
        why: CloseReason,
    ) {
        let now = Instant::now();
        self.with(|book| book.leave(peer, (own.map(|own| own.id()), carried), now));
        if why == CloseReason::Idle {
            self.displaced.add(1);
        }
        if let Some(own) = own {
            self.say_closed(own, format_args!("its connection ended: {why:?}"), now);
        }
    }

    /// A connection that was asked to leave had begun to call.
    pub(super) fn stays(&self, own: &Session) {
        self.with(|book| book.stays(own.id(), Instant::now()));
    }

    /// Lets new sessions in, or not.
    pub(super) fn restrict(&self, restricted: bool) {
        self.with(|book| book.restricted = restricted);
    }

    /// Closes those of the sessions opened that an administrator means. Returns how many.
    pub(super) fn drop_those(&self, meant: impl Fn(&Session) -> bool) -> usize {
        let dropped = self.with(|book| book.take_those(meant));
        let now = Instant::now();
        dropped.iter().for_each(|entry| self.end(entry, SessionEnd::Dropped, now));
        dropped.len()
    }

    /// Closes all that clients opened, when the server has stopped.
    pub(super) fn close_all(&self) {
        let all: Vec<_> = self.with(|book| book.take_all().collect());
        let now = Instant::now();
        all.iter().for_each(|entry| self.end(entry, SessionEnd::Stopped, now));
    }

    /// The most sessions there ever were, and whether new ones are refused.
    pub(super) fn peak_and_restricted(&self) -> (u64, bool) {
        (self.peak.load(Ordering::Relaxed), self.book.lock().restricted)
    }

    /// Sessions there are.
    pub(super) fn len(&self) -> usize {
        self.book.lock().len()
    }

    /// Of them those that clients opened.
    pub(super) fn opened(&self) -> usize {
        self.book.lock().opened()
    }

    /// Sessions closed because they timed out, and because there were too many.
    pub(super) fn dropped(&self) -> (u64, u64) {
        (self.timed_out.get(), self.displaced.get())
    }

    fn end(&self, entry: &SessionEntry, why: SessionEnd, now: Instant) {
        entry.end();
        let why = match why {
            SessionEnd::Closed => "closed by its client",
            SessionEnd::TimedOut => "not used for Server_Session_Timeout",
            SessionEnd::Displaced => "idle, and more than Server_MaxSessions",
            SessionEnd::MadeRoom => "made room for another (Server_MaxUsers)",
            SessionEnd::Dropped => "closed by the administrator",
            SessionEnd::Stopped => "the server stopped",
        };
        self.say_closed(&entry.session, why, now);
    }

    /// Do sessions go into the log, and is there room for one more line of this client?
    fn says(&self, session: &Session, now: Instant) -> bool {
        self.is_logged() && self.log_bound.lets(Level::Info, ClientId::of(session.peer().ip()), now)
    }

    fn say_opened(&self, session: &Session, now: Instant) {
        if self.says(session, now) {
            log::info!("Opened session {} for {}", session.id(), whose(session));
        }
    }

    fn say_closed(&self, session: &Session, why: impl Display, now: Instant) {
        if self.says(session, now) {
            let calls = plural(u32::try_from(session.calls()).unwrap_or(u32::MAX), "call");
            let (id, whose, seconds) = (session.id(), whose(session), session.age(now).as_secs_f64());
            log::info!("Closed session {id} of {whose}: {calls}, {seconds:.1} s, {why}");
        }
    }
}

fn rules(config: &Config) -> Rules {
    let limit = |limit: Option<u32>| limit.map(|most| most as usize);
    let soft_max = limit(config.max_sessions.value);
    Rules {
        timeout: config.session_timeout.value,
        idle_min: config.session_idle_min,
        soft_max,
        hard_max: limit(config.max_users.value),
        tracked: config.log_sessions.value || soft_max.is_some(),
    }
}

/// A client's name is foreign text: it must not spoil the log's line.
fn whose(session: &Session) -> String {
    format!("{} ({})", name_in_line(session.client()), session.peer())
}

fn refusal(status: Status) -> Refusal {
    Refusal::new(status, status.text())
}

fn carried<'a>(asks: &'a Transaction<'_>) -> Result<&'a Arc<ConnectionSessions>, Refusal> {
    asks.caller.carried().ok_or_else(|| refusal(Status::UnknownSession))
}

/// A new number of what a connection carries.
fn reserve(carried: &ConnectionSessions) -> Result<u32, Refusal> {
    carried.reserve().ok_or_else(|| {
        let message = format!("a connection carries at most {CARRIED_SESSIONS_MAX} sessions");
        Refusal::new(Status::MaxUsers, message)
    })
}

impl Sessions for Registry {
    fn open(&self, asks: &Transaction<'_>) -> Result<Opened, Refusal> {
        let mut token = [0; 16];
        getrandom::fill(&mut token).expect("the system has a source of random numbers");
        let (carried, now) = (carried(asks)?, Instant::now());
        let client = carried.own_if_made().map(Arc::clone);
        let client = client.as_ref().map_or("", |own| own.client());
        let number = reserve(carried)?;
        let opened = self.with(|book| book.open(token, (carried, number), (client, asks.peer()), now));
        let (Move { session, stamp, .. }, ticket, gone) = opened.map_err(|status| {
            carried.clear(number);
            refusal(status)
        })?;
        if let Some(gone) = gone {
            self.displaced.add(1);
            self.end(&gone, SessionEnd::MadeRoom, now);
        }
        self.say_opened(&session, now);
        carried.put(number, session, stamp);
        Ok(Opened { session: number, ticket })
    }

    fn attach(&self, asks: &Transaction<'_>, ticket: &SessionTicket) -> Result<u32, Refusal> {
        let carried = carried(asks)?;
        let reserved = reserve(carried)?;
        let attached =
            self.with(|book| book.attach(ticket, (carried, reserved), asks.peer(), Instant::now()));
        let number = attached.as_ref().map_or(0, |attached| attached.number);
        if number != reserved {
            carried.clear(reserved);
        }
        let Move { session, stamp, from, .. } = attached.map_err(refusal)?;
        carried.put(number, session, stamp);
        if let Some((from, number)) = from {
            from.clear(number);
        }
        Ok(number)
    }

    fn close(&self, asks: &Transaction<'_>, number: u32) -> Result<(), Refusal> {
        let carried = carried(asks)?;
        let found = carried.find(number);
        let entry = found.and_then(|session| self.with(|book| book.close(session.id(), carried)));
        self.end(&entry.ok_or_else(|| refusal(Status::UnknownSession))?, SessionEnd::Closed, Instant::now());
        Ok(())
    }
}
