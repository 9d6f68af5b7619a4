//! State of a session on the server, and the sessions that one connection carries.
//!
//! A [`SessionState`] counts its calls and keeps the handlers' own values; [`ConnectionSessions`] gives the sessions of
//! a connection their numbers there. Time comes in as a value.
//!
//! Invariants: a session is carried by one connection at most. A move to another connection gives it a new stamp, and a
//! number that was given with another stamp is no longer good, so it need not be removed in the same instant. The lock
//! of a value is held while a handler's closure runs, and a thread holds one such lock at most.
//!
//! Does not know connections, and not how many sessions there are: `Sessions`, which the server implements, opens and
//! closes them.

use super::log_limit::cut_name;
use crate::sync::unordered::{AtomicBool, AtomicU64 as Count, AtomicUsize};
use crate::sync::{Arc, AtomicU64, Mutex, Ordering, thread_local};
use std::any::{Any, TypeId};
use std::cell::Cell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Limit on the sessions that one connection carries at once, its own not counted.
pub const CARRIED_SESSIONS_MAX: usize = 65_536;

/// A session: its client, its age, its calls, and its handlers' values.
#[derive(Debug)]
pub(crate) struct SessionState {
    id: u64,
    client: Box<str>,
    peer: SocketAddr,
    opened: Instant,
    /// When it last began or ended a call, in microseconds since it was opened.
    used_us: Count,
    calls: Count,
    running: AtomicUsize,
    /// Stamp of the connection that carries it; 0 once it is closed.
    stamp: AtomicU64,
    values: Mutex<Vec<(TypeId, Arc<HandlerValue>)>>,
}

/// One handler's value of a session.
type HandlerValue = Mutex<Box<dyn Any + Send>>;

impl SessionState {
    pub(crate) fn new(id: u64, client: &str, peer: SocketAddr, now: Instant) -> SessionState {
        SessionState {
            id,
            client: cut_name(client).into(),
            peer,
            opened: now,
            used_us: Count::new(0),
            calls: Count::new(0),
            running: AtomicUsize::new(0),
            stamp: AtomicU64::new(1),
            values: Mutex::default(),
        }
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Returns the beginning of the client's name for itself; empty where it is not needed.
    pub(crate) fn client(&self) -> &str {
        &self.client
    }

    /// Returns the address that opened it.
    pub(crate) fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Returns the number of calls it made.
    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Returns the time since it was opened.
    pub(crate) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.opened)
    }

    /// Returns the time of its last activity.
    pub(crate) fn last_use(&self) -> Instant {
        self.opened + Duration::from_micros(self.used_us.load(Ordering::Relaxed))
    }

    /// Returns whether a handler runs for it.
    pub(crate) fn is_running(&self) -> bool {
        self.running.load(Ordering::Acquire) > 0
    }

    /// Counts calls that it made.
    pub(crate) fn used(&self, calls: u64, now: Instant) {
        self.calls.fetch_add(calls, Ordering::Relaxed);
        self.touch(now);
    }

    /// Records activity.
    pub(crate) fn touch(&self, now: Instant) {
        self.used_us.store(self.age(now).as_micros() as u64, Ordering::Relaxed);
    }

    /// Records the start of a call.
    pub(crate) fn begin(&self, now: Instant) {
        self.running.fetch_add(1, Ordering::Relaxed);
        self.used(1, now);
    }

    /// Records the end of a call. In this order, so that it never looks both idle and long unused.
    pub(crate) fn end(&self, now: Instant) {
        self.touch(now);
        self.running.fetch_sub(1, Ordering::Release);
    }

    /// Returns a new stamp, the only one that is good from now on. To be called by one thread at a time.
    pub(crate) fn restamp(&self) -> u64 {
        self.stamp.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// Returns the stamp that is good now.
    pub(crate) fn stamp(&self) -> u64 {
        self.stamp.load(Ordering::SeqCst)
    }

    /// Closes it: no number of it is good any more.
    pub(crate) fn unstamp(&self) {
        self.stamp.store(0, Ordering::SeqCst);
    }

    /// Runs `run` on this session's value of type `T`, which is made at its first use.
    ///
    /// # Panics
    /// Within another `with_state`. With `run`; the value stays as `run` left it.
    pub(crate) fn with_state<T: Default + Send + 'static, R>(&self, run: impl FnOnce(&mut T) -> R) -> R {
        let _guard = ValueLockGuard::enter();
        let value = self.value::<T>();
        let mut value = value.lock();
        run(value.downcast_mut().expect("the value is kept under its type"))
    }

    fn value<T: Default + Send + 'static>(&self) -> Arc<HandlerValue> {
        let kind = TypeId::of::<T>();
        let find = |values: &[(TypeId, Arc<HandlerValue>)]| {
            values.iter().find(|(other, _)| *other == kind).map(|(_, value)| Arc::clone(value))
        };
        let found = find(&self.values.lock());
        found.unwrap_or_else(|| {
            // `Default` is foreign code, so it runs without the lock. If another thread was faster, its value counts.
            let made: Arc<HandlerValue> = Arc::new(Mutex::new(Box::new(T::default())));
            let mut values = self.values.lock();
            find(&values).unwrap_or_else(|| {
                values.push((kind, Arc::clone(&made)));
                made
            })
        })
    }
}

/// The last owner of the session, perhaps a listener, drops the handlers' values. A panic in one ends there; the
/// process's panic hook has reported it.
impl Drop for SessionState {
    fn drop(&mut self) {
        let values = std::mem::take(&mut *self.values.lock());
        for (_, value) in values {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(value))) {
                // The Drop of a panic's payload may panic too, and so on without end.
                std::mem::forget(panic);
            }
        }
    }
}

thread_local! {
    /// Whether this thread holds the lock of a handler's value.
    static HOLDS_VALUE: Cell<bool> = Cell::default();
}

/// Marks this thread as one that holds the lock. A panic ends the mark too.
struct ValueLockGuard;

impl ValueLockGuard {
    fn enter() -> ValueLockGuard {
        let holds = HOLDS_VALUE.with(|holds| holds.replace(true));
        assert!(!holds, "with_session within with_session would wait for itself");
        ValueLockGuard
    }
}

impl Drop for ValueLockGuard {
    fn drop(&mut self) {
        HOLDS_VALUE.with(|holds| holds.set(false));
    }
}

/// The sessions of one connection.
#[derive(Debug, Default)]
pub struct ConnectionSessions {
    own: OnceLock<Arc<SessionState>>,
    places: Mutex<Places>,
    count: AtomicUsize,
    /// Whether its connection is closed. Written and read under the lock of the table of sessions.
    gone: AtomicBool,
}

#[derive(Debug, Default)]
struct Places {
    /// Number given out last.
    last: u32,
    /// Sessions by number; `None` while one is being moved here.
    sessions: HashMap<u32, Option<Place>>,
}

#[derive(Debug)]
struct Place {
    session: Arc<SessionState>,
    stamp: u64,
}

impl Place {
    fn is_good(&self) -> bool {
        self.session.stamp() == self.stamp
    }
}

impl ConnectionSessions {
    /// Returns the connection's own session, which `make` makes at its first use.
    pub(crate) fn own(&self, make: impl FnOnce() -> SessionState) -> &Arc<SessionState> {
        self.own.get_or_init(|| Arc::new(make()))
    }

    /// Sets the connection's own session, before its first use.
    pub(crate) fn set_own(&self, session: Arc<SessionState>) {
        let fresh = self.own.set(session).is_ok();
        debug_assert!(fresh, "a connection is accepted before it calls");
    }

    /// Returns the connection's own session, if it was made.
    pub(crate) fn own_if_made(&self) -> Option<&Arc<SessionState>> {
        self.own.get()
    }

    /// Returns the number of sessions carried, the connection's own not counted.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    /// Records that the connection is closed: the sessions carried here wait for another.
    pub(crate) fn set_gone(&self) {
        self.gone.store(true, Ordering::Relaxed);
    }

    /// Returns whether the connection is closed.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    /// Returns the session of a number, if it is still carried here.
    pub(crate) fn find(&self, number: u32) -> Option<Arc<SessionState>> {
        let places = self.places.lock();
        let place = places.sessions.get(&number)?.as_ref().filter(|place| place.is_good())?;
        Some(Arc::clone(&place.session))
    }

    /// Reserves a new number; `None` at the limit.
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

    /// Puts a session at its reserved number, unless it has moved on meanwhile.
    pub(crate) fn put(&self, number: u32, session: Arc<SessionState>, stamp: u64) {
        let place = Place { session, stamp };
        let mut places = self.places.lock();
        // A move sets the new stamp first and then clears this place: either it finds the place, or we see the stamp.
        let good = place.is_good();
        match places.sessions.get_mut(&number) {
            Some(free) if good => *free = Some(place),
            _ => {
                drop(places);
                self.clear(number);
            }
        }
    }

    /// Frees a number.
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

    fn session(id: u64) -> Arc<SessionState> {
        Arc::new(SessionState::new(id, "test", ([127, 0, 0, 1], 1).into(), Instant::now()))
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
        assert!(catch_unwind(AssertUnwindSafe(nested)).is_err(), "instead of a wait for itself");
        assert_eq!(session.with_state(|count: &mut u32| *count), 1, "and goes on");
    }

    #[test]
    fn a_value_that_panics_when_dropped_harms_nothing() {
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
        assert!(
            here.find(third).is_none() && there.find(second).is_some(),
            "a move that comes too late does nothing"
        );
        assert_eq!((here.count(), there.count()), (1, 1), "the first place waits to be cleared");
        here.clear(first);
        session.unstamp();
        assert!(there.find(second).is_none());
        assert_eq!(here.count(), 0);
    }

    #[test]
    fn a_connection_carries_sessions_up_to_the_limit() {
        let carried = ConnectionSessions::default();
        carried.places.lock().last = u32::MAX - 1;
        let numbers: Vec<_> = (0..CARRIED_SESSIONS_MAX).map(|_| carried.reserve().unwrap()).collect();
        assert_eq!(numbers[..3], [u32::MAX, 1, 2], "0 is the connection's own");
        assert_eq!(carried.reserve(), None);
        carried.clear(7);
        assert!(carried.reserve().is_some_and(|number| !numbers.contains(&number)));
        assert_eq!(carried.reserve(), None);
    }
}
