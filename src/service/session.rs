//! Sessions: what a client has on the server apart from its connections, and what a connection carries of them.
//!
//! A [`Session`] counts its calls and keeps the handlers' own state; [`ConnectionSessions`] gives the sessions of one
//! connection their numbers there. Knows neither connections nor how many sessions there are: `Sessions`, which the
//! server has, opens and closes them. The time comes in as a value.
//!
//! Invariants: a session is carried by one connection at most. Whoever moves it gives it a new stamp, and a number
//! that was given with another stamp is no longer good: so it need not be taken away in the same instant. The lock of a
//! state is held while a handler's closure runs, and a thread holds one such lock at most.

use super::{Method, Refusal, Transaction, cut_name};
use crate::sync::unordered::{AtomicBool, AtomicU64 as Count, AtomicUsize};
use crate::sync::{Arc, AtomicU64, Mutex, Ordering, thread_local};
use serde::{Deserialize, Serialize};
use std::any::{Any, TypeId};
use std::cell::Cell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Sessions that one connection may carry at once, its own not counted.
pub const CARRIED_SESSIONS_MAX: usize = 65_536;

/// Opens a session, which the connection then carries.
pub const OPEN: Method<(), Opened> = Method::new("session.open");

/// Has the connection carry a session that there is: its number there. One that another connection carried is no longer
/// carried by that. Idempotent: on the connection that carries it already it has the number that it had.
pub const ATTACH: Method<SessionTicket, u32> = Method::new("session.attach").idempotent();

/// Closes the session of a number. What its handlers kept is dropped, once those that run have ended.
pub const CLOSE: Method<u32, ()> = Method::new("session.close");

/// What gives access to a session from another connection. A secret: whoever has it has the session.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionTicket {
    /// Which session of the server, from 1. In its log; no secret.
    pub id: u64,
    /// Drawn at random.
    pub token: [u8; 16],
}

/// The token is left out: what is shown ends in logs.
impl std::fmt::Debug for SessionTicket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionTicket").field("id", &self.id).finish_non_exhaustive()
    }
}

impl SessionTicket {
    /// Is it the same token? Takes the same time whatever differs.
    pub(crate) fn fits(&self, token: &[u8; 16]) -> bool {
        let differing =
            self.token.iter().zip(token).fold(0, |found, (a, b)| std::hint::black_box(found | a ^ b));
        std::hint::black_box(differing) == 0
    }
}

/// Result of [`OPEN`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// Its number on this connection: what goes into the calls.
    pub session: u32,
    /// For another connection.
    pub ticket: SessionTicket,
}

/// Opens and closes sessions for the built-in methods.
pub(crate) trait Sessions: Send + Sync {
    /// # Errors
    /// No more sessions are let in.
    fn open(&self, asks: &Transaction<'_>) -> Result<Opened, Refusal>;
    /// # Errors
    /// There is no such session, or this is not its token.
    fn attach(&self, asks: &Transaction<'_>, ticket: &SessionTicket) -> Result<u32, Refusal>;
    /// # Errors
    /// The connection carries no such session.
    fn close(&self, asks: &Transaction<'_>, number: u32) -> Result<(), Refusal>;
}

/// A session: who, since when, and what its handlers keep.
#[derive(Debug)]
pub struct Session {
    id: u64,
    client: Box<str>,
    peer: SocketAddr,
    opened: Instant,
    /// When it last began or ended a call, in microseconds since it was opened.
    used_us: Count,
    calls: Count,
    running: AtomicUsize,
    /// Of the connection that carries it; 0 once it is closed.
    stamp: AtomicU64,
    states: Mutex<Vec<(TypeId, Arc<State>)>>,
}

/// One handler's value of a session.
type State = Mutex<Box<dyn Any + Send>>;

impl Session {
    pub(crate) fn new(id: u64, client: &str, peer: SocketAddr, now: Instant) -> Session {
        Session {
            id,
            client: cut_name(client).into(),
            peer,
            opened: now,
            used_us: Count::new(0),
            calls: Count::new(0),
            running: AtomicUsize::new(0),
            stamp: AtomicU64::new(1),
            states: Mutex::default(),
        }
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// What the client that opened it calls itself, the beginning of it; empty where nobody wants to know.
    pub(crate) fn client(&self) -> &str {
        &self.client
    }

    /// Whence it was opened.
    pub(crate) fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Calls it made.
    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// For how long it has been there.
    pub(crate) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.opened)
    }

    /// When it last was seen to do something.
    pub(crate) fn last_use(&self) -> Instant {
        self.opened + Duration::from_micros(self.used_us.load(Ordering::Relaxed))
    }

    /// Does a handler run for it?
    pub(crate) fn is_running(&self) -> bool {
        self.running.load(Ordering::Acquire) > 0
    }

    /// It made so many calls.
    pub(crate) fn used(&self, calls: u64, now: Instant) {
        self.calls.fetch_add(calls, Ordering::Relaxed);
        self.touch(now);
    }

    /// It does something now.
    pub(crate) fn touch(&self, now: Instant) {
        self.used_us.store(self.age(now).as_micros() as u64, Ordering::Relaxed);
    }

    /// A call of it is started.
    pub(crate) fn begin(&self, now: Instant) {
        self.running.fetch_add(1, Ordering::Relaxed);
        self.used(1, now);
    }

    /// That call has ended. In this order, so that nobody finds it both idle and long unused.
    pub(crate) fn end(&self, now: Instant) {
        self.touch(now);
        self.running.fetch_sub(1, Ordering::Release);
    }

    /// It moves to a connection: the stamp that is good from now on. By one thread at a time.
    pub(crate) fn restamp(&self) -> u64 {
        self.stamp.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// The stamp that is good now.
    pub(crate) fn stamp(&self) -> u64 {
        self.stamp.load(Ordering::SeqCst)
    }

    /// It is closed: no number of it is good any more.
    pub(crate) fn unstamp(&self) {
        self.stamp.store(0, Ordering::SeqCst);
    }

    /// Runs `run` on this session's value of its type, which is made when it is first asked for.
    ///
    /// # Panics
    /// Within another `with_state`. With `run`, whose value stays as that leaves it.
    pub(crate) fn with_state<T: Default + Send + 'static, R>(&self, run: impl FnOnce(&mut T) -> R) -> R {
        let _alone = Alone::enter();
        let state = self.state::<T>();
        let mut state = state.lock();
        run(state.downcast_mut().expect("the value is kept under its type"))
    }

    fn state<T: Default + Send + 'static>(&self) -> Arc<State> {
        let kind = TypeId::of::<T>();
        let find = |states: &[(TypeId, Arc<State>)]| {
            states.iter().find(|(other, _)| *other == kind).map(|(_, state)| Arc::clone(state))
        };
        let found = find(&self.states.lock());
        found.unwrap_or_else(|| {
            // Made without the lock: it is foreign code. If another thread was faster, its value counts.
            let made: Arc<State> = Arc::new(Mutex::new(Box::new(T::default())));
            let mut states = self.states.lock();
            find(&states).unwrap_or_else(|| {
                states.push((kind, Arc::clone(&made)));
                made
            })
        })
    }
}

/// Values of handlers are dropped by whoever has the session last, a listener perhaps: a panic in one ends there, told
/// of by the process's hook.
impl Drop for Session {
    fn drop(&mut self) {
        let states = std::mem::take(&mut *self.states.lock());
        for (_, state) in states {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(state))) {
                // Its Drop may panic too, and so on without end.
                std::mem::forget(panic);
            }
        }
    }
}

thread_local! {
    /// Does this thread hold the lock of a session's state?
    static HOLDS_STATE: Cell<bool> = Cell::default();
}

/// The time in which it does. A panic ends it too.
struct Alone;

impl Alone {
    fn enter() -> Alone {
        let holds = HOLDS_STATE.with(|holds| holds.replace(true));
        assert!(!holds, "with_session within with_session would wait for itself");
        Alone
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        HOLDS_STATE.with(|holds| holds.set(false));
    }
}

/// The sessions of one connection.
#[derive(Debug, Default)]
pub struct ConnectionSessions {
    own: OnceLock<Arc<Session>>,
    places: Mutex<Places>,
    count: AtomicUsize,
    /// Its connection is closed. Written and read under the lock of the book of sessions.
    gone: AtomicBool,
}

#[derive(Debug, Default)]
struct Places {
    /// The number given out last.
    last: u32,
    /// By number; `None` while one is being moved here.
    sessions: HashMap<u32, Option<Place>>,
}

#[derive(Debug)]
struct Place {
    session: Arc<Session>,
    stamp: u64,
}

impl Place {
    fn is_good(&self) -> bool {
        self.session.stamp() == self.stamp
    }
}

impl ConnectionSessions {
    /// The connection's own session, which `make` makes if nobody has asked for it yet.
    pub(crate) fn own(&self, make: impl FnOnce() -> Session) -> &Arc<Session> {
        self.own.get_or_init(|| Arc::new(make()))
    }

    /// The connection's own session is this. Before anybody asks for it.
    pub(crate) fn set_own(&self, session: Arc<Session>) {
        let fresh = self.own.set(session).is_ok();
        debug_assert!(fresh, "a connection is let in before it calls");
    }

    /// The connection's own session, if there was use for one.
    pub(crate) fn own_if_made(&self) -> Option<&Arc<Session>> {
        self.own.get()
    }

    /// Sessions carried, the connection's own not counted.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    /// Its connection is closed: what is carried here waits for another.
    pub(crate) fn depart(&self) {
        self.gone.store(true, Ordering::Relaxed);
    }

    /// Is its connection closed?
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    /// The session of a number, if it is still carried here.
    pub(crate) fn find(&self, number: u32) -> Option<Arc<Session>> {
        let places = self.places.lock();
        let place = places.sessions.get(&number)?.as_ref().filter(|place| place.is_good())?;
        Some(Arc::clone(&place.session))
    }

    /// A new number; `None` if there are as many as there may be.
    pub(crate) fn reserve(&self) -> Option<u32> {
        let mut places = self.places.lock();
        if places.sessions.len() >= CARRIED_SESSIONS_MAX {
            return None;
        }
        let mut number = places.last.wrapping_add(1);
        while number == 0 || places.sessions.contains_key(&number) {
            number = number.wrapping_add(1);
        }
        places.last = number;
        places.sessions.insert(number, None);
        self.count.store(places.sessions.len(), Ordering::SeqCst);
        Some(number)
    }

    /// Puts a session in its place, unless it has moved on meanwhile.
    pub(crate) fn put(&self, number: u32, session: Arc<Session>, stamp: u64) {
        let place = Place { session, stamp };
        let mut places = self.places.lock();
        // Whoever moves it gives the new stamp first and clears this place then: it finds the place, or we the stamp.
        let good = place.is_good();
        match places.sessions.get_mut(&number) {
            Some(free) if good => *free = Some(place),
            _ => {
                drop(places);
                self.clear(number);
            }
        }
    }

    /// The number is nobody's any more.
    pub(crate) fn clear(&self, number: u32) {
        let mut places = self.places.lock();
        let gone = places.sessions.remove(&number);
        self.count.store(places.sessions.len(), Ordering::SeqCst);
        drop(places);
        drop(gone);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(id: u64) -> Arc<Session> {
        Arc::new(Session::new(id, "test", ([127, 0, 0, 1], 1).into(), Instant::now()))
    }

    #[test]
    fn a_session_has_one_value_of_each_type() {
        let session = session(1);
        session.with_state(|count: &mut u32| *count += 1);
        session.with_state(|name: &mut String| name.push('x'));
        let panics = || session.with_state(|count: &mut u32| -> () { panic!("at {count}") });
        assert!(catch_unwind(AssertUnwindSafe(panics)).is_err());
        assert_eq!(session.with_state(|count: &mut u32| *count), 1, "a panic loses nothing");
        assert_eq!(session.with_state(|name: &mut String| name.clone()), "x");
        let nested = || session.with_state(|_: &mut u32| session.with_state(|_: &mut String| ()));
        assert!(catch_unwind(AssertUnwindSafe(nested)).is_err(), "rather than wait for itself");
        assert_eq!(session.with_state(|count: &mut u32| *count), 1, "and goes on");
    }

    #[test]
    fn a_value_that_panics_when_dropped_harms_nobody() {
        #[derive(Default)]
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("on purpose");
            }
        }
        let session = session(1);
        session.with_state(|_: &mut Bomb| ());
        drop(session);
    }

    #[test]
    fn a_session_that_moves_is_carried_once() {
        let (session, here, there) =
            (session(1), ConnectionSessions::default(), ConnectionSessions::default());
        let first = here.reserve().unwrap();
        here.put(first, Arc::clone(&session), session.restamp());
        assert!(here.find(first).is_some());
        let late = session.restamp();
        assert!(here.find(first).is_none(), "from the moment of its move on");
        let second = there.reserve().unwrap();
        there.put(second, Arc::clone(&session), session.restamp());
        let third = here.reserve().unwrap();
        here.put(third, Arc::clone(&session), late);
        assert!(here.find(third).is_none() && there.find(second).is_some(), "who comes too late has nothing");
        assert_eq!((here.count(), there.count()), (1, 1), "the first place waits to be cleared");
        here.clear(first);
        session.unstamp();
        assert!(there.find(second).is_none());
        assert_eq!(here.count(), 0);
    }

    #[test]
    fn a_connection_carries_so_many_and_no_more() {
        let carried = ConnectionSessions::default();
        carried.places.lock().last = u32::MAX - 1;
        let numbers: Vec<_> = (0..CARRIED_SESSIONS_MAX).map(|_| carried.reserve().unwrap()).collect();
        assert_eq!(numbers[..3], [u32::MAX, 1, 2], "0 is the connection's own");
        assert_eq!(carried.reserve(), None);
        carried.clear(7);
        assert!(carried.reserve().is_some_and(|number| !numbers.contains(&number)));
        assert_eq!(carried.reserve(), None);
    }

    #[test]
    fn a_token_fits_or_does_not_and_is_not_shown() {
        let ticket = SessionTicket { id: 7, token: [171; 16] };
        assert!(ticket.fits(&[171; 16]));
        for place in 0..16 {
            let mut other = [171; 16];
            other[place] ^= 1;
            assert!(!ticket.fits(&other), "{place}");
        }
        assert_eq!(format!("{ticket:?}"), "SessionTicket { id: 7, .. }");
    }
}
