//! `check`: what a settings file means, or all that is wrong with it; and whether a server would start with it here.
//!
//! Knows where the file and the machine's limits are read, who tries the start and which exit code follows. What is
//! said is the report's.

use super::{Exit, print, say_how_to_get};
use crate::config::report::{Report, StartCheck};
use crate::config::{Config, Warning, document};
use crate::server::{self, Server, machine};
use std::path::Path;

/// Prints the report on `file`.
pub(super) fn run(program: &str, file: &Path, json: bool) -> Exit {
    let machine = machine::read();
    let read = server::load(file);
    let trial = read.as_ref().map(try_start).unwrap_or_default();
    let report = Report::with_start_check(&read, &machine, &trial);
    if read.is_err() {
        say_how_to_get(program, file);
    }
    let printed = if json { print(&report.json()) } else { print(report.text()) };
    match (read.is_ok(), report.would_start()) {
        (true, true) => printed,
        // As `serve` ends in this case.
        (true, false) => Exit::Surroundings,
        (false, _) => Exit::Given,
    }
}

fn try_start(config: &Config) -> StartCheck {
    let mut trial = StartCheck::default();
    trial.warnings.extend(server::warn_about_files(config));
    match Server::new(config.clone()).dry_run() {
        Ok(rehearsed) => {
            for taken in rehearsed.taken {
                let message = format!("{taken} is taken now; a server starts once that is over");
                trial.warnings.push(Warning { code: "address_taken", message });
            }
            trial.warnings.extend(rehearsed.warnings);
            trial.sockets = rehearsed.sockets;
        }
        Err(error) => trial.error = Some(error.to_string()),
    }
    trial
}

/// Prints a settings file to begin from.
pub(super) fn template() -> Exit {
    print(&document::server_ini())
}
