//! The threads of all clients of this process, for whoever must know that they are gone.
//!
//! Nobody waits for a thread when a client is dropped: it ends a moment later by itself. It joins the one that ended
//! before it, so of all that have ended only the last still has its stack, until [`join_background_threads`] joins that one too. Only
//! who has joined a thread knows that nothing of it is left.
//!
//! Knows threads by number; knows no connections. Invariants: a thread joins none but those that ended before it, so
//! no two wait for each other, and who has joined one knows all before it joined. The lock is not held while a thread
//! is joined.

use super::error::ClientError;
use crate::service::blocking;
use crate::sync::{Condvar, Mutex};
use std::collections::BTreeMap;
use std::process;
use std::sync::OnceLock;
use std::thread::{Builder, JoinHandle, current};
use std::time::{Duration, Instant};

/// Waits until all threads of clients that this process has had so far have ended and given back what they had: for a
/// program that ends or forks right after it dropped its clients, and for leak checkers. False where that is not so
/// after `patience`, because calls are still out, clients are left, or a name is still looked up; zero does not wait
/// for a thread that runs.
///
/// False at once on a thread of a client, that is in a waker, and in the child of a fork, which has none of the threads
/// that its parent has.
pub fn join_background_threads(patience: Duration) -> bool {
    blocking(|| all().join_ended(Instant::now().checked_add(patience)))
}

/// Starts a thread.
///
/// # Errors
/// [`ClientError::NoThread`].
pub(super) fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), ClientError> {
    all().spawn(name, run)
}

/// Those of this process.
fn all() -> &'static Threads {
    static ALL: OnceLock<Threads> = OnceLock::new();
    ALL.get_or_init(Threads::new)
}

#[derive(Debug)]
struct Threads {
    /// Whose they are: the child of a fork has this memory and none of the threads.
    process: u32,
    state: Mutex<State>,
    /// Signalled when a thread has ended, or somebody has joined one.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// The number of the last that was started; the first is 1.
    started: u64,
    running: BTreeMap<u64, JoinHandle<()>>,
    /// The one that ended last.
    ended: Option<JoinHandle<()>>,
    /// How many callers of `join_ended` are joining one.
    joining: usize,
}

impl Threads {
    fn new() -> Threads {
        Threads { process: process::id(), state: Mutex::new(State::default()), changed: Condvar::new() }
    }

    fn spawn(&'static self, name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), ClientError> {
        let thread = Builder::new().name(name.to_owned());
        let failed = |error: std::io::Error| ClientError::NoThread(error.kind());
        if process::id() != self.process {
            // Another thread of the parent may have held the lock when it forked, and holds it here for ever.
            return thread.spawn(run).map(drop).map_err(failed);
        }
        // Under the lock, so that the thread stands in the list before it can end.
        let mut state = self.state.lock();
        let number = state.started + 1;
        let thread = thread.spawn(move || {
            let _end = End { all: self, number };
            run();
        });
        state.running.insert(number, thread.map_err(failed)?);
        state.started = number;
        Ok(())
    }

    fn join_ended(&self, deadline: Option<Instant>) -> bool {
        if process::id() != self.process {
            return false;
        }
        let mut state = self.state.lock();
        // Those that others start meanwhile are not waited for: there may be no end of them.
        let (last, own) = (state.started, current().id());
        if state.running.values().chain(&state.ended).any(|thread| thread.thread().id() == own) {
            return false;
        }
        loop {
            if let Some(thread) = state.ended.take() {
                state.joining += 1;
                drop(state);
                join(thread);
                state = self.state.lock();
                state.joining -= 1;
                self.changed.notify_all();
            } else if state.joining == 0 && state.running.keys().next().is_none_or(|first| *first > last) {
                return true;
            } else {
                match deadline {
                    None => self.changed.wait(&mut state),
                    Some(deadline) if Instant::now() >= deadline => return false,
                    Some(deadline) => {
                        self.changed.wait_until(&mut state, deadline);
                    }
                }
            }
        }
    }
}

/// What a thread does last, also when it panics.
struct End {
    all: &'static Threads,
    number: u64,
}

impl Drop for End {
    fn drop(&mut self) {
        let mut state = self.all.state.lock();
        let own = state.running.remove(&self.number);
        let before = std::mem::replace(&mut state.ended, own);
        drop(state);
        self.all.changed.notify_all();
        if let Some(before) = before {
            join(before);
        }
    }
}

/// Waits for a thread that has nothing left to do.
fn join(thread: JoinHandle<()>) {
    // One that panicked has ended as well.
    thread.join().ok();
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, Sender, channel};

    fn threads() -> &'static Threads {
        Box::leak(Box::new(Threads::new()))
    }

    /// A thread that ends when what is returned is dropped.
    fn held(all: &'static Threads) -> Sender<()> {
        let (end, held): (_, Receiver<()>) = channel();
        all.spawn("held", move || assert!(held.recv().is_err())).unwrap();
        end
    }

    fn now() -> Option<Instant> {
        Some(Instant::now())
    }

    #[test]
    fn nothing_is_left_once_all_have_ended() {
        let all = threads();
        assert!(all.join_ended(now()), "there is none");
        for round in 1..=20 {
            let ends: Vec<_> = (0..5).map(|_| held(all)).collect();
            assert!(!all.join_ended(now()));
            drop(ends);
            assert!(all.join_ended(None));
            let state = all.state.lock();
            assert!(state.running.is_empty() && state.ended.is_none() && state.joining == 0);
            assert_eq!(state.started, 5 * round);
        }
    }

    #[test]
    fn of_those_that_have_ended_only_the_last_is_kept() {
        let all = threads();
        for number in 1..=20 {
            drop(held(all));
            let mut state = all.state.lock();
            while !state.running.is_empty() {
                all.changed.wait(&mut state);
            }
            assert!(state.ended.is_some(), "{number}");
        }
        assert!(all.join_ended(now()), "none runs, so there is nothing to wait for");
    }

    #[test]
    fn several_wait_at_once_and_those_started_meanwhile_do_not_hold_them() {
        let all = threads();
        let first = held(all);
        let (asks, asked) = channel();
        let waiting: Vec<_> = (0..4)
            .map(|_| {
                let asks = asks.clone();
                std::thread::spawn(move || {
                    assert!(!all.join_ended(now()));
                    asks.send(()).unwrap();
                    all.join_ended(None)
                })
            })
            .collect();
        asked.iter().take(4).for_each(drop);
        drop(first);
        assert!(waiting.into_iter().all(|waiting| waiting.join().unwrap()));
        assert!(all.join_ended(now()));
        assert!(all.state.lock().ended.is_none());
    }

    #[test]
    fn one_of_the_threads_is_told_no_at_once() {
        let all = threads();
        let (told, hears) = channel();
        all.spawn("asks", move || told.send(all.join_ended(None)).unwrap()).unwrap();
        assert!(!hears.recv().unwrap());
        assert!(all.join_ended(None));
    }

    #[test]
    fn a_thread_that_panics_ends_like_any_other() {
        let all = threads();
        all.spawn("panics", || std::panic::resume_unwind(Box::new("planted"))).unwrap();
        assert!(all.join_ended(None));
    }

    #[test]
    fn what_another_process_started_is_not_waited_for() {
        let parent = Threads { process: process::id() + 1, ..Threads::new() };
        let all: &'static Threads = Box::leak(Box::new(parent));
        let _held_for_ever = all.state.lock();
        let (told, hears) = channel();
        all.spawn("of the child", move || told.send(()).unwrap()).unwrap();
        hears.recv().unwrap();
        assert!(!all.join_ended(None));
    }
}
