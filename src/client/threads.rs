//! The threads of all clients of this process, for programs that must know that they have ended.
//!
//! Dropping a client waits for no thread: each ends a moment later by itself. A thread that ends joins the one that
//! ended before it, so of all ended threads only the last still has its stack, until [`join_background_threads`] joins
//! that one too. Only joining a thread proves that nothing of it is left.
//!
//! Knows threads by number; knows no connections. Invariants: a thread joins only threads that ended before it, so no
//! two wait for each other, and joining one implies all that it joined. The lock is not held while a thread is joined.

use crate::service::ClientError;
use crate::service::blocking;
use crate::sync::{Condvar, Mutex};
use std::collections::BTreeMap;
use std::process;
use std::sync::OnceLock;
use std::thread::{Builder, JoinHandle, current};
use std::time::{Duration, Instant};

/// Blocks until all threads of clients that this process has had so far have ended and released what they held: for a
/// program that ends or forks right after it dropped its clients, and for leak checkers. Returns false if `timeout`
/// passes first, because calls are in flight, clients are left, or a name is still looked up; zero does not wait for a
/// thread that runs.
///
/// Returns false at once on a thread of a client, as in a waker, and in the child of a fork, which has none of the
/// threads of its parent. Any other thread may call it.
pub fn join_background_threads(timeout: Duration) -> bool {
    blocking(|| all().join_ended(Instant::now().checked_add(timeout)))
}

/// Starts a thread.
///
/// # Errors
/// [`ClientError::NoThread`].
pub(super) fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), ClientError> {
    all().spawn(name, run)
}

/// The threads of this process.
fn all() -> &'static Threads {
    static ALL: OnceLock<Threads> = OnceLock::new();
    ALL.get_or_init(Threads::new)
}

#[derive(Debug)]
struct Threads {
    /// Process that they are in: the child of a fork has this memory and none of the threads.
    process: u32,
    state: Mutex<State>,
    /// Signalled when a thread has ended or was joined.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Number of the thread that was started last; the first is 1.
    started: u64,
    running: BTreeMap<u64, JoinHandle<()>>,
    /// The thread that ended last.
    ended: Option<JoinHandle<()>>,
    /// Callers of `join_ended` that are joining a thread.
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
            // Another thread of the parent may have held the lock at the fork, and holds it here for ever.
            return thread.spawn(run).map(drop).map_err(failed);
        }
        // Under the lock, so that the thread is in the list before it can end.
        let mut state = self.state.lock();
        let number = state.started + 1;
        let thread = thread.spawn(move || {
            let _guard = EndGuard { threads: self, number };
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
        // Threads started meanwhile are not waited for: there may be no end of them.
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

/// Records the end of a thread when dropped, also by a panic.
struct EndGuard {
    threads: &'static Threads,
    number: u64,
}

impl Drop for EndGuard {
    fn drop(&mut self) {
        let mut state = self.threads.state.lock();
        let own = state.running.remove(&self.number);
        let before = std::mem::replace(&mut state.ended, own);
        drop(state);
        self.threads.changed.notify_all();
        if let Some(before) = before {
            join(before);
        }
    }
}

/// Joins a thread that has nothing left to do.
fn join(thread: JoinHandle<()>) {
    // A thread that panicked has ended too.
    thread.join().ok();
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, Sender, channel};

    fn threads() -> &'static Threads {
        Box::leak(Box::new(Threads::new()))
    }

    /// Starts a thread that ends when the returned sender is dropped.
    fn start(all: &'static Threads) -> Sender<()> {
        let (end, ends): (_, Receiver<()>) = channel();
        all.spawn("until dropped", move || assert!(ends.recv().is_err())).unwrap();
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
            let ends: Vec<_> = (0..5).map(|_| start(all)).collect();
            assert!(!all.join_ended(now()));
            drop(ends);
            assert!(all.join_ended(None));
            let state = all.state.lock();
            assert!(state.running.is_empty() && state.ended.is_none() && state.joining == 0);
            assert_eq!(state.started, 5 * round);
        }
    }

    #[test]
    fn only_the_last_thread_to_end_is_kept() {
        let all = threads();
        for number in 1..=20 {
            drop(start(all));
            let mut state = all.state.lock();
            while !state.running.is_empty() {
                all.changed.wait(&mut state);
            }
            assert!(state.ended.is_some(), "{number}");
        }
        assert!(all.join_ended(now()), "none runs, so there is nothing to wait for");
    }

    #[test]
    fn several_callers_wait_at_once_and_ignore_threads_started_meanwhile() {
        let all = threads();
        let first = start(all);
        let (ready, all_ready) = channel();
        let waiting: Vec<_> = (0..4)
            .map(|_| {
                let ready = ready.clone();
                std::thread::spawn(move || {
                    assert!(!all.join_ended(now()));
                    ready.send(()).unwrap();
                    all.join_ended(None)
                })
            })
            .collect();
        all_ready.iter().take(4).for_each(drop);
        drop(first);
        assert!(waiting.into_iter().all(|waiting| waiting.join().unwrap()));
        assert!(all.join_ended(now()));
        assert!(all.state.lock().ended.is_none());
    }

    #[test]
    fn a_thread_of_a_client_gets_false_at_once() {
        let all = threads();
        let (sends, result) = channel();
        all.spawn("joins", move || sends.send(all.join_ended(None)).unwrap()).unwrap();
        assert!(!result.recv().unwrap());
        assert!(all.join_ended(None));
    }

    #[test]
    fn a_thread_that_panics_ends_like_any_other() {
        let all = threads();
        all.spawn("panics", || std::panic::resume_unwind(Box::new("planted"))).unwrap();
        assert!(all.join_ended(None));
    }

    #[test]
    fn threads_of_another_process_are_not_waited_for() {
        let parent = Threads { process: process::id() + 1, ..Threads::new() };
        let all: &'static Threads = Box::leak(Box::new(parent));
        let _never_unlocked = all.state.lock();
        let (runs, run) = channel();
        all.spawn("of the child", move || runs.send(()).unwrap()).unwrap();
        run.recv().unwrap();
        assert!(!all.join_ended(None));
    }
}
