//! `check`: the report on a settings file, and whether a server would start with it on this machine.

use super::output::{Exit, print, suggest_template};
use crate::config::report::{CheckReport, StartCheck};
use crate::config::{Config, Warning, document};
use crate::server::{self, Server, machine};
use std::path::Path;

/// Prints the report on `file`.
pub(super) fn run(program: &str, file: &Path, json: bool) -> Exit {
    let read = server::load(file);
    let check = read.as_ref().map(try_start).unwrap_or_default();
    let report = CheckReport::with_start_check(&read, &machine::read(), &check);
    if read.is_err() {
        suggest_template(program, file);
    }
    let printed = if json { print(&report.json()) } else { print(report.text()) };
    match (read.is_ok(), report.would_start()) {
        (true, true) => printed,
        // As `serve` ends in this case.
        (true, false) => Exit::Environment,
        (false, _) => Exit::Input,
    }
}

fn try_start(config: &Config) -> StartCheck {
    let mut check = StartCheck::default();
    check.warnings.extend(server::warn_about_files(config));
    match Server::new(config.clone()).dry_run() {
        Ok(tried) => {
            for taken in tried.taken {
                let message = format!("{taken} is in use now; the server starts once it is free");
                check.warnings.push(Warning { code: "address_taken", message });
            }
            check.warnings.extend(tried.warnings);
            check.sockets = tried.sockets;
        }
        Err(error) => check.error = Some(error.to_string()),
    }
    check
}

/// Prints a settings file to start from.
pub(super) fn template() -> Exit {
    print(&document::server_ini())
}
