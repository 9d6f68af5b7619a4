//! Reactor: the one thread of this process that reads the connections no caller reads, and wakes their checks.
//!
//! It starts with the first connection and ends after the last one. Its socket registrations are level-triggered, so
//! that a connection whose bytes another thread reads is told of once and then registered for its end only.
//!
//! Invariants: a registration is removed before its socket is closed, since a copy of the socket in the child of a fork
//! would keep it. In such a child, which has the descriptors and no thread, nothing is changed: it makes a reactor of
//! its own. No lock is held while a source is called.
//!
//! Knows sources by number; knows no connections and no calls.

use super::read_source::{Flush, Interest, ReadSource};
use super::transport::ClientTransport;
use crate::client::threads::spawn;
use crate::service::ClientError;
use crate::sync::{Arc, Mutex, Weak};
use rustix::buffer::spare_capacity;
use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};
use rustix::fd::OwnedFd;
use std::collections::{BTreeSet, HashMap};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Events taken from one poll.
const EVENTS_MAX: usize = 256;

/// Longest time until a source is flushed whatever may be about to come.
const HELD_MAX: Duration = Duration::from_millis(1);

/// Number of the reactor's own descriptor; those of sources begin at 1.
const WAKE: u64 = 0;

#[derive(Debug)]
struct Reactor {
    process: u32,
    epoll: OwnedFd,
    wake: OwnedFd,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    sources: HashMap<u64, Entry>,
    /// Times at which sources are checked.
    alarms: BTreeSet<(Instant, u64)>,
    last_number: u64,
    sleep: Sleep,
    /// The last source has gone: the thread ends, and no source is added.
    ended: bool,
}

#[derive(Debug)]
struct Entry {
    /// `None` until it is attached.
    source: Option<Weak<dyn ReadSource>>,
    alarm: Option<Instant>,
}

/// A source that is not flushed yet.
struct Held {
    number: u64,
    source: Arc<dyn ReadSource>,
    since: Instant,
}

/// State of the reactor's thread.
#[derive(Debug, Default, Clone, Copy)]
enum Sleep {
    /// Looks at the alarms before it sleeps.
    #[default]
    Awake,
    /// Sleeps, until this time if there is one.
    Until(Option<Instant>),
}

/// A source's place in the reactor; ends when dropped.
#[derive(Debug)]
pub(super) struct Registration {
    reactor: Arc<Reactor>,
    number: u64,
}

impl Registration {
    /// A place for a source that is not registered for anything yet. Starts the thread if there is none.
    ///
    /// # Errors
    /// [`ClientError::NoThread`]: also where there is no descriptor left.
    pub(super) fn new() -> Result<Registration, ClientError> {
        loop {
            let reactor = Reactor::current()?;
            if let Some(number) = reactor.add() {
                return Ok(Registration { reactor, number });
            }
        }
    }

    /// Sets the source. To be called before anything else.
    pub(super) fn attach(&self, source: Weak<dyn ReadSource>) {
        if let Some(entry) = self.reactor.state.lock().sources.get_mut(&self.number) {
            entry.source = Some(source);
        }
    }

    /// Changes what the source's socket is registered for. Does not block.
    ///
    /// # Errors
    /// No memory, or the user has too many registrations.
    pub(super) fn change(&self, transport: &ClientTransport, from: Interest, to: Interest) -> io::Result<()> {
        if from == to || !self.reactor.is_of_this_process() {
            return Ok(());
        }
        let flags = match to {
            Interest::Bytes => epoll::EventFlags::IN | epoll::EventFlags::RDHUP,
            Interest::End | Interest::Nothing => epoll::EventFlags::RDHUP,
        };
        let (socket, epoll) = (transport.socket(), &self.reactor.epoll);
        let data = epoll::EventData::new_u64(self.number);
        match (from, to) {
            (_, Interest::Nothing) => epoll::delete(epoll, socket),
            (Interest::Nothing, _) => epoll::add(epoll, socket, data, flags),
            _ => epoll::modify(epoll, socket, data, flags),
        }?;
        Ok(())
    }

    /// Sets the time of the source's next check; an earlier one stays.
    pub(super) fn alarm(&self, time: Instant) {
        self.reactor.alarm(self.number, time);
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.reactor.remove(self.number);
    }
}

impl Reactor {
    /// The reactor of this process. In the child of a fork a new one for each source: another thread of the parent may
    /// have held the lock at the fork, and holds it there for ever.
    fn current() -> Result<Arc<Reactor>, ClientError> {
        static CURRENT: OnceLock<(u32, Mutex<Weak<Reactor>>)> = OnceLock::new();
        let (process, current) = CURRENT.get_or_init(|| (process::id(), Mutex::default()));
        if *process != process::id() {
            return Reactor::start();
        }
        let mut current = current.lock();
        if let Some(reactor) = current.upgrade()
            && !reactor.state.lock().ended
        {
            return Ok(reactor);
        }
        let reactor = Reactor::start()?;
        *current = Arc::downgrade(&reactor);
        Ok(reactor)
    }

    fn start() -> Result<Arc<Reactor>, ClientError> {
        let reactor = Arc::new(Reactor::new().map_err(|error| ClientError::NoThread(error.kind()))?);
        let run = Arc::clone(&reactor);
        spawn("boneyard-client", move || run.run())?;
        Ok(reactor)
    }

    fn new() -> io::Result<Reactor> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        epoll::add(&epoll, &wake, epoll::EventData::new_u64(WAKE), epoll::EventFlags::IN)?;
        Ok(Reactor { process: process::id(), epoll, wake, state: Mutex::default() })
    }

    fn is_of_this_process(&self) -> bool {
        self.process == process::id()
    }

    fn add(&self) -> Option<u64> {
        let mut state = self.state.lock();
        if state.ended {
            return None;
        }
        state.last_number += 1;
        let number = state.last_number;
        state.sources.insert(number, Entry { source: None, alarm: None });
        Some(number)
    }

    fn remove(&self, number: u64) {
        if !self.is_of_this_process() {
            // Another thread of the parent may have held the lock at the fork, and holds it here for ever.
            return;
        }
        let mut state = self.state.lock();
        let entry = state.sources.remove(&number);
        if let Some(alarm) = entry.as_ref().and_then(|entry| entry.alarm) {
            state.alarms.remove(&(alarm, number));
        }
        state.ended = state.sources.is_empty();
        let ended = state.ended;
        drop(state);
        if ended {
            self.wake();
        }
    }

    fn alarm(&self, number: u64, time: Instant) {
        if !self.is_of_this_process() {
            return;
        }
        if self.state.lock().alarm(number, time) {
            self.wake();
        }
    }

    /// Ends the thread's sleep.
    fn wake(&self) {
        // The counter is full only if the thread has to wake anyway.
        rustix::io::write(&self.wake, &1u64.to_ne_bytes()).ok();
    }

    /// The thread.
    fn run(&self) {
        let mut events: Vec<epoll::Event> = Vec::with_capacity(EVENTS_MAX);
        let mut held: Vec<Held> = Vec::new();
        while let Some(alarm) = self.begin_sleep() {
            events.clear();
            let flush = held.iter().map(|held| held.since + HELD_MAX).min();
            let until = alarm.into_iter().chain(flush).min();
            let timeout = until.map(|until| until.saturating_duration_since(Instant::now()));
            let timeout = timeout.and_then(|left| Timespec::try_from(left).ok());
            // An interrupted wait is one without events.
            epoll::wait(&self.epoll, spare_capacity(&mut events), timeout.as_ref()).ok();
            self.state.lock().sleep = Sleep::Awake;
            self.handle(&events, &mut held);
            self.check();
        }
    }

    /// Reads what there is to read, and flushes what was read, now or later; those that wait for it are in `held`.
    fn handle(&self, events: &[epoll::Event], held: &mut Vec<Held>) {
        let now = Instant::now();
        for event in events {
            let (number, flags) = (event.data.u64(), event.flags);
            if number == WAKE {
                rustix::io::read(&self.wake, &mut [0; 8]).ok();
                continue;
            }
            let ends = epoll::EventFlags::RDHUP | epoll::EventFlags::HUP | epoll::EventFlags::ERR;
            let Some(source) = self.source(number) else { continue };
            let read = guarded(&source, false, |source| source.read(flags.intersects(ends)));
            if read && !held.iter().any(|held| held.number == number) {
                held.push(Held { number, source, since: now });
            }
        }
        held.retain_mut(|Held { source, since, .. }| {
            let late = now.saturating_duration_since(*since) >= HELD_MAX;
            if late {
                *since = now;
            }
            let flush = if late { Flush::Now } else { Flush::Unhurried };
            guarded(source, false, |source| source.flush(flush))
        });
    }

    fn source(&self, number: u64) -> Option<Arc<dyn ReadSource>> {
        self.state.lock().sources.get(&number)?.source.as_ref()?.upgrade()
    }

    /// Checks the sources that are due.
    fn check(&self) {
        let now = Instant::now();
        while let Some((number, source)) = self.next_due(now) {
            let check = |source| guarded(&source, None, |source| source.check(now));
            if let Some(next) = source.and_then(check) {
                self.state.lock().alarm(number, next);
            }
        }
    }

    /// Takes a source that is due. Its inner `None` means that the source has gone.
    fn next_due(&self, now: Instant) -> Option<(u64, Option<Arc<dyn ReadSource>>)> {
        let mut state = self.state.lock();
        let number = state.alarms.first().filter(|(time, _)| *time <= now)?.1;
        state.alarms.pop_first();
        let entry = state.sources.get_mut(&number)?;
        entry.alarm = None;
        Some((number, entry.source.as_ref().and_then(Weak::upgrade)))
    }

    /// Returns until when the thread may sleep; `None` when it is to end.
    fn begin_sleep(&self) -> Option<Option<Instant>> {
        let mut state = self.state.lock();
        if state.ended {
            return None;
        }
        let first = state.alarms.first().map(|(time, _)| *time);
        state.sleep = Sleep::Until(first);
        Some(first)
    }
}

impl State {
    /// Records a time for a source. Returns whether the thread would sleep beyond it.
    fn alarm(&mut self, number: u64, time: Instant) -> bool {
        let Some(entry) = self.sources.get_mut(&number) else { return false };
        if entry.alarm.is_some_and(|alarm| alarm <= time) {
            return false;
        }
        if let Some(later) = entry.alarm.replace(time) {
            self.alarms.remove(&(later, number));
        }
        self.alarms.insert((time, number));
        match self.sleep {
            Sleep::Awake => false,
            Sleep::Until(until) => until.is_none_or(|until| time < until),
        }
    }
}

/// Calls a source. A panic, which would be a defect of this crate or of the program's logger, costs that source alone.
fn guarded<Outcome>(
    source: &Arc<dyn ReadSource>,
    failed: Outcome,
    call: impl FnOnce(Arc<dyn ReadSource>) -> Outcome,
) -> Outcome {
    catch_unwind(AssertUnwindSafe(|| call(Arc::clone(source)))).unwrap_or_else(|_| {
        // The logger may panic again.
        catch_unwind(AssertUnwindSafe(|| Arc::clone(source).fail())).ok();
        failed
    })
}
