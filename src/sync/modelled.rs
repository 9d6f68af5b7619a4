//! Stand-ins for `sync.rs` under a model checker: the same names and the same use, over loom's or shuttle's
//! primitives. Waits with a deadline wait without end: a checker explores order, not time.

#![cfg_attr(not(feature = "server"), allow(dead_code, reason = "the client alone has no channels"))]

#[cfg(loom)]
use loom as checker;
#[cfg(shuttle)]
use shuttle as checker;

use super::{Arc, Ordering};
use checker::sync as model;
use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::sync::OnceLock;
use std::time::Instant;

pub(crate) use checker::thread::{Thread, current, park, yield_now};
pub(crate) use checker::thread_local;
pub(crate) use model::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize};

/// An atomic whose operations are all `SeqCst`. Loom lets a `SeqCst` load read what is long overwritten, but no
/// read-modify-write: so loads are those.
#[cfg(feature = "server")]
#[derive(Debug)]
pub(crate) struct SequentialUsize(AtomicUsize);

#[cfg(feature = "server")]
impl SequentialUsize {
    pub(crate) fn new(value: usize) -> Self {
        SequentialUsize(AtomicUsize::new(value))
    }

    pub(crate) fn load(&self, order: Ordering) -> usize {
        self.0.fetch_add(0, order)
    }

    pub(crate) fn fetch_add(&self, value: usize, order: Ordering) -> usize {
        self.0.fetch_add(value, order)
    }

    pub(crate) fn compare_exchange(
        &self,
        now: usize,
        then: usize,
        set: Ordering,
        read: Ordering,
    ) -> Result<usize, usize> {
        self.0.compare_exchange(now, then, set, read)
    }
}

/// parking_lot's lock: no poisoning.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(model::Mutex<T>);

/// Empty only while its owner waits on a condition.
#[derive(Debug)]
pub(crate) struct MutexGuard<'a, T>(Option<model::MutexGuard<'a, T>>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Mutex(model::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        MutexGuard(Some(self.0.lock().expect("no thread panics under a model's lock")))
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().expect("full but for the time of a wait")
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.as_mut().expect("full but for the time of a wait")
    }
}

/// parking_lot's condition variable: takes the guard by reference.
#[derive(Debug, Default)]
pub(crate) struct Condvar(model::Condvar);

/// Whether a wait ended by its deadline; never.
#[derive(Debug)]
pub(crate) struct Waited;

impl Waited {
    pub(crate) fn timed_out(&self) -> bool {
        false
    }
}

impl Condvar {
    pub(crate) fn new() -> Self {
        Condvar(model::Condvar::new())
    }

    pub(crate) fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        let inner = guard.0.take().expect("full but for the time of a wait");
        guard.0 = Some(self.0.wait(inner).expect("no thread panics under a model's lock"));
    }

    pub(crate) fn wait_until<T>(&self, guard: &mut MutexGuard<'_, T>, _: Instant) -> Waited {
        self.wait(guard);
        Waited
    }

    pub(crate) fn notify_one(&self) {
        self.0.notify_one();
    }

    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }
}

/// A sleep: others run.
#[cfg(feature = "server")]
pub(crate) fn sleep(_: std::time::Duration) {
    yield_now();
}

/// A clock that stands still.
pub(crate) fn now() -> Instant {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    *EPOCH.get_or_init(Instant::now)
}

struct Channel<T> {
    items: Mutex<VecDeque<T>>,
    capacity: usize,
    came: Condvar,
}

/// crossbeam's sender, without disconnection.
pub(crate) struct Sender<T>(Arc<Channel<T>>);

/// crossbeam's receiver, without disconnection.
pub(crate) struct Receiver<T>(Arc<Channel<T>>);

/// There was no place, or nothing there.
#[derive(Debug)]
pub(crate) struct NotNow;

pub(crate) fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let channel = Arc::new(Channel { items: Mutex::new(VecDeque::new()), capacity, came: Condvar::new() });
    (Sender(Arc::clone(&channel)), Receiver(channel))
}

// As in crossbeam: whatever travels in the channel.
impl<T> std::fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sender { .. }")
    }
}

impl<T> std::fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Receiver { .. }")
    }
}

impl<T> Sender<T> {
    pub(crate) fn try_send(&self, item: T) -> Result<(), NotNow> {
        let mut items = self.0.items.lock();
        if items.len() == self.0.capacity {
            return Err(NotNow);
        }
        items.push_back(item);
        self.0.came.notify_all();
        Ok(())
    }

    pub(crate) fn send(&self, item: T) -> Result<(), NotNow> {
        self.try_send(item)
    }
}

impl<T> Receiver<T> {
    pub(crate) fn try_recv(&self) -> Result<T, NotNow> {
        self.0.items.lock().pop_front().ok_or(NotNow)
    }

    pub(crate) fn recv(&self) -> Result<T, NotNow> {
        let mut items = self.0.items.lock();
        loop {
            match items.pop_front() {
                Some(item) => return Ok(item),
                None => self.0.came.wait(&mut items),
            }
        }
    }

    pub(crate) fn recv_deadline(&self, _: Instant) -> Result<T, NotNow> {
        self.recv()
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        Receiver(Arc::clone(&self.0))
    }
}

/// Random orders in which shuttle runs a model.
#[cfg(all(test, shuttle))]
const SCHEDULES: usize = 100_000;

/// Runs a model in every order of its threads with at most `preemptions` preemptions (loom), or in `SCHEDULES` random
/// orders (shuttle).
#[cfg(test)]
pub(crate) fn check(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    #[cfg(loom)]
    {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(preemptions);
        builder.max_branches = 100_000;
        builder.check(model);
    }
    #[cfg(shuttle)]
    {
        let _ = preemptions;
        let model = Arc::new(model);
        let again = Arc::clone(&model);
        shuttle::check_random(move || model(), SCHEDULES);
        // Random orders seldom hold one thread back for long; PCT does.
        shuttle::check_pct(move || again(), SCHEDULES / 5, 3);
    }
}
