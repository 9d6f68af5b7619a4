//! The console: lines in, text out, in Domino's manner.
//!
//! `table` has every command once, and parsing, help, completion and docs/COMMANDS.md are made from it; `grammar` says
//! what a line means. The others write what a command says, from snapshots. Knows no terminal and no HTTP.
//!
//! Invariants: no line panics, and foreign text comes out without control characters.

mod act;
mod grammar;
mod layout;
mod lists;
mod ports;
mod server;
mod settings;
mod table;
#[cfg(test)]
mod tests;
mod transactions;

pub use table::{commands, stops_the_server};

use super::{ServerMonitor, Snapshot};
use crate::sync::{Arc, AtomicBool, Mutex, Ordering};
use grammar::Wrong;

/// What a command says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsoleReply {
    /// What became of it.
    pub outcome: CommandOutcome,
    /// Lines, each ended.
    pub text: String,
}

/// What became of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandOutcome {
    /// It was carried out.
    Done,
    /// It is none, or not of what there is: nothing was done.
    NotUnderstood,
    /// The server could not do it.
    Refused,
    /// It changes something, and whoever gave it may only look.
    Forbidden,
}

/// Who gives a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommandSource<'a> {
    /// For the log.
    pub name: &'a str,
    /// Who may not only looks.
    pub may_change: bool,
}

/// Why a command was not carried out.
#[derive(Debug)]
enum Failure {
    Wrong(Wrong),
    /// There is no such thing.
    NoSuch(String),
    /// What the server says.
    Refused(String),
    /// Whoever gave it may only look.
    Forbidden,
}

impl From<Wrong> for Failure {
    fn from(wrong: Wrong) -> Failure {
        Failure::Wrong(wrong)
    }
}

/// What the console keeps from one command to the next.
#[derive(Debug)]
pub(super) struct ConsoleState {
    performance: AtomicBool,
    /// Taken when show transactions was last reset.
    reset: Mutex<Option<Arc<Snapshot>>>,
}

impl ConsoleState {
    pub(super) fn new(performance: bool) -> ConsoleState {
        ConsoleState { performance: AtomicBool::new(performance), reset: Mutex::default() }
    }

    /// What the log is told of a minute in which so much was answered, if it is told.
    pub(super) fn performance(&self, answers: u64, snapshot: &Snapshot) -> Option<String> {
        // Relaxed: nothing hangs on it but a line of the log.
        let shown = self.performance.load(Ordering::Relaxed);
        shown.then(|| format!("{answers} Transactions/Minute, {} Sessions", snapshot.sessions.open))
    }
}

/// What is said to whoever may only look.
const FORBIDDEN: &str = "This changes something, and over Admin_Address without Admin_Token_File one may only look: \
                         give it as the server's own user or as root on its machine, over its Admin_Socket, or set \
                         Admin_Token_File and give the token.\n";

/// Carries out a line, and logs it if it changes something. One without words says nothing.
pub(super) fn command(monitor: &ServerMonitor, line: &str, giver: CommandSource<'_>) -> ConsoleReply {
    let (outcome, text) = match carry_out(monitor, line, giver) {
        Ok(text) => (CommandOutcome::Done, text),
        Err((Failure::Wrong(wrong), syntax)) => {
            (CommandOutcome::NotUnderstood, wrong.text(syntax.as_deref()))
        }
        Err((Failure::NoSuch(text), _)) => (CommandOutcome::NotUnderstood, layout::plain_lines(&text)),
        Err((Failure::Refused(text), _)) => (CommandOutcome::Refused, layout::plain_lines(&text)),
        Err((Failure::Forbidden, _)) => (CommandOutcome::Forbidden, FORBIDDEN.to_owned()),
    };
    ConsoleReply { outcome, text }
}

fn carry_out(
    monitor: &ServerMonitor,
    line: &str,
    giver: CommandSource<'_>,
) -> Result<String, (Failure, Option<String>)> {
    if line.trim().contains(['\n', '\r']) {
        return Err((Failure::NoSuch("A command is one line".to_owned()), None));
    }
    let words = grammar::words(line).map_err(|wrong| (wrong.into(), None))?;
    if words.is_empty() {
        return Ok(String::new());
    }
    let (command, arguments) = table::find(&words).map_err(|wrong| (wrong.into(), None))?;
    command.check(arguments).map_err(|wrong| (wrong.into(), Some(command.syntax())))?;
    if command.changes(arguments) {
        if !giver.may_change {
            return Err((Failure::Forbidden, None));
        }
        log::info!("Console command given: by={} command={}", giver.name, layout::plain(line.trim()));
    }
    (command.run)(monitor, arguments).map_err(|failure| (failure, Some(command.syntax())))
}
