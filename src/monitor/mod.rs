//! What an administrator sees of a server: counted, compared, judged and put into words.
//!
//! Each second a [`Snapshot`] is taken of all that is measured. The [`History`] keeps the last of them and a row of
//! each second; what happened between two is a [`Interval`], by which the verdict is judged. Statistics, metrics, page
//! and console are views of these. Knows no sockets and no threads; the server is known by what [`ServerControl`] says.
//!
//! Must not slow the server down: snapshots are made of counters that are there anyway.

mod admin_stats;
pub mod console;
pub mod format;
mod history;
mod interval;
mod minute_rates;
mod overview;
mod readiness;
#[cfg(test)]
mod sample_snapshots;
mod slow_calls;
mod snapshot;
mod stall_detector;
pub mod statistics;
mod threads;
mod trends;
pub mod verdict;

pub use admin_stats::{AdminRejection, AdminStats};
pub use history::{History, SecondSample};
pub use interval::{Interval, MethodInterval, PortInterval};
pub use overview::{MethodOverview, Overview, PortOverview, Throughput};
pub use snapshot::{
    AnswerCounts, ConnectionInfo, Cpu, HandlerState, MethodSnapshot, Permits, PortSnapshot, SessionCounts,
    SessionSnapshot, SlowCallInfo, Snapshot, Task, WorkerSnapshot, Workers,
};
pub use statistics::Statistic;
pub use verdict::{Cause, Verdict};

use crate::config::Config;
use crate::service::ClientId;
use crate::sync::{Arc, Mutex};
use readiness::Readiness;
use std::collections::BTreeMap;
use std::net::IpAddr;
use trends::Trends;
use verdict::Diagnoser;

/// Whose connections and sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectionFilter {
    /// Everybody's.
    All,
    /// Of this address.
    Peer(IpAddr),
    /// Of this client: an address, or an IPv6 prefix.
    Client(ClientId),
    /// This connection: its port and [`ConnectionInfo::id`].
    One(String, u64),
    /// This session: [`SessionSnapshot::id`].
    Session(u64),
}

impl ConnectionFilter {
    /// Does it mean all that this address has?
    pub fn means(&self, address: IpAddr) -> bool {
        match self {
            ConnectionFilter::All => true,
            ConnectionFilter::Peer(peer) => address.to_canonical() == peer.to_canonical(),
            ConnectionFilter::Client(client) => ClientId::of(address) == *client,
            ConnectionFilter::One(..) | ConnectionFilter::Session(_) => false,
        }
    }
}

/// What became of a changed setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// It is in force. If not, it will be after a restart.
    pub effective: bool,
    /// It was written into the file; `false` where the server has none, or may not write it.
    pub written: bool,
    /// Why the file does not have it, in words; `None` where it has, or there is none.
    pub not_kept: Option<String>,
}

/// A server, as an administrator can look at it and touch it. No method waits for a worker.
pub trait ServerControl: Send + Sync + std::fmt::Debug {
    /// All that is measured, now.
    fn snapshot(&self) -> Snapshot;

    /// Does it take no more calls, because it stops?
    fn is_draining(&self) -> bool;

    /// What each worker does, in the order of ports and workers.
    fn workers(&self) -> Vec<WorkerSnapshot>;

    /// The slowest calls of each method, the slowest first.
    fn slow_calls(&self) -> Vec<SlowCallInfo>;

    /// Every connection. Asks the listeners, which answer within milliseconds; those that do not are left out.
    fn connections(&self) -> Vec<ConnectionInfo>;

    /// Of them those with calls in progress: among tens of thousands it holds the listeners up for less.
    fn callers(&self) -> Vec<ConnectionInfo> {
        self.connections().into_iter().filter(|connection| connection.in_flight > 0).collect()
    }

    /// Sessions that clients opened, and those of connections where `Log_Sessions` or `Server_MaxSessions` wants to
    /// know of them.
    fn sessions(&self) -> Vec<SessionSnapshot>;

    /// Closes connections. Returns how many.
    fn close_connections(&self, which: &ConnectionFilter) -> usize;

    /// Closes sessions that clients opened, wherever they are carried. Returns how many.
    fn drop_sessions(&self, which: &ConnectionFilter) -> usize;

    /// Has a port take no more connections and calls, and gives its address back. What is in flight there finishes.
    ///
    /// # Errors
    /// In words: no such port, it is stopped already, the server stops.
    fn stop_port(&self, port: &str) -> Result<(), String>;

    /// Has a stopped port listen again.
    ///
    /// # Errors
    /// In words: no such port, it is not stopped, its address cannot be had.
    fn start_port(&self, port: &str) -> Result<(), String>;

    /// Changes a setting: in the file that the server was started with, and, where that can be, at once.
    ///
    /// # Errors
    /// In words: no such key, a key that no command changes, a wrong value, the file cannot be written, there is none
    /// and it takes a restart. Then nothing has changed. A read-only file keeps nothing from counting at once.
    fn set(&self, key: &str, value: &str) -> Result<Change, String>;

    /// The settings in force.
    fn config(&self) -> Config;

    /// Keys and values that [`ServerControl::set`] has written for the next start, as far as others are in force until
    /// then.
    fn at_restart(&self) -> BTreeMap<String, String>;

    /// Gives a service of the program an order, and waits for what it says.
    ///
    /// # Errors
    /// In words: no such service, or its own.
    fn tell(&self, service: &str, order: &str) -> Result<String, String>;

    /// Has the program stop, as by SIGTERM.
    ///
    /// # Errors
    /// In words: the program does not listen to that.
    fn quit(&self) -> Result<(), String>;

    /// What [`ServerControl::remember`] was given last, be it before a restart; `None` where nothing is kept.
    fn recall(&self) -> Option<String> {
        None
    }

    /// Keeps a short text over a restart, or forgets it, where there is a place for it. Does not wait for a disk.
    fn remember(&self, _note: Option<&str>) {}
}

/// What is known of a server.
#[derive(Debug)]
pub struct Insight {
    control: Arc<dyn ServerControl>,
    /// What the server calls itself.
    server: &'static str,
    history: Mutex<History>,
    trends: Mutex<Trends>,
    readiness: Mutex<Readiness>,
    visits: AdminStats,
    judge: Mutex<Diagnoser>,
    stalls: Mutex<stall_detector::StallDetector>,
    console: console::ConsoleState,
}

impl Insight {
    /// Of a server that calls itself so.
    pub fn new(control: Arc<dyn ServerControl>, server: &'static str) -> Insight {
        let judge = Mutex::new(Diagnoser::new(control.recall().as_deref()));
        let console = console::ConsoleState::new(control.config().show_performance.value);
        Insight {
            control,
            server,
            history: Mutex::default(),
            trends: Mutex::default(),
            readiness: Mutex::default(),
            visits: AdminStats::default(),
            judge,
            stalls: Mutex::default(),
            console,
        }
    }

    /// Looks at the server and judges what it sees; to be called about once a second. Tells the log when the verdict
    /// has changed for good. Asks the listeners who calls at most every five seconds, and only while calls wait.
    pub fn look(&self) {
        let snapshot = Arc::new(self.control.snapshot());
        self.tell_of_stalls(&snapshot);
        let now = snapshot.taken;
        let (minute, per_minute, snapshots) = {
            let mut history = self.history.lock();
            let minute = history.add(Arc::clone(&snapshot));
            (minute, history.answers_per_minute(), history.snapshots())
        };
        let workers = self.control.workers();
        self.trends.lock().look(&snapshot, &workers, per_minute);
        self.readiness.lock().look(&snapshot);
        if let Some(line) = minute.and_then(|answers| self.console.performance(answers, &snapshot)) {
            log::info!("{line}");
        }
        let asks = self.judge.lock().asks_for_connections(now);
        let connections = asks.then(|| self.control.callers());
        let config = self.control.config();
        let news = self.judge.lock().look(&snapshots, &config, connections);
        news.tell();
        if let Some(note) = news.note {
            self.control.remember(note.as_deref());
        }
    }

    /// What limits the server.
    pub fn verdict(&self) -> Verdict {
        self.judge.lock().verdict().clone()
    }

    /// The server.
    pub fn control(&self) -> &dyn ServerControl {
        &*self.control
    }

    /// What a line of the console says. May block for a while, for as long as the command it gives.
    pub fn command(&self, line: &str) -> console::ConsoleReply {
        self.command_of(line, console::CommandSource { name: "program", may_change: true })
    }

    /// The same of a line that somebody gives who may not be allowed everything. The log tells who changes what.
    pub fn command_of(&self, line: &str, giver: console::CommandSource<'_>) -> console::ConsoleReply {
        console::command(self, line, giver)
    }

    /// The server at a glance; `None` before the first look.
    pub fn overview(&self) -> Option<Overview> {
        let (verdict, workers) = (self.verdict(), self.control.workers());
        let overview = Overview::of(self.server, &self.history.lock(), verdict, &workers);
        overview.map(|overview| Overview { not_ready: self.ready().err(), ..overview })
    }

    /// Every statistic, as of now.
    pub fn statistics(&self) -> Vec<Statistic> {
        let (snapshot, figures) = (self.control.snapshot(), self.trends.lock().figures());
        statistics::list(self.server, &snapshot, figures, self.ready().is_ok(), &self.visits)
    }

    /// Should the server be sent more work? Not before the first look, while it stops, or when a port has been full for
    /// `Server_Busy_Seconds`.
    ///
    /// # Errors
    /// Why not, in words.
    pub fn ready(&self) -> Result<(), String> {
        // A stop may be over before the next look.
        if self.control.is_draining() {
            return Err("draining: the server stops and takes no more calls".to_owned());
        }
        self.readiness.lock().says(self.control.config().busy_limit.value)
    }

    /// What the admin server counts.
    pub fn visits(&self) -> &AdminStats {
        &self.visits
    }
}
