//! `serve`: from a settings file to a running server, and from a signal to its orderly shutdown.
//!
//! Order: settings, log, services, signals, ports; then one signal, the stop, the summary. Four signals do not end the
//! server: SIGQUIT logs the activity of every worker, SIGHUP reopens the log file, SIGUSR1 and SIGUSR2 are ignored.
//!
//! Invariant: everything that the shutdown needs (the signals, the thread that stops) exists before the first call is
//! served, so that a running server can always be stopped. Does not know sockets or pools.

use super::identity::Identity;
use super::logger::Logger;
use super::output::{CommandResult, Exit, eprint_error, suggest_template};
use crate::config::{Config, ConfigErrors, Limit, advise, plural, resource_check};
use crate::monitor::ServerMonitor;
use crate::server::{self, RunningServer, Server, StartError, Stopped, machine};
use crate::service::{ClientId, LogLimiter, cut_message};
use crate::sync::unordered::AtomicBool;
use crate::sync::{Arc, bounded};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::flag;
use signal_hook::iterator::{Handle, Signals};
use signal_hook::low_level::signal_name;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::error::Error;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};
use std::{io, panic, thread};
use thiserror::Error;

/// Time that the end of the process, and a signal, wait for the log to be written.
const FLUSH_MAX: Duration = Duration::from_secs(2);

/// A signal this soon after the first counts as the first: supervisors repeat it, and a terminal sends it to the whole
/// process group.
const REPEAT_MAX: Duration = Duration::from_secs(1);

/// Error that prevents a server from running or from stopping in order.
#[derive(Debug, Error)]
enum ServeError {
    #[error("cannot create the services: {0}")]
    Services(Box<dyn Error>),
    #[error("cannot start: {0}")]
    Start(#[from] StartError),
    #[error("cannot start the log: {0}")]
    Log(io::Error),
    #[error("cannot handle signals: {0}")]
    Signals(io::Error),
    #[error("cannot create a thread: {0}")]
    Thread(io::Error),
    #[error("the shutdown panicked; the log has the place")]
    Stop,
}

impl ServeError {
    /// Prints the error.
    fn report(&self) -> Exit {
        eprint_error(&self.to_string());
        match self {
            ServeError::Start(StartError::Config(_)) => Exit::Input,
            _ => Exit::Environment,
        }
    }
}

/// Serves with the settings of `file` until a signal.
pub(super) fn run<B: IntoServer>(
    identity: &Identity,
    file: &Path,
    build: impl FnOnce(Server) -> B,
) -> CommandResult {
    let config = server::load_for(file, identity.section.clone());
    let config = config.map_err(|errors| wrong_settings(&identity.typed, file, &errors))?;
    let logger = prepare_process(&config).map_err(|error| error.report())?;
    let built =
        build(identity.server(config.clone())).into_server().map_err(ServeError::Services).map(|server| {
            if logger.is_set_by_settings() { server.on_log_level(log::set_max_level) } else { server }
        });
    let exit = built.and_then(|server| serve(server, &config, &logger)).unwrap_or_else(|error| {
        if logger.is_to_file() {
            log::error!("{error}");
        }
        let exit = error.report();
        if matches!(error, ServeError::Start(StartError::Threads { .. })) {
            // Name the limit that was reached, as far as it is known.
            resource_check::advise(&config, &machine::read())
                .iter()
                .for_each(|warning| eprint_error(&warning.message));
        }
        exit
    });
    logger.flush(FLUSH_MAX);
    Ok(exit)
}

/// Ignores signals that would kill the process, starts the log, and reports panics through it.
fn prepare_process(config: &Config) -> Result<Logger, ServeError> {
    // From here on these signals do not kill the process; they take effect once the server runs.
    for signal in [SIGHUP, SIGUSR1, SIGUSR2] {
        flag::register(signal, Arc::new(AtomicBool::default())).map_err(ServeError::Signals)?;
    }
    let logger = Logger::start(config.log_level.value, config.log_file.value.as_deref());
    let logger = logger.map_err(ServeError::Log)?;
    log_panics();
    Ok(logger)
}

fn wrong_settings(program: &str, file: &Path, errors: &ConfigErrors) -> Exit {
    eprint_error(&errors.to_string());
    eprint_error(&format!("{}: server not started", plural(errors.iter().count(), "error")));
    suggest_template(program, file);
    Exit::Input
}

fn serve<State>(server: Server<State>, config: &Config, logger: &Logger) -> Result<Exit, ServeError> {
    let mut signals = handle_signals()?;
    let (sender, receiver) = bounded::<(RunningServer, Handle)>(1);
    let stop = move || {
        let (running, watch) = receiver.recv().ok()?;
        let stopped = running.stop();
        watch.close();
        Some(stopped)
    };
    // Ends at once if the server does not start, because the sender is dropped.
    let stopper = thread::Builder::new().name("stop".to_owned()).spawn(stop).map_err(ServeError::Thread)?;
    let quit = signals.handle();
    let running = server.on_quit(move || quit.close()).start()?;
    log_started(&running, config);
    let monitor = Arc::clone(running.monitor());
    let ends = |signal: &i32| ends(*signal, &monitor, logger);
    let signal = signals.forever().find(ends);
    // The console requests a stop only once: no signal repeats that.
    let first = signal.map(|_| Instant::now());
    let timeout = running.monitor().control().config().shutdown_timeout.value.as_secs();
    let in_flight = plural(running.in_flight(), "transaction");
    let origin = signal.map_or("console", name);
    log::info!("{origin}: stopping; {in_flight} in flight, {timeout} s to finish");
    if signal.is_none() {
        // Closed by the console: that is its request to stop.
        signals = handle_signals()?;
    }
    sender.send((running, signals.handle())).map_err(|_| ServeError::Stop)?;
    for signal in signals.forever().filter(ends) {
        if stopper.is_finished() {
            continue;
        }
        if first.is_some_and(|first| first.elapsed() < REPEAT_MAX) {
            log::info!("{} repeated within a second: counted as the first", name(signal));
        } else {
            log::error!("{} while stopping: exits at once, calls in flight are lost", name(signal));
            return Ok(Exit::Signal(signal));
        }
    }
    match stopper.join() {
        Ok(Some(stopped)) => {
            log_stopped(&stopped, timeout);
            Ok(Exit::Success)
        }
        _ => Err(ServeError::Stop),
    }
}

/// Handles the signals that end the program, and those that do not.
fn handle_signals() -> Result<Signals, ServeError> {
    Signals::new([SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2]).map_err(ServeError::Signals)
}

/// Returns whether the signal ends the program; carries out the others.
fn ends(signal: i32, monitor: &ServerMonitor, logger: &Logger) -> bool {
    match signal {
        // Logged as errors, so that they appear at every log level.
        SIGQUIT => monitor.threads().lines().for_each(|line| log::error!("{line}")),
        SIGHUP => log::info!("SIGHUP: {}", logger.reopen(FLUSH_MAX)),
        SIGUSR1 | SIGUSR2 => log::info!("{}: ignored", name(signal)),
        _ => return true,
    }
    false
}

/// Logs the addresses and sizes of the server.
fn log_started(running: &RunningServer, config: &Config) {
    let file = config.file.as_deref().unwrap_or(Path::new("the program"));
    log::info!("{} with the settings of {}", running.product(), file.display());
    for port in running.ports() {
        let workers = plural(port.workers(), "worker");
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

fn log_stopped(stopped: &Stopped, timeout: u64) {
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

/// Result of the closure given to [`main`](super::main): a [`Server`], or a `Result` of one.
pub trait IntoServer {
    /// State of its handlers.
    type State;

    /// Returns the server, or why there is none.
    ///
    /// # Errors
    /// The program's own.
    fn into_server(self) -> Result<Server<Self::State>, Box<dyn Error>>;
}

impl<State> IntoServer for Server<State> {
    type State = State;

    fn into_server(self) -> Result<Server<State>, Box<dyn Error>> {
        Ok(self)
    }
}

impl<State, E: Into<Box<dyn Error>>> IntoServer for Result<Server<State>, E> {
    type State = State;

    fn into_server(self) -> Result<Server<State>, Box<dyn Error>> {
        self.map_err(Into::into)
    }
}

/// Reports panics through the log, with the backtrace if `RUST_BACKTRACE` requests it: the default report goes to
/// standard error and would block there with it. Handlers panic as often as clients make them, so the lines are
/// limited, too, for all clients together: the client is not known here.
fn log_panics() {
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
