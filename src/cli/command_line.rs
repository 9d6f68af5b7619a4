//! Commands and options, and [`main`], which carries out those of the process.

use super::identity::{Identity, OwnName};
use super::input::DEFAULT_FILE;
use super::output::{Exit, exits_in_words};
use super::serve::{self, IntoServer};
#[cfg(feature = "top")]
use super::top;
use super::{bench, call, check, console, methods, stubs, what_if};
use crate::server::Server;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Thread-pool RPC server whose limits mean exactly what they say.
///
/// Without a command: serve with ./server.ini.
#[derive(Debug, Parser)]
#[command(name = "boneyard", version, after_help = exits_in_words())]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve until SIGTERM or SIGINT.
    ///
    /// Then the server accepts no more calls, finishes those in flight within Server_Shutdown_Timeout, logs the number
    /// of lost ones, and exits with 0. Another signal, more than a second later, ends it at once. SIGHUP reopens the
    /// log file; SIGQUIT logs the activity of every worker; SIGUSR1 and SIGUSR2 are ignored.
    Serve {
        /// Settings file.
        #[arg(default_value = DEFAULT_FILE)]
        file: PathBuf,
    },
    /// Check a settings file: print its effective settings, or all of its errors.
    ///
    /// Prints each effective value with its line or rule, totals and warnings. Tries the start: descriptors, addresses,
    /// threads; no port listens. Exits with 0 if a server would start with the file, with 2 if the file has errors,
    /// with 1 if the server would not start on this machine.
    Check {
        /// Settings file.
        #[arg(default_value = DEFAULT_FILE)]
        file: PathBuf,
        /// Print JSON, for programs.
        #[arg(long)]
        json: bool,
        /// Check nothing: print a settings file that explains every key and shows its default.
        #[arg(long, conflicts_with_all = ["file", "json"])]
        template: bool,
    },
    /// Call any method of a running server: JSON in, JSON out.
    Call(call::CallCommand),
    /// List the methods of a running server, one name per line.
    Methods(methods::Methods),
    /// Generate typed client code in another language for the methods of a running server.
    Stubs(stubs::Stubs),
    /// Load-test a running server and report throughput and latency.
    ///
    /// A closed loop keeps a fixed number of calls in flight on each connection; an open loop (--rate) sends calls on
    /// its own schedule, regardless of outstanding responses.
    Bench(bench::Bench),
    /// Watch a running server: its limiting factor, ports, workers and methods, refreshed live.
    ///
    /// Uses the server's Admin_Address, which responds even when every worker is stuck. Keys: q quits, p pauses.
    #[cfg(feature = "top")]
    Top(top::Top),
    /// Send commands to a running server and print its responses.
    ///
    /// Uses the server's admin server (Admin_Address). On a terminal it reads lines until exit, bye or Ctrl-D;
    /// otherwise it carries out the commands of -c or of standard input. `help` lists the commands.
    Console(console::Console),
    /// Simulate the present load of a running server under other settings; nothing is changed.
    ///
    /// Prints the throughput now and what is expected, with its range; the waits and run times then; what limits it
    /// then; and the error of the simulation under the settings in force.
    #[command(name = "whatif", override_usage = "boneyard whatif [OPTIONS] [ADDR] KEY=VALUE...")]
    WhatIf(what_if::WhatIf),
}

/// Runs the whole command line of a program that serves: reads the arguments of the process, carries them out, and
/// returns the exit code for `main` to return. Blocks until the command ends. Errors are printed to standard error and
/// become the exit code.
///
/// `build` adds the program's services to a server with the settings of the file. It runs on this thread, for `serve`
/// only, after the settings were read and the log was started, before any port is opened. `serve` handles SIGTERM and
/// SIGINT, sets the process's logger (unless the program has set one before) and reports panics through the log.
///
/// ```no_run
/// use boneyard::Method;
/// const DOUBLE: Method<u32, u64> = Method::new("math.double");
///
/// fn main() -> std::process::ExitCode {
///     boneyard::cli::main(|server| server.handle(DOUBLE, |_, n| Ok(u64::from(n) * 2)))
/// }
/// ```
pub fn main<B: IntoServer>(build: impl FnOnce(Server) -> B) -> ExitCode {
    carry_out(&Identity::new(None, None), CheckedServer::Settings, build)
}

/// The server whose start `check` tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CheckedServer {
    /// One of the settings alone.
    Settings,
    /// The program's own.
    Built,
}

/// Carries out the arguments of the process.
pub(super) fn carry_out<B: IntoServer>(
    identity: &Identity,
    checked: CheckedServer,
    build: impl FnOnce(Server) -> B,
) -> ExitCode {
    let line = match arguments(identity) {
        Ok(line) => line,
        Err(error) => {
            // Help that cannot be printed is no failure.
            error.print().ok();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(Exit::Input.code()));
        }
    };
    let program = identity.typed.as_str();
    let exit = match line.command {
        None => serve::run(identity, Path::new(DEFAULT_FILE), build),
        Some(Command::Serve { file }) => serve::run(identity, &file, build),
        Some(Command::Check { template: true, .. }) => Ok(check::template(identity)),
        Some(Command::Check { file, json, .. }) => Ok(match checked {
            CheckedServer::Settings => check::run(identity, &file, json, |server| server),
            CheckedServer::Built => check::run(identity, &file, json, build),
        }),
        Some(Command::Call(call)) => call.run(program),
        Some(Command::Methods(methods)) => Ok(methods.run()),
        Some(Command::Stubs(stubs)) => stubs.run(),
        Some(Command::Bench(bench)) => bench.run(program),
        #[cfg(feature = "top")]
        Some(Command::Top(top)) => top.run(identity),
        Some(Command::Console(console)) => console.run(identity),
        Some(Command::WhatIf(what_if)) => what_if.run(identity),
    };
    ExitCode::from(exit.unwrap_or_else(|exit| exit).code())
}

/// Reads the arguments of the process.
fn arguments(identity: &Identity) -> Result<CommandLine, clap::Error> {
    let mut definition = definition(identity.own);
    let matches = definition.try_get_matches_from_mut(std::env::args_os())?;
    CommandLine::from_arg_matches(&matches).map_err(|error| error.format(&mut definition))
}

/// Returns the definition of the command line, for a program with this name.
fn definition(own: Option<OwnName>) -> clap::Command {
    let definition = CommandLine::command();
    let Some(OwnName { name, version, about }) = own else { return definition };
    let about = about.map_or_else(|| format!("Server of {name}."), str::to_owned);
    let what_if = format!("{name} whatif [OPTIONS] [ADDR] KEY=VALUE...");
    definition
        .name(name)
        .version(version)
        .long_about(format!("{about}\n\nWithout a command: serve with ./{DEFAULT_FILE}."))
        .about(about)
        .mut_subcommand("whatif", |command| command.override_usage(what_if))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        definition(None).debug_assert();
        definition(Some(OwnName { name: "tickets", version: "1.2.3", about: None })).debug_assert();
    }
}
