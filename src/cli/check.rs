//! `check`: the report on a settings file, and whether a server would start with it on this machine.

use super::identity::{Identity, OwnName};
use super::output::{Exit, print, suggest_template};
use super::serve::IntoServer;
use crate::config::report::{CheckReport, StartCheck};
use crate::config::{Config, Warning, document};
use crate::server::{self, Server, machine};
use std::error::Error;
use std::path::Path;

/// Prints the report on `file`.
pub(super) fn run<B: IntoServer>(
    identity: &Identity,
    file: &Path,
    json: bool,
    build: impl FnOnce(Server) -> B,
) -> Exit {
    let read = server::load_for(file, identity.section.clone());
    let check = match &read {
        Ok(config) => try_start(config, build(identity.server(config.clone())).into_server()),
        Err(_) => StartCheck::default(),
    };
    let report = CheckReport::with_start_check(&read, &machine::read(), &check);
    if read.is_err() {
        suggest_template(&identity.typed, file);
    }
    let printed = if json { print(&report.json()) } else { print(report.text()) };
    match (read.is_ok(), report.would_start()) {
        (true, true) => printed,
        // As `serve` ends in this case.
        (true, false) => Exit::Environment,
        (false, _) => Exit::Input,
    }
}

fn try_start<State>(config: &Config, built: Result<Server<State>, Box<dyn Error>>) -> StartCheck {
    let mut check = StartCheck::default();
    check.warnings.extend(server::warn_about_files(config));
    let server = match built {
        Ok(server) => server,
        Err(error) => {
            check.error = Some(format!("cannot create the services: {error}"));
            return check;
        }
    };
    match server.dry_run() {
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
pub(super) fn template(identity: &Identity) -> Exit {
    let Some(OwnName { name, .. }) = identity.own else { return print(&document::server_ini()) };
    print(&document::program_ini(name, name, identity.section.as_ref()))
}
