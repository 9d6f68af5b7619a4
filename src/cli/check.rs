//! `check`: what a settings file means, or all that is wrong with it.
//!
//! Knows where the file and the machine's limits are read and which exit code follows. What is said is the report's.

use super::{Exit, print, say_how_to_get};
use crate::config::{Report, document};
use crate::server::{self, machine};
use std::path::Path;

/// Prints the report on `file`.
pub(super) fn run(program: &str, file: &Path, json: bool) -> Exit {
    let machine = machine::read();
    let read = server::load(file);
    let found = read.as_ref().ok().and_then(server::advise_on_files);
    let report = Report::with(&read, &machine, found);
    if read.is_err() {
        say_how_to_get(program, file);
    }
    let printed = if json { print(&report.json()) } else { print(report.text()) };
    if report.would_start() { printed } else { Exit::Given }
}

/// Prints a settings file to begin from.
pub(super) fn template() -> Exit {
    print(&document::server_ini())
}
