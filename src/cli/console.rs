//! `console`: administrator's commands to a running server, from a terminal, from options, or from standard input.
//!
//! On a terminal, lines are completed from the list of possible lines that the server returns. The server alone knows
//! what a line means, except for the words that leave the console and the one that stops the server. Invariant: no
//! command stops the server without a confirmation.

use super::admin_args::{AdminArgs, AdminTarget, report_no_response};
use super::escape::plain;
use super::identity::Identity;
use super::input::{seconds, without_byte_order_mark};
use super::output::{CommandResult, Exit, eprint_error, print};
use super::user_directory;
use crate::admin::AdminResponse;
use crate::monitor::console::stops_the_server;
use clap::Args;
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::DefaultHistory;
use rustyline::validate::Validator;
use rustyline::{CompletionType, Config, Context, Editor, Helper};
use std::io::{self, BufRead, IsTerminal};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Arguments of `console`.
#[derive(Debug, Args)]
pub(super) struct Console {
    #[command(flatten)]
    admin: AdminArgs,
    /// Carry out this command and exit; may be given several times. The first command that fails is the last.
    #[arg(long = "command", short, value_name = "LINE")]
    commands: Vec<String>,
    /// Time to wait for a response.
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    timeout: Duration,
}

impl Console {
    pub(super) fn run(self, identity: &Identity) -> CommandResult {
        if let Some(line) = self.commands.iter().find(|line| line.trim().contains(['\n', '\r'])) {
            return Err(Exit::Input.with_error(&format!(
                "{:?} is more than one line: use a separate -c for each command",
                line.trim()
            )));
        }
        let session = self.admin.connect(identity, self.timeout)?;
        Ok(if !self.commands.is_empty() {
            session.carry_out(self.commands.into_iter().map(Ok))
        } else if io::stdin().is_terminal() {
            converse(session)
        } else {
            let lines = io::stdin().lock().lines().enumerate();
            session.carry_out(
                lines.map(|(at, line)| if at == 0 { line.map(without_byte_order_mark) } else { line }),
            )
        })
    }
}

impl AdminTarget {
    /// Carries out one line after the other, until one fails or leaves the console.
    fn carry_out(&self, lines: impl Iterator<Item = io::Result<String>>) -> Exit {
        for line in lines {
            let exit = match line {
                Ok(line) if is_exit(&line) => return Exit::Success,
                Ok(line) => self.command(&line),
                Err(error) => {
                    Exit::Input.with_error(&format!("cannot read the commands from standard input: {error}"))
                }
            };
            if exit != Exit::Success {
                return exit;
            }
        }
        Exit::Success
    }

    /// Carries out a line and prints the response.
    pub(super) fn command(&self, line: &str) -> Exit {
        match self.client.command(line) {
            Ok(response) if response.is_ok() => print(&response.text),
            Ok(response) => report_refusal(&response),
            Err(error) => report_no_response(&error, &self.place),
        }
    }
}

/// Prints why the server refused a command; the exit code says which side was at fault.
fn report_refusal(response: &AdminResponse) -> Exit {
    eprint_error(response.text.trim_end());
    match response.status {
        401 => Exit::Input.with_error("--token-file names the file with the token that the server requires"),
        409 => Exit::ErrorResponse,
        400..=499 => Exit::Input,
        _ => Exit::ErrorResponse,
    }
}

/// Returns whether the line is a word of the console itself, which leaves it.
fn is_exit(line: &str) -> bool {
    ["exit", "bye"].iter().any(|word| line.trim().eq_ignore_ascii_case(word))
}

const HISTORY_LINES: usize = 1000;

/// Command that returns every possible line.
const WORDS: &str = "words";

/// Reads lines and carries them out until one leaves the console.
fn converse(session: AdminTarget) -> Exit {
    match session.client.command(WORDS) {
        Ok(response) if response.is_ok() => {}
        Ok(response) => return report_refusal(&response),
        Err(error) => return report_no_response(&error, &session.place),
    }
    let prompt = format!("{}> ", session.place);
    let mut editor = match editor(session) {
        Ok(editor) => editor,
        Err(error) => {
            return Exit::Environment.with_error(&format!("cannot read from the terminal: {error}"));
        }
    };
    let history = history_file();
    if let Some(file) = &history {
        // The file may not exist yet.
        editor.load_history(file).ok();
    }
    print("HELP lists the commands, EXIT leaves the console.\n");
    loop {
        match editor.readline(&prompt) {
            Ok(line) => {
                remember(&mut editor, history.as_deref(), &line);
                if is_exit(&line) || carry_out(&mut editor, &line) {
                    return Exit::Success;
                }
            }
            // Ctrl-C discards the line.
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => return Exit::Success,
            Err(error) => {
                return Exit::Environment.with_error(&format!("cannot read from the terminal: {error}"));
            }
        }
    }
}

/// Carries out a line. Returns whether it stopped the server.
fn carry_out(editor: &mut Editor<Words, DefaultHistory>, line: &str) -> bool {
    let stops = stops_the_server(line);
    if stops {
        let answer = editor.readline("Stop the server (not only leave the console)? (yes/no) ");
        let answer = answer.unwrap_or_default();
        if !["y", "yes"].iter().any(|yes| answer.trim().eq_ignore_ascii_case(yes)) {
            print("The server keeps running.\n");
            return false;
        }
    }
    let Some(Words(session)) = editor.helper() else { return false };
    let exit = if line.trim().is_empty() { Exit::Success } else { session.command(line) };
    stops && exit == Exit::Success
}

fn editor(session: AdminTarget) -> rustyline::Result<Editor<Words, DefaultHistory>> {
    let config = Config::builder()
        .completion_type(CompletionType::List)
        .max_history_size(HISTORY_LINES)?
        .history_ignore_space(true)
        .build();
    let mut editor = Editor::with_config(config)?;
    editor.set_helper(Some(Words(session)));
    Ok(editor)
}

/// Adds a line to the history; without a file, only for this session.
fn remember(editor: &mut Editor<Words, DefaultHistory>, file: Option<&Path>, line: &str) {
    let added = editor.add_history_entry(line).is_ok_and(|added| added);
    if let Some(file) = file.filter(|_| added) {
        // The library makes the file readable by its owner only.
        editor.append_history(file).ok();
    }
}

/// Path of the history, whose directory is created if necessary; `None` if there is no place for it.
fn history_file() -> Option<PathBuf> {
    let directory = user_directory::state()?;
    let file = user_directory::make(&directory).ok().map(|()| directory.join("history"))?;
    // The library would block on a pipe.
    let there = std::fs::metadata(&file);
    there.map_or(true, |there| there.is_file()).then_some(file)
}

/// Completes lines from the server's list of possible lines, fetched each time because it changes.
struct Words(AdminTarget);

impl Completer for Words {
    type Candidate = String;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        let lines = self.0.client.command(WORDS).ok().filter(|response| response.is_ok());
        // Choices are foreign text, too.
        Ok(completions(
            &line[..at],
            &lines.map(|response| plain(&response.text).into_owned()).unwrap_or_default(),
        ))
    }
}

impl Hinter for Words {
    type Hint = String;
}

impl Highlighter for Words {}
impl Validator for Words {}
impl Helper for Words {}

/// Returns the start of the last word of `line`, and its possible completions.
fn completions(line: &str, lines: &str) -> (usize, Vec<String>) {
    // A space may be several bytes long.
    let start = line.len() - line.rsplit(char::is_whitespace).next().unwrap_or_default().len();
    let before: Vec<_> = line[..start].split_whitespace().collect();
    let mut found: Vec<String> = Vec::new();
    for possible_line in lines.lines() {
        let mut words = possible_line.split(' ');
        if !before.iter().all(|start| words.next().is_some_and(|word| begins(word, start))) {
            continue;
        }
        let Some(word) = words.next().filter(|word| begins(word, &line[start..])) else { continue };
        // A value follows an equals sign without a space.
        let space = if word.ends_with('=') { "" } else { " " };
        found.push(format!("{word}{space}"));
    }
    found.sort();
    found.dedup();
    (start, found)
}

fn begins(word: &str, start: &str) -> bool {
    word.get(..start.len()).is_some_and(|head| head.eq_ignore_ascii_case(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_is_completed_by_those_before_it() {
        let lines = "show server\nshow port TCPIP\nshow port LAN2\nshow ports\nset configuration A=\nquit\n";
        let of = |line| completions(line, lines);
        assert_eq!(of("S"), (0, vec!["set ".to_owned(), "show ".to_owned()]));
        assert_eq!(of("sh po"), (3, vec!["port ".to_owned(), "ports ".to_owned()]));
        assert_eq!(of("sh port l"), (8, vec!["LAN2 ".to_owned()]));
        assert_eq!(of("set c "), (6, vec!["A=".to_owned()]));
        assert_eq!(of("quit "), (5, Vec::new()));
        assert_eq!(of("é"), (0, Vec::new()));
        assert_eq!(of("show\u{3000}port\u{a0}l"), (13, vec!["LAN2 ".to_owned()]));
    }
}
