//! [`Registry`]: the table of sessions with its lock, the clock and the log.
//!
//! Invariants: no log line is written, no random number is drawn, and no session is moved or dropped under the lock.
//! Tokens are never logged.

use super::super::listener::ListenerHandle;
use super::table::{Move, Rules, SessionEnd, SessionEntry, SessionHolder, SessionTable};
use crate::config::{Config, plural};
use crate::metrics::{CloseReason, Counter};
use crate::monitor::SessionSnapshot;
use crate::service::session::{CARRIED_SESSIONS_MAX, Opened, SessionTicket};
use crate::service::{
    ClientId, ConnectionSessions, LogLimiter, Refusal, SessionState, Sessions, Status, Transaction,
    name_in_line,
};
use crate::sync::unordered::{AtomicBool, AtomicU64};
use crate::sync::{Arc, Mutex, Ordering, Weak};
use log::Level;
use std::fmt::Display;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// All sessions of a server.
#[derive(Debug)]
pub(in crate::server) struct Registry {
    table: Mutex<SessionTable>,
    /// Time of the next look at the table, in microseconds since `epoch`, or [`NEVER`]. Written with its lock, read
    /// without.
    next_us: AtomicU64,
    epoch: Instant,
    /// Connections' own sessions are in the table. Once they are, they stay so: each entry must be removed again.
    tracked: AtomicBool,
    log: AtomicBool,
    log_limiter: Arc<LogLimiter>,
    /// The listener that looks at the table.
    listener: Arc<ListenerHandle>,
    /// The most sessions that ever were open.
    peak: AtomicU64,
    timed_out: Counter,
    displaced: Counter,
}

const NEVER: u64 = u64::MAX;

impl Registry {
    pub(in crate::server) fn new(
        config: &Config,
        listener: Arc<ListenerHandle>,
        log_limiter: Arc<LogLimiter>,
        now: Instant,
    ) -> Registry {
        let rules = rules(config);
        let (tracked, log) = (AtomicBool::new(rules.tracked), AtomicBool::new(config.log_sessions.value));
        let table = Mutex::new(SessionTable::new(rules, config.restricted.value == 2));
        let (next_us, epoch) = (AtomicU64::new(NEVER), now);
        let (peak, timed_out, displaced) = Default::default();
        Registry { table, next_us, epoch, tracked, log, log_limiter, listener, peak, timed_out, displaced }
    }

    /// Applies settings, to the open sessions too. Connections that were accepted while own sessions were not tracked
    /// stay untracked.
    pub(in crate::server) fn configure(&self, config: &Config, now: Instant) {
        self.log.store(config.log_sessions.value, Ordering::Relaxed);
        let mut rules = rules(config);
        rules.tracked |= self.is_tracked();
        self.tracked.store(rules.tracked, Ordering::Relaxed);
        self.with(|table| table.set_rules(rules, now));
    }

    /// Returns whether connections' own sessions are in the table.
    pub(in crate::server) fn is_tracked(&self) -> bool {
        self.tracked.load(Ordering::Relaxed)
    }

    fn is_logged(&self) -> bool {
        self.log.load(Ordering::Relaxed)
    }

    /// Returns all sessions in the table, in the order of their numbers.
    pub(in crate::server) fn snapshots(&self, now: Instant) -> Vec<SessionSnapshot> {
        let mut known = self.table.lock().known();
        known.sort_unstable_by_key(|(session, _)| session.id());
        let snapshot = |(session, carried): &(Arc<SessionState>, bool)| SessionSnapshot {
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

    /// Changes the table. Wakes the listener that looks at it if it must do so sooner.
    fn with<R>(&self, change: impl FnOnce(&mut SessionTable) -> R) -> R {
        let mut table = self.table.lock();
        let result = change(&mut table);
        self.peak.fetch_max(table.len() as u64, Ordering::Relaxed);
        let since = |at: Instant| at.saturating_duration_since(self.epoch).as_micros() as u64;
        let next_us = table.next().map_or(NEVER, since);
        let before = self.next_us.swap(next_us, Ordering::Relaxed);
        drop(table);
        if next_us < before {
            self.listener.wake();
        }
        result
    }

    /// Returns the time of the next [`look`](Registry::look).
    pub(in crate::server) fn next(&self) -> Option<Instant> {
        let next_us = self.next_us.load(Ordering::Relaxed);
        (next_us != NEVER).then(|| self.epoch + Duration::from_micros(next_us))
    }

    /// Closes sessions that have timed out, and idle ones while there are too many.
    pub(in crate::server) fn look(&self, now: Instant) {
        let found = self.with(|table| table.look(now));
        for (entry, why) in found.ended {
            let counter = if why == SessionEnd::TimedOut { &self.timed_out } else { &self.displaced };
            counter.add(1);
            self.end(&entry, why, now);
        }
        for holder in found.ask {
            holder.ask_to_leave();
        }
    }

    /// Admits a connection or refuses it. Its own session, if that is tracked, is then in `carried`.
    pub(in crate::server) fn enter(
        &self,
        holder: Weak<dyn SessionHolder>,
        carried: impl FnOnce() -> Arc<ConnectionSessions>,
        (client, peer): (&str, SocketAddr),
        now: Instant,
    ) -> Result<(), Refusal> {
        let client = if self.is_logged() { client } else { "" };
        let entered = self.with(|table| table.enter(holder, (client, peer), now));
        if let Some(own) = entered? {
            self.log_opened(&own, now);
            carried().set_own(own);
        }
        Ok(())
    }

    /// Removes a connection that was admitted. `own` is its own session, if that was tracked; `carried` has those that
    /// it may have opened.
    pub(in crate::server) fn leave(
        &self,
        peer: SocketAddr,
        (own, carried): (Option<&Arc<SessionState>>, Option<&Arc<ConnectionSessions>>),
        why: CloseReason,
    ) {
        let now = Instant::now();
        self.with(|table| table.leave(peer, (own.map(|own| own.id()), carried), now));
        if why == CloseReason::Idle {
            self.displaced.add(1);
        }
        if let Some(own) = own {
            self.log_closed(own, format_args!("its connection ended: {why:?}"), now);
        }
    }

    /// Keeps a connection that was asked to close, since it has calls again.
    pub(in crate::server) fn stays(&self, own: &SessionState) {
        self.with(|table| table.stays(own.id(), Instant::now()));
    }

    pub(in crate::server) fn restrict(&self, restricted: bool) {
        self.with(|table| table.restricted = restricted);
    }

    /// Closes the opened sessions that an administrator selects. Returns their number.
    pub(in crate::server) fn drop_those(&self, meant: impl Fn(&SessionState) -> bool) -> usize {
        let dropped = self.with(|table| table.take_those(meant));
        let now = Instant::now();
        dropped.iter().for_each(|entry| self.end(entry, SessionEnd::Dropped, now));
        dropped.len()
    }

    /// Closes all opened sessions, when the server has stopped.
    pub(in crate::server) fn close_all(&self) {
        let all: Vec<_> = self.with(|table| table.take_all().collect());
        let now = Instant::now();
        all.iter().for_each(|entry| self.end(entry, SessionEnd::Stopped, now));
    }

    /// Returns the most sessions that ever were open, and whether new ones are refused.
    pub(in crate::server) fn peak_and_restricted(&self) -> (u64, bool) {
        (self.peak.load(Ordering::Relaxed), self.table.lock().restricted)
    }

    pub(in crate::server) fn len(&self) -> usize {
        self.table.lock().len()
    }

    pub(in crate::server) fn opened(&self) -> usize {
        self.table.lock().opened()
    }

    /// Returns the numbers of sessions closed because they timed out, and because there were too many.
    pub(in crate::server) fn dropped(&self) -> (u64, u64) {
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
        self.log_closed(&entry.session, why, now);
    }

    /// Returns whether sessions are logged, and the limit allows one more line about this client.
    fn may_log(&self, session: &SessionState, now: Instant) -> bool {
        self.is_logged() && self.log_limiter.allows(Level::Info, ClientId::of(session.peer().ip()), now)
    }

    fn log_opened(&self, session: &SessionState, now: Instant) {
        if self.may_log(session, now) {
            log::info!("Opened session {} for {}", session.id(), client_and_peer(session));
        }
    }

    fn log_closed(&self, session: &SessionState, why: impl Display, now: Instant) {
        if self.may_log(session, now) {
            let calls = plural(u32::try_from(session.calls()).unwrap_or(u32::MAX), "call");
            let (id, client, seconds) =
                (session.id(), client_and_peer(session), session.age(now).as_secs_f64());
            log::info!("Closed session {id} of {client}: {calls}, {seconds:.1} s, {why}");
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

/// A client's name is foreign text, so it is escaped.
fn client_and_peer(session: &SessionState) -> String {
    format!("{} ({})", name_in_line(session.client()), session.peer())
}

fn carried<'a>(call: &'a Transaction<'_>) -> Result<&'a Arc<ConnectionSessions>, Status> {
    call.caller.carried_sessions().ok_or(Status::UnknownSession)
}

/// Reserves a session number of a connection.
fn reserve(carried: &ConnectionSessions) -> Result<u32, Refusal> {
    carried.reserve().ok_or_else(|| {
        let message = format!("a connection carries at most {CARRIED_SESSIONS_MAX} sessions");
        Refusal::new(Status::MaxUsers, message)
    })
}

impl Sessions for Registry {
    fn open(&self, call: &Transaction<'_>) -> Result<Opened, Refusal> {
        let mut token = [0; 16];
        getrandom::fill(&mut token).expect("the system has a source of random numbers");
        let (carried, now) = (carried(call)?, Instant::now());
        let client = carried.own_if_made().map(Arc::clone);
        let client = client.as_ref().map_or("", |own| own.client());
        let number = reserve(carried)?;
        let opened = self.with(|table| table.open(token, (carried, number), (client, call.peer()), now));
        let (Move { session, stamp, .. }, ticket, gone) = opened.inspect_err(|_| carried.clear(number))?;
        if let Some(gone) = gone {
            self.displaced.add(1);
            self.end(&gone, SessionEnd::MadeRoom, now);
        }
        self.log_opened(&session, now);
        carried.put(number, session, stamp);
        Ok(Opened { session: number, ticket })
    }

    fn attach(&self, call: &Transaction<'_>, ticket: &SessionTicket) -> Result<u32, Refusal> {
        let carried = carried(call)?;
        let reserved = reserve(carried)?;
        let attached =
            self.with(|table| table.attach(ticket, (carried, reserved), call.peer(), Instant::now()));
        let number = attached.as_ref().map_or(0, |attached| attached.number);
        if number != reserved {
            carried.clear(reserved);
        }
        let Move { session, stamp, from, .. } = attached?;
        carried.put(number, session, stamp);
        if let Some((from, number)) = from {
            from.clear(number);
        }
        Ok(number)
    }

    fn close(&self, call: &Transaction<'_>, number: u32) -> Result<(), Refusal> {
        let carried = carried(call)?;
        let found = carried.find(number);
        let entry = found.and_then(|session| self.with(|table| table.close(session.id(), carried)));
        self.end(&entry.ok_or(Status::UnknownSession)?, SessionEnd::Closed, Instant::now());
        Ok(())
    }
}
