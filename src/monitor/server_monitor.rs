//! The observation of one server: samples it, keeps its history, and answers the questions of the console, the
//! admin server and the program around it.
//!
//! Invariant: no method holds two of its locks at a time.

use super::admin_stats::AdminStats;
use super::alarm::AlarmRule;
use super::availability::AvailabilityTracker;
use super::console::ConsoleState;
use super::control::ServerControl;
use super::diagnose::{Diagnoser, DiagnosisNews, Observations, Verdict};
use super::history::History;
use super::interval::Interval;
use super::looks::Looks;
use super::overview::Overview;
use super::readiness::Readiness;
use super::simulation::{Recorder, Workload};
use super::snapshot::{ConnectionInfo, PortSnapshot, Snapshot};
use super::stall_detector::{self, StallDetector};
use super::statistics::{self, Statistic};
use super::{slow_calls, threads};
use crate::config::Config;
use crate::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Processor time for the states of the threads that [`ServerMonitor::threads`] shows.
const SHOWN_BUDGET: Duration = Duration::from_millis(20);

/// Time of which a load is taken, and fewest calls that must have ended in it.
const RECENT: Duration = Duration::from_secs(10);
const CALLS_MIN: f64 = 200.0;

/// Handlers of a port of which some may wait for one another.
const SOME_RUNNING: u32 = 4;

/// Observation of a running server. Any thread may ask; only a command of the console may block for longer than a
/// lock.
#[derive(Debug)]
pub struct ServerMonitor {
    control: Arc<dyn ServerControl>,
    /// Program and version.
    server: Arc<str>,
    pub(super) history: Mutex<History>,
    pub(super) availability: Mutex<AvailabilityTracker>,
    readiness: Mutex<Readiness>,
    admin_stats: AdminStats,
    diagnoser: Mutex<Diagnoser>,
    stalls: Mutex<StallDetector>,
    looks: Mutex<Looks>,
    alarms: Mutex<AlarmRule>,
    recorder: Mutex<Recorder>,
    pub(super) console: ConsoleState,
}

impl ServerMonitor {
    /// Creates the monitor of a server of this name and version.
    pub fn new(control: Arc<dyn ServerControl>, server: impl Into<Arc<str>>) -> ServerMonitor {
        let diagnoser = Mutex::new(Diagnoser::new(control.saved_verdict().as_deref()));
        let console = ConsoleState::new(control.config().show_performance.value);
        ServerMonitor {
            control,
            server: server.into(),
            history: Mutex::default(),
            availability: Mutex::default(),
            readiness: Mutex::default(),
            admin_stats: AdminStats::default(),
            diagnoser,
            stalls: Mutex::default(),
            looks: Mutex::default(),
            alarms: Mutex::default(),
            recorder: Mutex::default(),
            console,
        }
    }

    /// Takes a snapshot and judges it; to be called about once a second. Logs the verdict when it has changed for good,
    /// and ports that stall; gives alarms. Asks the listeners for their connections at most every five seconds, and
    /// only while calls wait.
    pub fn sample(&self) {
        let snapshot = Arc::new(self.control.snapshot());
        self.log_stalls(&snapshot);
        let workers = self.control.workers();
        let (minute, per_minute, before, snapshots) = {
            let mut history = self.history.lock();
            let minute = history.add(Arc::clone(&snapshot));
            (minute, history.answers_per_minute(), history.minute_ago(), history.snapshots())
        };
        self.availability.lock().update((before.as_deref(), &snapshot), &workers, per_minute);
        self.readiness.lock().update(&snapshot);
        let mut looks = self.looks.lock().clone();
        let step = Interval::of(&snapshots[snapshots.len().saturating_sub(2)..]);
        if let Some(step) = step.filter(|_| snapshots.last().is_some_and(|last| Arc::ptr_eq(last, &snapshot)))
        {
            let other_limits = self.recorder.lock().add(&step, &|port, method| looks.of(port, method));
            if other_limits {
                looks.clear();
                self.looks.lock().clear();
            }
        }
        if let Some(line) = minute.and_then(|answers| self.console.performance(answers, &snapshot)) {
            log::info!("{line}");
        }
        let wants_connections = self.diagnoser.lock().wants_connections(snapshot.taken);
        let connections = wants_connections.then(|| self.control.callers());
        let config = self.control.config();
        let news = self.diagnose(&snapshots, &config, connections, &looks);
        news.log();
        if let Some(text) = news.to_save {
            self.control.save_verdict(text.as_deref());
        }
        if config.alarm_command.value.is_some() {
            let (verdict, after) = (self.verdict(), config.alarm_after.value);
            let alarm = self.alarms.lock().update(&self.server, &snapshot, &verdict, after);
            alarm.into_iter().for_each(|alarm| self.control.give_alarm(alarm));
        }
    }

    fn diagnose(
        &self,
        snapshots: &[Arc<Snapshot>],
        config: &Config,
        connections: Option<Vec<ConnectionInfo>>,
        looks: &Looks,
    ) -> DiagnosisNews {
        let recent = self.diagnoser.lock().recent();
        let workload = recent.and_then(|recent| self.recorder.lock().workload(recent));
        let observed = Observations { looks, workload: workload.as_ref() };
        self.diagnoser.lock().update(snapshots, config, connections, observed)
    }

    /// Returns whether calls waited at the last sample, or nine tenths of the workers of a port were busy: a moment to
    /// look at the workers more often.
    pub fn is_pressed(&self) -> bool {
        let last = self.history.lock().last().map(Arc::clone);
        let presses =
            |port: &PortSnapshot| port.waiting > 0 || port.workers.idle * 10 <= port.workers.total();
        last.is_some_and(|last| last.ports.iter().any(presses))
    }

    /// Returns whether so many handlers ran at the last sample that some may wait for one another.
    pub fn has_some_running(&self) -> bool {
        let last = self.history.lock().last().map(Arc::clone);
        let busy = |port: &PortSnapshot| port.workers.total() - port.workers.idle;
        last.is_some_and(|last| last.ports.iter().any(|port| busy(port) >= SOME_RUNNING))
    }

    /// Looks at the workers and their threads, for what the verdict and [`ServerMonitor::threads`] say of the last ten
    /// seconds. `budget` is that of [`ServerControl::look`].
    pub fn look(&self, now: Instant, budget: Duration) {
        let workers = self.control.look(budget);
        self.looks.lock().add(now, &workers);
    }

    fn log_stalls(&self, snapshot: &Snapshot) {
        let limit = self.control.config().stall_limit.value;
        let events = self.stalls.lock().update(snapshot, limit);
        stall_detector::log(&events, snapshot, || self.threads());
    }

    /// Returns what limits the server.
    pub fn verdict(&self) -> Verdict {
        self.diagnoser.lock().verdict().clone()
    }

    /// Returns the load of the last ten seconds, or of a minute where few calls ended in them; `None` while nothing is
    /// called.
    pub(super) fn workload(&self) -> Option<Workload> {
        let recorder = self.recorder.lock();
        let recent = recorder.workload(RECENT)?;
        let few = recent.measured_per_s() * RECENT.as_secs_f64() < CALLS_MIN;
        if few { recorder.workload(6 * RECENT) } else { Some(recent) }
    }

    /// Returns the server.
    pub fn control(&self) -> &dyn ServerControl {
        &*self.control
    }

    /// Returns the program and version of the server.
    pub(super) fn server(&self) -> &str {
        &self.server
    }

    /// Returns the server at a glance; `None` before the first sample.
    pub fn overview(&self) -> Option<Overview> {
        let (verdict, workers) = (self.verdict(), self.control.workers());
        let overview = Overview::of(&self.server, &self.history.lock(), verdict, &workers);
        overview.map(|overview| Overview { not_ready: self.ready().err(), ..overview })
    }

    /// Returns every statistic, as of now.
    pub fn statistics(&self) -> Vec<Statistic> {
        let (snapshot, availability) = (self.control.snapshot(), self.availability.lock().current());
        statistics::list(&self.server, &snapshot, availability, self.ready().is_ok(), &self.admin_stats)
    }

    /// Returns what every worker does, as text: the server in a line, then for each port how many workers do what,
    /// which methods they run and how they were seen in the last ten seconds, and a line for each that is not idle, the
    /// longest running first, with the state of its thread now.
    pub fn threads(&self) -> String {
        let (snapshot, workers) = (self.control.snapshot(), self.control.look(SHOWN_BUDGET));
        let mut looks = self.looks.lock().clone();
        looks.expire(snapshot.taken);
        threads::text(&snapshot, &workers, &looks)
    }

    /// Returns the slowest calls of the last hour as text, the slowest first, of each method whose name matches
    /// `pattern`, in which `*` stands for anything; empty is all.
    pub fn slow(&self, pattern: &str) -> String {
        slow_calls::text(self.control.slow_calls(), self.control.config().slow_calls.value, pattern)
    }

    /// Returns whether the server should be sent more work: not before the first sample, not while it shuts down, and
    /// not when a port has been full for `Server_Busy_Seconds`.
    ///
    /// # Errors
    /// The reason, as a text for people.
    pub fn ready(&self) -> Result<(), String> {
        // A shutdown may be over before the next sample.
        if self.control.is_draining() {
            return Err("draining: the server stops and takes no more calls".to_owned());
        }
        self.readiness.lock().check(self.control.config().busy_limit.value)
    }

    /// Returns the counters of the admin server.
    pub fn admin_stats(&self) -> &AdminStats {
        &self.admin_stats
    }
}
