//! The sampler: a thread that takes a sample of the server each second, and sleeps otherwise.

use crate::monitor::ServerMonitor;
use crate::server::verdict_file::WriterThread;
use crate::service::LogLimiter;
use crate::sync::{Arc, Condvar, Mutex};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Interval between two samples.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);

/// The thread that takes samples. Dropping it ends it.
#[derive(Debug)]
pub(in crate::server) struct Sampler {
    stop: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
    /// Dropped after the thread has ended, so that the verdict of the last sample is written.
    _verdict_writer: Option<WriterThread>,
}

impl Sampler {
    /// Starts the thread. It also logs how many lines were left out of the log.
    pub(in crate::server) fn start(
        monitor: Arc<ServerMonitor>,
        log_limiter: Arc<LogLimiter>,
        verdict_writer: Option<WriterThread>,
    ) -> std::io::Result<Sampler> {
        let stop = Arc::new((Mutex::new(false), Condvar::new()));
        let stopped = Arc::clone(&stop);
        let run = move || {
            let (stopped, changed) = &*stopped;
            let mut next = Instant::now();
            while !*stopped.lock() {
                // A panic must not end the samples; the process's hook logs it.
                if catch_unwind(AssertUnwindSafe(|| monitor.sample())).is_err() {
                    log::error!("sampler panicked; retrying in 1 s");
                }
                log_left_out(&log_limiter, false);
                next = (next + SAMPLE_EVERY).max(Instant::now());
                let mut stopped = stopped.lock();
                while !*stopped && !changed.wait_until(&mut stopped, next).timed_out() {}
            }
            log_left_out(&log_limiter, true);
        };
        let thread = std::thread::Builder::new().name("sampler".to_owned()).spawn(run)?;
        Ok(Sampler { stop, thread: Some(thread), _verdict_writer: verdict_writer })
    }
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
