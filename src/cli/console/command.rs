//! Arguments of `console`, and the choice of where the commands come from.

use super::session::ConsoleSession;
use super::terminal;
use crate::cli::admin_args::AdminArgs;
use crate::cli::exit::Exit;
use crate::cli::input::{seconds, without_byte_order_mark};
use crate::cli::output::eprint_error;
use clap::Args;
use std::io::{self, BufRead, IsTerminal};
use std::time::Duration;

/// Arguments of `console`.
#[derive(Debug, Args)]
pub(in crate::cli) struct Console {
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
    pub(in crate::cli) fn run(self) -> Exit {
        if let Some(line) = self.commands.iter().find(|line| line.trim().contains(['\n', '\r'])) {
            eprint_error(&format!(
                "{:?} is more than one line: use a separate -c for each command",
                line.trim()
            ));
            return Exit::Input;
        }
        let session = match self.admin.connect(self.timeout) {
            Ok(target) => ConsoleSession(target),
            Err(exit) => return exit,
        };
        if !self.commands.is_empty() {
            session.carry_out(self.commands.into_iter().map(Ok))
        } else if io::stdin().is_terminal() {
            terminal::converse(session)
        } else {
            let lines = io::stdin().lock().lines().enumerate();
            session.carry_out(
                lines.map(|(at, line)| if at == 0 { line.map(without_byte_order_mark) } else { line }),
            )
        }
    }
}
