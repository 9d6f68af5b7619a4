//! Commands sent to one server, and their responses printed.

use crate::admin::AdminResponse;
use crate::cli::admin_args::{AdminTarget, report_no_response};
use crate::cli::exit::Exit;
use crate::cli::output::{eprint_error, print};
use std::io;

/// A console at one server.
pub(super) struct ConsoleSession(pub(super) AdminTarget);

impl ConsoleSession {
    /// Carries out one line after the other, until one fails or leaves the console.
    pub(super) fn carry_out(&self, lines: impl Iterator<Item = io::Result<String>>) -> Exit {
        for line in lines {
            let exit = match line {
                Ok(line) if is_exit(&line) => return Exit::Success,
                Ok(line) => self.command(&line),
                Err(error) => {
                    eprint_error(&format!("cannot read the commands from standard input: {error}"));
                    Exit::Input
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
        match self.0.client.command(line) {
            Ok(response) if response.is_ok() => print(&response.text),
            Ok(response) => report_refusal(&response),
            Err(error) => report_no_response(&error, &self.0.place),
        }
    }
}

/// Prints why the server refused a command; the exit code says which side was at fault.
pub(super) fn report_refusal(response: &AdminResponse) -> Exit {
    eprint_error(response.text.trim_end());
    match response.status {
        401 => {
            eprint_error("--token-file names the file with the token that the server requires");
            Exit::Input
        }
        409 => Exit::ErrorResponse,
        400..=499 => Exit::Input,
        _ => Exit::ErrorResponse,
    }
}

/// Returns whether the line is a word of the console itself, which leaves it.
pub(super) fn is_exit(line: &str) -> bool {
    ["exit", "bye"].iter().any(|word| line.trim().eq_ignore_ascii_case(word))
}
