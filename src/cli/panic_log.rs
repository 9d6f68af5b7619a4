//! Panics reported through the log.

use crate::service::{ClientId, LogLimiter, cut_message};
use std::backtrace::{Backtrace, BacktraceStatus};
use std::net::Ipv4Addr;
use std::panic;
use std::thread;
use std::time::Instant;

/// Reports panics through the log, with the backtrace if `RUST_BACKTRACE` requests it: the default report goes to
/// standard error and would block there with it. Handlers panic as often as clients make them, so the lines are
/// limited, too, for all clients together: the client is not known here.
pub(super) fn install() {
    let (limiter, all) = (LogLimiter::default(), ClientId::of(Ipv4Addr::UNSPECIFIED.into()));
    panic::set_hook(Box::new(move |info| {
        let now = Instant::now();
        if let Some(left_out) = limiter.take_report(now, false) {
            log::error!("{} panics not logged here", left_out.lines);
        }
        if !limiter.allows(log::Level::Error, all, now) {
            return;
        }
        let payload = info.payload();
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let message = text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("no message");
        let message = cut_message(message);
        let place = info.location().map_or("an unknown place".to_owned(), ToString::to_string);
        let current = thread::current();
        let thread = current.name().unwrap_or("without a name");
        log::error!("thread {thread} panicked at {place}: {message}");
        let backtrace = Backtrace::capture();
        if backtrace.status() == BacktraceStatus::Captured {
            backtrace.to_string().lines().for_each(|line| log::error!("{line}"));
        }
    }));
}
