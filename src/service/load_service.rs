//! The load service, only with `Load_Service=1`: methods whose cost the caller chooses, for benchmarks and for trying
//! settings before real users do.

use super::handler_error::HandlerError;
use super::method::Method;
use super::refusal::ApplicationError;
use super::services::ServicesBuilder;
use super::{Bytes, builtin_handlers};
use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// Returns its bytes.
pub const ECHO: Method<Bytes, Bytes> = Method::new("load.echo");

/// Uses the CPU for a number of microseconds, at most [`SPIN_US_MAX`], and returns how many it used.
pub const SPIN: Method<u64, u64> = Method::new("load.spin");

/// Sleeps for a number of milliseconds, at most [`SLEEP_MS_MAX`], and keeps its permit.
pub const SLEEP: Method<u64, ()> = Method::new("load.sleep");

/// As [`SLEEP`], but gives its permit back meanwhile.
pub const BLOCK: Method<u64, ()> = Method::new("load.block");

/// Limit on a spin, in microseconds: 10 s.
pub const SPIN_US_MAX: u64 = 10_000_000;

/// Limit on a sleep, in milliseconds: 10 minutes.
pub const SLEEP_MS_MAX: u64 = 600_000;

/// Code of the application error for a cost over its limit.
pub const TOO_MUCH: u32 = 1;

pub(crate) fn add(builder: &mut ServicesBuilder) {
    builder.add_raw(ECHO.name(), Box::new(builtin_handlers::echo));
    builder.add(SPIN, |_, us| spin(bounded(us, SPIN_US_MAX)?));
    builder.add(SLEEP, |_, ms| sleep(ms));
    builder.add(BLOCK, |transaction, ms| transaction.blocking(|| sleep(ms)));
}

fn sleep(ms: u64) -> Result<(), HandlerError> {
    std::thread::sleep(Duration::from_millis(bounded(ms, SLEEP_MS_MAX)?));
    Ok(())
}

fn bounded(value: u64, most: u64) -> Result<u64, ApplicationError> {
    if value <= most {
        Ok(value)
    } else {
        Err(ApplicationError::new(TOO_MUCH, format!("{value} is over {most}")))
    }
}

/// Measures the thread's own CPU time: on a busy machine a wall clock would count other threads' work.
fn spin(us: u64) -> Result<u64, HandlerError> {
    let start = cpu_ns();
    loop {
        let spent = cpu_ns() - start;
        if spent >= us * 1000 {
            return Ok(spent / 1000);
        }
        for _ in 0..64 {
            std::hint::spin_loop();
        }
    }
}

fn cpu_ns() -> u64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    // A CPU clock starts at zero with its thread, so neither field is negative.
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
