//! What an administrator sees of a server: counted, compared, judged and put into words.
//!
//! Each second a [`Picture`] is taken of all that is measured. The [`History`] keeps the last of them and a row of each
//! second; what happened between two is a [`Period`], by which the verdict is judged. Statistics, metrics, page
//! and console are views of these. Knows no sockets and no threads; the server is known by what [`House`] says.
//!
//! Must not slow the server down: pictures are made of counters that are there anyway.

pub mod console;
mod history;
mod overview;
mod period;
mod picture;
mod slow;
mod stall;
mod table;
mod threads;
mod verdict;

pub use history::{History, Row};
pub use overview::{MethodOverview, Overview, Pace, PortOverview};
pub use period::{MethodPeriod, Period, PortPeriod};
pub use picture::{
    Answers, Cpu, Guest, MethodPicture, Permits, Picture, PortPicture, SessionCounts, SessionPicture,
    SlowCall, Task, TaskState, WorkerPicture, Workers,
};
pub use verdict::{Cause, Verdict};

use crate::config::Config;
use crate::sync::{Arc, Mutex};
use std::net::IpAddr;

/// Whose connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whose {
    /// Everybody's.
    All,
    /// Of this address.
    Peer(IpAddr),
    /// This one: its port and [`Guest::id`].
    One(String, u64),
}

/// What became of a changed setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// It is in force. If not, it will be after a restart.
    pub in_force: bool,
    /// It was written into the file; `false` where the server has none.
    pub written: bool,
}

/// A server, as an administrator can look at it and touch it. No method waits for a worker.
pub trait House: Send + Sync + std::fmt::Debug {
    /// All that is measured, now.
    fn picture(&self) -> Picture;

    /// What each worker does, in the order of ports and workers.
    fn workers(&self) -> Vec<WorkerPicture>;

    /// The slowest calls of each method, the slowest first.
    fn slow_calls(&self) -> Vec<SlowCall>;

    /// Every connection. Asks the listeners, which answer within milliseconds; those that do not are left out.
    fn guests(&self) -> Vec<Guest>;

    /// Sessions that clients opened, and those of connections where `Log_Sessions` or `Server_MaxSessions` wants to
    /// know of them.
    fn sessions(&self) -> Vec<SessionPicture>;

    /// Closes connections. Returns how many.
    fn drop_guests(&self, which: &Whose) -> usize;

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
    /// In words: no such key, a wrong value, the file cannot be written. Then nothing has changed.
    fn set(&self, key: &str, value: &str) -> Result<Change, String>;

    /// The settings in force.
    fn config(&self) -> Config;

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
}

/// What is known of a server.
#[derive(Debug)]
pub struct Insight {
    house: Arc<dyn House>,
    /// What the server calls itself.
    server: &'static str,
    history: Mutex<History>,
    stalls: Mutex<stall::Stalls>,
}

impl Insight {
    /// Of a server that calls itself so.
    pub fn new(house: Arc<dyn House>, server: &'static str) -> Insight {
        Insight { house, server, history: Mutex::default(), stalls: Mutex::default() }
    }

    /// Looks at the server; to be called about once a second.
    pub fn look(&self) {
        let picture = Arc::new(self.house.picture());
        self.tell_of_stalls(&picture);
        self.history.lock().add(picture);
    }

    /// The server.
    pub fn house(&self) -> &dyn House {
        &*self.house
    }

    /// What a line of the console says. May block for a while, for as long as the command it gives.
    pub fn command(&self, line: &str) -> console::Reply {
        console::command(self, line)
    }

    /// The server at a glance; `None` before the first look.
    pub fn overview(&self) -> Option<Overview> {
        Overview::of(self.server, &self.history.lock(), Verdict::default())
    }
}
