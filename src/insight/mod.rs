//! What an administrator sees of a server: counted, compared, judged and put into words.
//!
//! Each second a [`Picture`] is taken of all that is measured. The [`History`] keeps the last of them and a row of each
//! second; what happened between two is a [`Period`], by which the verdict is judged. Statistics, metrics, page
//! and console are views of these. Knows no sockets and no threads; the server is known by what [`House`] says.
//!
//! Must not slow the server down: pictures are made of counters that are there anyway.

pub mod console;
mod history;
mod minutes;
mod overview;
mod period;
mod picture;
mod readiness;
mod slow;
mod stall;
#[cfg(test)]
mod stand_in;
pub mod statistics;
pub mod text;
mod threads;
mod trends;
pub mod verdict;
mod visits;

pub use history::{History, Row};
pub use overview::{MethodOverview, Overview, Pace, PortOverview};
pub use period::{MethodPeriod, Period, PortPeriod};
pub use picture::{
    Answers, Cpu, Guest, MethodPicture, Permits, Picture, PortPicture, SessionCounts, SessionPicture,
    SlowCall, Task, TaskState, WorkerPicture, Workers,
};
pub use statistics::Statistic;
pub use verdict::{Cause, Verdict};
pub use visits::{Refusal, Visits};

use crate::config::Config;
use crate::service::ClientId;
use crate::sync::{Arc, Mutex};
use readiness::Readiness;
use std::collections::BTreeMap;
use std::net::IpAddr;
use trends::Trends;
use verdict::Judge;

/// Whose connections and sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whose {
    /// Everybody's.
    All,
    /// Of this address.
    Peer(IpAddr),
    /// Of this client: an address, or an IPv6 prefix.
    Client(ClientId),
    /// This connection: its port and [`Guest::id`].
    One(String, u64),
    /// This session: [`SessionPicture::id`].
    Session(u64),
}

impl Whose {
    /// Does it mean all that this address has?
    pub fn means(&self, address: IpAddr) -> bool {
        match self {
            Whose::All => true,
            Whose::Peer(peer) => address.to_canonical() == peer.to_canonical(),
            Whose::Client(client) => ClientId::of(address) == *client,
            Whose::One(..) | Whose::Session(_) => false,
        }
    }
}

/// What became of a changed setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// It is in force. If not, it will be after a restart.
    pub in_force: bool,
    /// It was written into the file; `false` where the server has none, or may not write it.
    pub written: bool,
    /// Why the file does not have it, in words; `None` where it has, or there is none.
    pub not_kept: Option<String>,
}

/// A server, as an administrator can look at it and touch it. No method waits for a worker.
pub trait House: Send + Sync + std::fmt::Debug {
    /// All that is measured, now.
    fn picture(&self) -> Picture;

    /// Does it take no more calls, because it stops?
    fn is_draining(&self) -> bool;

    /// What each worker does, in the order of ports and workers.
    fn workers(&self) -> Vec<WorkerPicture>;

    /// The slowest calls of each method, the slowest first.
    fn slow_calls(&self) -> Vec<SlowCall>;

    /// Every connection. Asks the listeners, which answer within milliseconds; those that do not are left out.
    fn guests(&self) -> Vec<Guest>;

    /// Of them those with calls in progress: among tens of thousands it holds the listeners up for less.
    fn callers(&self) -> Vec<Guest> {
        self.guests().into_iter().filter(|guest| guest.in_flight > 0).collect()
    }

    /// Sessions that clients opened, and those of connections where `Log_Sessions` or `Server_MaxSessions` wants to
    /// know of them.
    fn sessions(&self) -> Vec<SessionPicture>;

    /// Closes connections. Returns how many.
    fn drop_guests(&self, which: &Whose) -> usize;

    /// Closes sessions that clients opened, wherever they are carried. Returns how many.
    fn drop_sessions(&self, which: &Whose) -> usize;

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

    /// Keys and values that [`House::set`] has written for the next start, as far as others are in force until then.
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

    /// What [`House::remember`] was given last, be it before a restart; `None` where nothing is kept.
    fn recall(&self) -> Option<String> {
        None
    }

    /// Keeps a short text over a restart, or forgets it, where there is a place for it. Does not wait for a disk.
    fn remember(&self, _note: Option<&str>) {}
}

/// What is known of a server.
#[derive(Debug)]
pub struct Insight {
    house: Arc<dyn House>,
    /// What the server calls itself.
    server: &'static str,
    history: Mutex<History>,
    trends: Mutex<Trends>,
    readiness: Mutex<Readiness>,
    visits: Visits,
    judge: Mutex<Judge>,
    stalls: Mutex<stall::Stalls>,
    console: console::Memory,
}

impl Insight {
    /// Of a server that calls itself so.
    pub fn new(house: Arc<dyn House>, server: &'static str) -> Insight {
        let judge = Mutex::new(Judge::new(house.recall().as_deref()));
        let console = console::Memory::new(house.config().show_performance.value);
        Insight {
            house,
            server,
            history: Mutex::default(),
            trends: Mutex::default(),
            readiness: Mutex::default(),
            visits: Visits::default(),
            judge,
            stalls: Mutex::default(),
            console,
        }
    }

    /// Looks at the server and judges what it sees; to be called about once a second. Tells the log when the verdict
    /// has changed for good. Asks the listeners who calls at most every five seconds, and only while calls wait.
    pub fn look(&self) {
        let picture = Arc::new(self.house.picture());
        self.tell_of_stalls(&picture);
        let now = picture.taken;
        let (minute, per_minute, pictures) = {
            let mut history = self.history.lock();
            let minute = history.add(Arc::clone(&picture));
            (minute, history.answers_per_minute(), history.pictures())
        };
        let workers = self.house.workers();
        self.trends.lock().look(&picture, &workers, per_minute);
        self.readiness.lock().look(&picture);
        if let Some(line) = minute.and_then(|answers| self.console.performance(answers, &picture)) {
            log::info!("{line}");
        }
        let asks = self.judge.lock().asks_for_guests(now);
        let guests = asks.then(|| self.house.callers());
        let config = self.house.config();
        let news = self.judge.lock().look(&pictures, &config, guests);
        news.tell();
        if let Some(note) = news.note {
            self.house.remember(note.as_deref());
        }
    }

    /// What limits the server.
    pub fn verdict(&self) -> Verdict {
        self.judge.lock().verdict().clone()
    }

    /// The server.
    pub fn house(&self) -> &dyn House {
        &*self.house
    }

    /// What a line of the console says. May block for a while, for as long as the command it gives.
    pub fn command(&self, line: &str) -> console::Reply {
        self.command_of(line, console::Giver { name: "program", may_change: true })
    }

    /// The same of a line that somebody gives who may not be allowed everything. The log tells who changes what.
    pub fn command_of(&self, line: &str, giver: console::Giver<'_>) -> console::Reply {
        console::command(self, line, giver)
    }

    /// The server at a glance; `None` before the first look.
    pub fn overview(&self) -> Option<Overview> {
        let (verdict, workers) = (self.verdict(), self.house.workers());
        let overview = Overview::of(self.server, &self.history.lock(), verdict, &workers);
        overview.map(|overview| Overview { not_ready: self.ready().err(), ..overview })
    }

    /// Every statistic, as of now.
    pub fn statistics(&self) -> Vec<Statistic> {
        let (picture, figures) = (self.house.picture(), self.trends.lock().figures());
        statistics::list(self.server, &picture, figures, self.ready().is_ok(), &self.visits)
    }

    /// Should the server be sent more work? Not before the first look, while it stops, or when a port has been full for
    /// `Server_Busy_Seconds`.
    ///
    /// # Errors
    /// Why not, in words.
    pub fn ready(&self) -> Result<(), String> {
        // A stop may be over before the next look.
        if self.house.is_draining() {
            return Err("draining: the server stops and takes no more calls".to_owned());
        }
        self.readiness.lock().says(self.house.config().busy_limit.value)
    }

    /// What the admin server counts.
    pub fn visits(&self) -> &Visits {
        &self.visits
    }
}
