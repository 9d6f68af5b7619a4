//! `serve`: from a settings file to a server that serves, and from a signal to its orderly end.
//!
//! Knows the order of things: settings, log, services, signals, ports; then one signal, the stop, the verdict. Four
//! signals end nothing: with SIGQUIT the log is told what every worker does, with SIGHUP the log file is opened anew,
//! and SIGUSR1 and SIGUSR2 have no meaning.
//! Knows nothing of sockets and pools.
//!
//! Invariant: what the end needs (the signals, the thread that stops) is there before the first call is served, so
//! that a server that serves can also be stopped.

use super::logger::Logger;
use super::{Exit, IntoServer, eprint_error, say_how_to_get};
use crate::config::{Config, ConfigErrors, Limit, advise, plural, resource_check};
use crate::monitor::ServerMonitor;
use crate::server::{RunningServer, SERVER_NAME, Server, StartError, Stopped, machine};
use crate::service::{ClientId, LogLimiter, cut_message};
use crate::sync::unordered::AtomicBool;
use crate::sync::{Arc, bounded};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::flag;
use signal_hook::iterator::{Handle, Signals};
use signal_hook::low_level::signal_name;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::error::Error;
use std::io;
use std::net::Ipv4Addr;
use std::panic;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};
use thiserror::Error;

/// How long the end of the process, and a signal, wait for the log to be written.
const FLUSH_MAX: Duration = Duration::from_secs(2);

/// A signal that comes so soon after the first counts as the first: supervisors repeat it, and a terminal sends it to
/// the whole group of processes.
const REPEAT_MAX: Duration = Duration::from_secs(1);

/// Why a server did not come to serve, or did not stop in order.
#[derive(Debug, Error)]
enum Failure {
    #[error("the services cannot be made: {0}")]
    Services(Box<dyn Error>),
    #[error("cannot start: {0}")]
    Start(#[from] StartError),
    #[error("cannot start the log: {0}")]
    Log(io::Error),
    #[error("cannot take signals: {0}")]
    Signals(io::Error),
    #[error("cannot make a thread: {0}")]
    Thread(io::Error),
    #[error("the stop itself failed; the log says where")]
    Stop,
}

impl Failure {
    fn exit(&self) -> Exit {
        match self {
            Failure::Start(StartError::Config(_)) => Exit::Given,
            _ => Exit::Surroundings,
        }
    }
}

/// Serves with the settings of `file` until a signal.
pub(super) fn run<B: IntoServer>(program: &str, file: &Path, build: impl FnOnce(Server) -> B) -> Exit {
    let server = match Server::from_ini(file) {
        Ok(server) => server,
        Err(errors) => return wrong_settings(program, file, &errors),
    };
    let config = server.config().clone();
    // From here on these do not kill; what they mean they do once the server serves.
    let quiet =
        [SIGHUP, SIGUSR1, SIGUSR2].map(|signal| flag::register(signal, Arc::new(AtomicBool::default())));
    if let Some(error) = quiet.into_iter().find_map(Result::err) {
        let failure = Failure::Signals(error);
        eprint_error(&failure.to_string());
        return failure.exit();
    }
    let logger = match Logger::start(config.log_level.value, config.log_file.value.as_deref()) {
        Ok(logger) => logger,
        Err(error) => {
            let failure = Failure::Log(error);
            eprint_error(&failure.to_string());
            return failure.exit();
        }
    };
    log_panics();
    let built = build(server).into_server().map_err(Failure::Services);
    let built = built
        .map(|server| if logger.heeds_settings() { server.on_log_level(log::set_max_level) } else { server });
    let exit = built.and_then(|server| serve(server, &config, &logger)).unwrap_or_else(|failure| {
        if logger.is_to_file() {
            log::error!("{failure}");
        }
        eprint_error(&failure.to_string());
        if matches!(failure, Failure::Start(StartError::Threads { .. })) {
            // Which limit it was, as far as that can be known.
            resource_check::advise(&config, &machine::read())
                .iter()
                .for_each(|warning| eprint_error(&warning.message));
        }
        failure.exit()
    });
    logger.flush(FLUSH_MAX);
    exit
}

fn wrong_settings(program: &str, file: &Path, errors: &ConfigErrors) -> Exit {
    eprint_error(&errors.to_string());
    let count = u32::try_from(errors.iter().count()).unwrap_or(u32::MAX);
    eprint_error(&format!("{}: nothing was started", plural(count, "error")));
    say_how_to_get(program, file);
    Exit::Given
}

fn serve(server: Server, config: &Config, logger: &Logger) -> Result<Exit, Failure> {
    let mut signals = take_signals()?;
    let (hand_over, handed) = bounded::<(RunningServer, Handle)>(1);
    let stop = move || {
        let (running, watch) = handed.recv().ok()?;
        let stopped = running.stop();
        watch.close();
        Some(stopped)
    };
    // Ends at once if the server does not start: then nothing is ever handed over.
    let stopper = thread::Builder::new().name("stop".to_owned()).spawn(stop).map_err(Failure::Thread)?;
    let quit = signals.handle();
    let running = server.on_quit(move || quit.close()).start()?;
    announce(&running, config);
    let monitor = Arc::clone(running.monitor());
    let ends = |signal: &i32| ends(*signal, &monitor, logger);
    let signal = signals.forever().find(ends);
    // The console asks once: no signal is a repetition of that.
    let first = signal.map(|_| Instant::now());
    let timeout = running.monitor().control().config().shutdown_timeout.value.as_secs();
    let in_flight = plural(u32::try_from(running.in_flight()).unwrap_or(u32::MAX), "transaction");
    let asked_by = signal.map_or("the console asked", name);
    log::info!("{asked_by}: stopping; {in_flight} in flight, {timeout} s to finish");
    if signal.is_none() {
        // These are closed: that is how the console asks.
        signals = take_signals()?;
    }
    hand_over.send((running, signals.handle())).map_err(|_| Failure::Stop)?;
    for signal in signals.forever().filter(ends) {
        if stopper.is_finished() {
            continue;
        }
        if first.is_some_and(|first| first.elapsed() < REPEAT_MAX) {
            log::info!("{} repeated within a second: counted as the first", name(signal));
        } else {
            log::error!("{} while stopping: ends at once, what is in flight is lost", name(signal));
            return Ok(Exit::Signal(signal));
        }
    }
    match stopper.join() {
        Ok(Some(stopped)) => {
            say_stopped(&stopped, timeout);
            Ok(Exit::Done)
        }
        _ => Err(Failure::Stop),
    }
}

/// Those that end the program, and those that do not.
fn take_signals() -> Result<Signals, Failure> {
    Signals::new([SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2]).map_err(Failure::Signals)
}

/// Whether the signal ends the program; does what the others mean.
fn ends(signal: i32, monitor: &ServerMonitor, logger: &Logger) -> bool {
    match signal {
        // Whoever asks is to see it, whatever else the log is to show.
        SIGQUIT => monitor.threads().lines().for_each(|line| log::error!("{line}")),
        SIGHUP => log::info!("SIGHUP: {}", logger.reopen(FLUSH_MAX)),
        SIGUSR1 | SIGUSR2 => log::info!("{}: ignored", name(signal)),
        _ => return true,
    }
    false
}

/// Logs what serves and how it is sized.
fn announce(running: &RunningServer, config: &Config) {
    let file = config.file.as_deref().unwrap_or(Path::new("the program"));
    log::info!("{SERVER_NAME} with the settings of {}", file.display());
    for port in running.ports() {
        let workers = plural(u32::try_from(port.workers()).unwrap_or(u32::MAX), "worker");
        for address in port.addresses() {
            log::info!("Listen for connect requests on {} at {address}, {workers}", port.name());
        }
    }
    if let Some(address) = running.admin_address() {
        log::info!("Admin server at http://{address}/");
    }
    if let Some(path) = running.admin_socket() {
        log::info!("Admin socket at {}", path.display());
    }
    let source = &config.max_concurrent_trans.source;
    match config.max_concurrent_trans.value {
        Limit::AtMost(count) => {
            let count = plural(count.get(), "transaction");
            log::info!("Throttle: at most {count} at once over all ports ({source})");
        }
        Limit::Unlimited => {
            let workers = plural(config.total_workers(), "worker");
            log::info!("Throttle: none ({source}); {workers} over all ports");
        }
    }
    for note in &config.notes {
        log::info!("{note}");
    }
    for warning in advise(config, &machine::read()) {
        log::warn!("{}: {}", warning.code, warning.message);
    }
}

fn say_stopped(stopped: &Stopped, timeout: u64) {
    let Stopped { refused, unfinished, held_by } = stopped;
    match stopped.lost() {
        0 => log::info!("Stopped, 0 lost"),
        lost => log::warn!(
            "Stopped, {lost} lost after {timeout} s: {refused} refused in the queue, {unfinished} still running"
        ),
    }
    for unfinished in held_by {
        log::warn!("{unfinished}; it ends with the process");
    }
}

fn name(signal: i32) -> &'static str {
    signal_name(signal).unwrap_or("a signal")
}

/// Has panics reported through the log, with the backtrace where `RUST_BACKTRACE` asks for it: the default report goes
/// to standard error and would block there with it. Handlers panic as often as clients make them, so this is bounded
/// too, for all together: who it was is not known here.
fn log_panics() {
    let (bound, all) = (LogLimiter::default(), ClientId::of(Ipv4Addr::UNSPECIFIED.into()));
    panic::set_hook(Box::new(move |info| {
        let now = Instant::now();
        if let Some(left_out) = bound.take_report(now, false) {
            log::error!("{} panics left out here", left_out.lines);
        }
        if !bound.allows(log::Level::Error, all, now) {
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
