//! Threads for what may last: commands, and pages that are long in the making.
//!
//! Invariant: all of them are made at the start, so a server that serves never needs another thread for what it is
//! asked. What is over their places is refused, never queued without bound.

use crate::sync::{Arc, Receiver, Sender, bounded};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// Stack of each, in bytes.
const STACK_BYTES: usize = 512 * 1024;

/// How long the end waits for threads that run nothing to be gone.
const EXIT_MAX: Duration = Duration::from_millis(250);

type Job = Box<dyn FnOnce() + Send>;

/// Threads, and places for what they are given.
#[derive(Debug)]
pub(super) struct CommandThreads {
    places: Arc<Semaphore>,
    count: u32,
    /// Taken at the end.
    jobs: Option<Sender<Job>>,
    threads: Vec<JoinHandle<()>>,
}

/// What became of a job.
pub(super) enum Done<T> {
    /// Its result, and its place, to be kept until the result is answered.
    Result(T, OwnedSemaphorePermit),
    Panicked,
    /// As much was under way as may.
    Full,
}

impl CommandThreads {
    /// So many threads; so much may wait for them besides.
    ///
    /// # Errors
    /// The system would not make one.
    pub(super) fn make(name: &str, threads: u32, waiting_max: u32) -> std::io::Result<CommandThreads> {
        let count = threads + waiting_max;
        let (jobs, taken) = bounded::<Job>(count as usize);
        let run = |taken: Receiver<Job>| {
            move || {
                while let Ok(job) = taken.recv() {
                    // The process's hook logs a panic; whoever waits learns of it by the missing result.
                    catch_unwind(AssertUnwindSafe(job)).ok();
                }
            }
        };
        let thread = |_| {
            let builder = Builder::new().name(name.to_owned()).stack_size(STACK_BYTES);
            builder.spawn(run(taken.clone()))
        };
        let threads = (0..threads).map(thread).collect::<std::io::Result<Vec<_>>>()?;
        Ok(CommandThreads {
            places: Arc::new(Semaphore::new(count as usize)),
            count,
            jobs: Some(jobs),
            threads,
        })
    }

    /// Has a thread do it. If whoever waits goes, what a thread was free for is done all the same, and has its place
    /// until then; what may have to wait for one is not done if it has not begun.
    pub(super) async fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Done<T> {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else { return Done::Full };
        let (done, result) = oneshot::channel();
        let may_wait = self.count as usize > self.threads.len();
        let job = move || {
            if !(may_wait && done.is_closed()) {
                drop(done.send((job(), place)));
            }
        };
        let given = self.jobs.as_ref().is_some_and(|jobs| jobs.try_send(Box::new(job)).is_ok());
        match result.await {
            Ok((result, place)) => Done::Result(result, place),
            Err(_) if given => Done::Panicked,
            Err(_) => Done::Full,
        }
    }

    /// Waits until all that was given is done and answered.
    pub(super) async fn idle(&self) {
        // It is never closed, so an error cannot be.
        self.places.acquire_many(self.count).await.ok();
    }
}

impl Drop for CommandThreads {
    fn drop(&mut self) {
        drop(self.jobs.take());
        let deadline = Instant::now() + EXIT_MAX;
        // A command that still runs must not hold up the server's end.
        for thread in self.threads.drain(..) {
            while !thread.is_finished() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(1));
            }
            if thread.is_finished() {
                thread.join().ok();
            }
        }
    }
}
