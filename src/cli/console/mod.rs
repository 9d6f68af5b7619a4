//! `console`: an administrator's lines to a running server, and what it says; from a terminal, from options, or from
//! standard input.
//!
//! Knows who asks and how that ends; what a line means is known by the server alone, save for the words that leave the
//! console and the one that stops the server.

mod terminal;

use super::admin::{Admin, say_silence};
use super::{Exit, eprint_error, print, seconds, without_mark};
use crate::admin::client::{AdminClient, Answer};
use clap::Args;
use std::io::{self, BufRead, IsTerminal};
use std::time::Duration;

/// Arguments of `console`.
#[derive(Debug, Args)]
pub(super) struct Console {
    #[command(flatten)]
    admin: Admin,
    /// Carries out this command and ends; may be given several times. The first that is not carried out is the last.
    #[arg(long = "command", short, value_name = "LINE")]
    commands: Vec<String>,
    /// How long to wait for an answer.
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    timeout: Duration,
}

impl Console {
    pub(super) fn run(self) -> Exit {
        if let Some(line) = self.commands.iter().find(|line| line.trim().contains(['\n', '\r'])) {
            eprint_error(&format!(
                "{:?} is more than one line: give each command a -c of its own",
                line.trim()
            ));
            return Exit::Given;
        }
        let link = match self.admin.asker(self.timeout) {
            Ok((asker, address)) => ChainEntry { asker, address },
            Err(exit) => return exit,
        };
        if !self.commands.is_empty() {
            link.carry_out(self.commands.into_iter().map(Ok))
        } else if io::stdin().is_terminal() {
            terminal::converse(link)
        } else {
            let lines = io::stdin().lock().lines().enumerate();
            link.carry_out(lines.map(|(at, line)| if at == 0 { line.map(without_mark) } else { line }))
        }
    }
}

/// A server, and where it is.
#[derive(Debug)]
struct ChainEntry {
    asker: AdminClient,
    address: String,
}

impl ChainEntry {
    /// Carries out one line after the other, until one is not carried out or leaves the console.
    fn carry_out(&self, lines: impl Iterator<Item = io::Result<String>>) -> Exit {
        for line in lines {
            let exit = match line {
                Ok(line) if leaves(&line) => return Exit::Done,
                Ok(line) => self.command(&line),
                Err(error) => {
                    eprint_error(&format!("cannot read the commands from standard input: {error}"));
                    Exit::Given
                }
            };
            if exit != Exit::Done {
                return exit;
            }
        }
        Exit::Done
    }

    /// Carries out a line, and shows what the server says.
    fn command(&self, line: &str) -> Exit {
        match self.asker.command(line) {
            Ok(answer) if answer.is_ok() => print(&answer.text),
            Ok(answer) => say_refusal(&answer),
            Err(error) => say_silence(&error, &self.address),
        }
    }
}

/// Says why the server has not done it, and whose fault that was.
fn say_refusal(answer: &Answer) -> Exit {
    eprint_error(answer.text.trim_end());
    match answer.status {
        401 => {
            eprint_error("--token-file names the file with the token that it asks for");
            Exit::Given
        }
        409 => Exit::Answer,
        400..=499 => Exit::Given,
        _ => Exit::Answer,
    }
}

/// Words of the console itself.
fn leaves(line: &str) -> bool {
    ["exit", "bye"].iter().any(|word| line.trim().eq_ignore_ascii_case(word))
}
