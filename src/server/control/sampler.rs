//! The sampler: a thread that takes a sample of the server each second, and sleeps otherwise.
//!
//! While some handlers run, it also looks at the workers' threads once, and while something presses ten times.
//! Invariant: looks take a fiftieth of a processor at most, whatever the number of workers.

use crate::monitor::ServerMonitor;
use crate::server::alarm::AlarmThread;
use crate::server::machine::thread_cpu_used;
use crate::server::verdict_file::WriterThread;
use crate::service::LogLimiter;
use crate::sync::{Arc, Condvar, Mutex};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Interval between two samples.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);

/// Interval between two looks, and the processor time for reading states of threads in one of them.
const LOOK_EVERY: Duration = Duration::from_millis(100);
const LOOK_BUDGET: Duration = Duration::from_millis(2);

/// Part of the time that looks may take of a processor. A look that took longer, since there are very many workers, is
/// followed by a longer pause.
const LOOK_PART: u32 = 50;

/// The threads that take what samples say of the verdict: into a file, and to a program.
pub(in crate::server) type VerdictTakers = (Option<WriterThread>, Option<AlarmThread>);

/// The thread that takes samples. Dropping it ends it.
#[derive(Debug)]
pub(in crate::server) struct Sampler {
    stop: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
    /// Dropped after the thread has ended, so that the verdict of the last sample is written.
    _takers: VerdictTakers,
}

impl Sampler {
    /// Starts the thread. It also logs how many lines were left out of the log.
    pub(in crate::server) fn start(
        monitor: Arc<ServerMonitor>,
        log_limiter: Arc<LogLimiter>,
        takers: VerdictTakers,
    ) -> std::io::Result<Sampler> {
        let stop = Arc::new((Mutex::new(false), Condvar::new()));
        let stopped = Arc::clone(&stop);
        let run = move || {
            let (stopped, changed) = &*stopped;
            let (mut next, mut next_look) = (Instant::now(), Instant::now());
            while !*stopped.lock() {
                // A panic must not end the samples; the process's hook logs it.
                if catch_unwind(AssertUnwindSafe(|| monitor.sample())).is_err() {
                    log::error!("sampler panicked; retrying in 1 s");
                }
                log_left_out(&log_limiter, false);
                next = (next + SAMPLE_EVERY).max(Instant::now());
                if !monitor.is_pressed() && monitor.has_some_running() {
                    look(&monitor);
                }
                while next_look < next && monitor.is_pressed() && !wait(stopped, changed, next_look) {
                    next_look = Instant::now() + look(&monitor);
                }
                wait(stopped, changed, next);
            }
            log_left_out(&log_limiter, true);
        };
        let thread = std::thread::Builder::new().name("sampler".to_owned()).spawn(run)?;
        Ok(Sampler { stop, thread: Some(thread), _takers: takers })
    }
}

/// Waits until then, or until the sampler is stopped: then it returns true.
fn wait(stopped: &Mutex<bool>, changed: &Condvar, until: Instant) -> bool {
    let mut stopped = stopped.lock();
    while !*stopped && !changed.wait_until(&mut stopped, until).timed_out() {}
    *stopped
}

/// Looks at the workers. Returns the pause that is due after it.
fn look(monitor: &ServerMonitor) -> Duration {
    let began = thread_cpu_used();
    if catch_unwind(AssertUnwindSafe(|| monitor.look(Instant::now(), LOOK_BUDGET))).is_err() {
        log::error!("look at the workers panicked");
        return SAMPLE_EVERY;
    }
    LOOK_EVERY.max(thread_cpu_used().saturating_sub(began) * LOOK_PART)
}

/// Logs how many lines were left out of the log; `at_once` also if that was logged a moment ago.
fn log_left_out(log_limiter: &LogLimiter, at_once: bool) {
    if let Some(line) = log_limiter.take_report(Instant::now(), at_once) {
        log::warn!("{line}");
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        *self.stop.0.lock() = true;
        self.stop.1.notify_all();
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            log::error!("sampler thread panicked");
        }
    }
}
