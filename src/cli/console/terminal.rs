//! A conversation on a terminal: line editing, completion, history.
//!
//! Knows how lines are completed from those that the server says there can be. Invariant: nothing stops the server
//! unless the one who types has been asked.

use super::{ChainEntry, leaves, say_refusal};
use crate::cli::admin::say_silence;
use crate::cli::escape::plain;
use crate::cli::{Exit, eprint_error, print};
use crate::monitor::console::stops_the_server;
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::DefaultHistory;
use rustyline::validate::Validator;
use rustyline::{CompletionType, Config, Context, Editor, Helper};
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Lines of history kept.
const HISTORY_LINES: usize = 1000;

/// What asks the server for every line that there can be.
const WORDS: &str = "words";

/// Reads lines and carries them out until whoever types leaves.
pub(super) fn converse(link: ChainEntry) -> Exit {
    match link.asker.command(WORDS) {
        Ok(answer) if answer.is_ok() => {}
        Ok(answer) => return say_refusal(&answer),
        Err(error) => return say_silence(&error, &link.address),
    }
    let prompt = format!("{}> ", link.address);
    let mut editor = match editor(link) {
        Ok(editor) => editor,
        Err(error) => {
            eprint_error(&format!("cannot read from the terminal: {error}"));
            return Exit::Surroundings;
        }
    };
    let history = history_file();
    if let Some(file) = &history {
        // Without a history yet there is none to load.
        editor.load_history(file).ok();
    }
    print("HELP lists the commands, EXIT leaves the console.\n");
    loop {
        match editor.readline(&prompt) {
            Ok(line) => {
                remember(&mut editor, history.as_deref(), &line);
                if leaves(&line) || carry_out(&mut editor, &line) {
                    return Exit::Done;
                }
            }
            // A line given up.
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => return Exit::Done,
            Err(error) => {
                eprint_error(&format!("cannot read from the terminal: {error}"));
                return Exit::Surroundings;
            }
        }
    }
}

/// Carries out a line. Returns whether the server is gone by it.
fn carry_out(editor: &mut Editor<Words, DefaultHistory>, line: &str) -> bool {
    let stops = stops_the_server(line);
    if stops {
        let answer = editor.readline("Stop the server, and not only leave the console? (yes/no) ");
        let answer = answer.unwrap_or_default();
        if !["y", "yes"].iter().any(|yes| answer.trim().eq_ignore_ascii_case(yes)) {
            print("The server goes on.\n");
            return false;
        }
    }
    let Some(Words(link)) = editor.helper() else { return false };
    let exit = if line.trim().is_empty() { Exit::Done } else { link.command(line) };
    stops && exit == Exit::Done
}

fn editor(link: ChainEntry) -> rustyline::Result<Editor<Words, DefaultHistory>> {
    let config = Config::builder()
        .completion_type(CompletionType::List)
        .max_history_size(HISTORY_LINES)?
        .history_ignore_space(true)
        .build();
    let mut editor = Editor::with_config(config)?;
    editor.set_helper(Some(Words(link)));
    Ok(editor)
}

/// Keeps a line, also for the next time; without a place for it, for this time.
fn remember(editor: &mut Editor<Words, DefaultHistory>, file: Option<&Path>, line: &str) {
    let kept = editor.add_history_entry(line).is_ok_and(|added| added);
    if let Some(file) = file.filter(|_| kept) {
        // The library has the file readable by its owner alone.
        editor.append_history(file).ok();
    }
}

/// Where the history is, its directory made if need be; `None` if there is no such place.
fn history_file() -> Option<PathBuf> {
    let of = |variable| std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = of("XDG_STATE_HOME").or_else(|| Some(of("HOME")?.join(".local/state")))?;
    let directory = state.join("boneyard");
    let made: io::Result<()> = DirBuilder::new().recursive(true).mode(0o700).create(&directory);
    let file = made.ok().map(|()| directory.join("history"))?;
    // The library would wait at a pipe.
    let there = std::fs::metadata(&file);
    there.map_or(true, |there| there.is_file()).then_some(file)
}

/// Completes lines by what the server says there can be; asked anew each time, for that changes.
struct Words(ChainEntry);

impl Completer for Words {
    type Candidate = String;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        let lines = self.0.asker.command(WORDS).ok().filter(|answer| answer.is_ok());
        // What is shown as a choice is foreign text, too.
        Ok(completions(
            &line[..at],
            &lines.map(|answer| plain(&answer.text).into_owned()).unwrap_or_default(),
        ))
    }
}

impl Hinter for Words {
    type Hint = String;
}

impl Highlighter for Words {}
impl Validator for Words {}
impl Helper for Words {}

/// Where the last word of `line` begins, and what it can be.
fn completions(line: &str, lines: &str) -> (usize, Vec<String>) {
    // A space may be several bytes long.
    let start = line.len() - line.rsplit(char::is_whitespace).next().unwrap_or_default().len();
    let before: Vec<_> = line[..start].split_whitespace().collect();
    let mut found: Vec<String> = Vec::new();
    for line_there_can_be in lines.lines() {
        let mut words = line_there_can_be.split(' ');
        if !before.iter().all(|start| words.next().is_some_and(|word| begins(word, start))) {
            continue;
        }
        let Some(word) = words.next().filter(|word| begins(word, &line[start..])) else { continue };
        // Values follow an equals sign without a space.
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
