//! Executes a line of the console.

use super::commands;
use super::grammar::{self, CommandError};
use crate::monitor::format::{plain, plain_lines};
use crate::monitor::server_monitor::ServerMonitor;

/// Reply to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsoleReply {
    /// Outcome of the command.
    pub outcome: CommandOutcome,
    /// Lines, each ended.
    pub text: String,
}

/// Outcome of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CommandOutcome {
    /// It was carried out.
    Done,
    /// It is not a command, or names something that does not exist: nothing was done.
    NotUnderstood,
    /// The server refused it, or failed.
    Refused,
    /// It changes something, and its source may only look.
    Forbidden,
}

/// Source of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommandSource<'a> {
    /// Name for the log.
    pub name: &'a str,
    /// Whether commands that change something are allowed.
    pub may_change: bool,
}

/// Reply to a command that is forbidden.
const FORBIDDEN: &str = "This changes something, and over Admin_Address without Admin_Token_File one may only look: \
                         give it as the server's own user or as root on its machine, over its Admin_Socket, or set \
                         Admin_Token_File and give the token.\n";

impl ServerMonitor {
    /// Executes a line of the console as the program itself. Blocks as long as the command takes.
    pub fn command(&self, line: &str) -> ConsoleReply {
        self.command_from(line, CommandSource { name: "program", may_change: true })
    }

    /// Executes a line of the console, and logs it if it changes something. An empty line has an empty reply. Blocks as
    /// long as the command takes.
    pub fn command_from(&self, line: &str, source: CommandSource<'_>) -> ConsoleReply {
        let (outcome, text) = match execute(self, line, source) {
            Ok(text) => (CommandOutcome::Done, text),
            Err((CommandError::Syntax(error), syntax)) => {
                (CommandOutcome::NotUnderstood, error.text(syntax.as_deref()))
            }
            Err((CommandError::NotFound(text), _)) => (CommandOutcome::NotUnderstood, plain_lines(&text)),
            Err((CommandError::Refused(error), _)) => {
                (CommandOutcome::Refused, plain_lines(&error.to_string()))
            }
            Err((CommandError::Forbidden, _)) => (CommandOutcome::Forbidden, FORBIDDEN.to_owned()),
        };
        ConsoleReply { outcome, text }
    }
}

/// Executes a line. An error comes with the syntax of the command, where that is known.
fn execute(
    monitor: &ServerMonitor,
    line: &str,
    source: CommandSource<'_>,
) -> Result<String, (CommandError, Option<String>)> {
    if line.trim().contains(['\n', '\r']) {
        return Err((CommandError::NotFound("A command is one line".to_owned()), None));
    }
    let words = grammar::words(line).map_err(|error| (error.into(), None))?;
    if words.is_empty() {
        return Ok(String::new());
    }
    let (command, arguments) = commands::find(&words).map_err(|error| (error.into(), None))?;
    command.check(arguments).map_err(|error| (error.into(), Some(command.syntax())))?;
    if command.changes(arguments) {
        if !source.may_change {
            return Err((CommandError::Forbidden, None));
        }
        log::info!("Console command given: by={} command={}", source.name, plain(line.trim()));
    }
    (command.run)(monitor, arguments).map_err(|error| (error, Some(command.syntax())))
}
