//! Threads for jobs that may take long: commands, and pages that take long to generate.
//!
//! Invariant: all threads are created at the start, so a running server never needs another one. A job over the limit
//! is refused, never queued without bound.

use crate::sync::{Arc, Receiver, Sender, bounded};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// Stack of each thread, in bytes.
const STACK_BYTES: usize = 512 * 1024;

/// Time that the shutdown waits for idle threads to exit.
const EXIT_MAX: Duration = Duration::from_millis(250);

type Job = Box<dyn FnOnce() + Send>;

/// Threads, and permits for their jobs.
#[derive(Debug)]
pub(super) struct CommandThreads {
    permits: Arc<Semaphore>,
    permits_max: u32,
    /// Taken at the shutdown.
    jobs: Option<Sender<Job>>,
    threads: Vec<JoinHandle<()>>,
}

pub(super) enum JobResult<T> {
    /// Its result, and its permit, to be kept until the response is sent.
    Result(T, OwnedSemaphorePermit),
    Panicked,
    /// All permits were in use.
    Full,
}

impl CommandThreads {
    /// Starts threads; `waiting_max` further jobs may wait for them.
    ///
    /// # Errors
    /// The system cannot create a thread.
    pub(super) fn start(name: &str, threads: u32, waiting_max: u32) -> std::io::Result<CommandThreads> {
        let permits_max = threads + waiting_max;
        let (jobs, queue) = bounded::<Job>(permits_max as usize);
        let run = |queue: Receiver<Job>| {
            move || {
                while let Ok(job) = queue.recv() {
                    // The panic hook of the process logs it; the waiting request notices the missing result.
                    catch_unwind(AssertUnwindSafe(job)).ok();
                }
            }
        };
        let thread = |_| {
            let builder = Builder::new().name(name.to_owned()).stack_size(STACK_BYTES);
            builder.spawn(run(queue.clone()))
        };
        let threads = (0..threads).map(thread).collect::<std::io::Result<Vec<_>>>()?;
        Ok(CommandThreads {
            permits: Arc::new(Semaphore::new(permits_max as usize)),
            permits_max,
            jobs: Some(jobs),
            threads,
        })
    }

    /// Runs a job on a thread. If this future is dropped, a job for which a thread was free still runs, and keeps its
    /// permit until it ends; a job that may have to wait for a thread does not run if it has not begun.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> JobResult<T> {
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else { return JobResult::Full };
        let (done, result) = oneshot::channel();
        let may_wait = self.permits_max as usize > self.threads.len();
        let job = move || {
            if !(may_wait && done.is_closed()) {
                drop(done.send((job(), permit)));
            }
        };
        let sent = self.jobs.as_ref().is_some_and(|jobs| jobs.try_send(Box::new(job)).is_ok());
        match result.await {
            Ok((result, permit)) => JobResult::Result(result, permit),
            Err(_) if sent => JobResult::Panicked,
            Err(_) => JobResult::Full,
        }
    }

    /// Waits until all jobs are done and their responses are sent.
    pub(super) async fn idle(&self) {
        // The semaphore is never closed, so this cannot fail.
        self.permits.acquire_many(self.permits_max).await.ok();
    }
}

impl Drop for CommandThreads {
    fn drop(&mut self) {
        drop(self.jobs.take());
        let deadline = Instant::now() + EXIT_MAX;
        // A running command must not delay the shutdown.
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
