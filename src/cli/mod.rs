//! The command line: `serve`, `check`, `call`, `methods`, `stubs`, `bench`, `console`, `top`; for the ready server and
//! for a program's own.
//!
//! Knows words, exit codes and how to speak to people; what the words do is in the library below. A program with
//! services of its own gets all of it from one call of [`main`].
//!
//! Invariant: every way out of a command is an `Exit`, and every exit code is in the table `EXITS`, from which
//! `--help` is made.

mod admin;
mod bench;
mod call;
mod check;
mod console;
mod escape;
mod json;
mod logger;
mod serve;
mod stubs;
#[cfg(feature = "top")]
mod top;

use crate::server::Server;
use clap::{Parser, Subcommand};
use std::error::Error;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// The settings file where none is named.
const FILE: &str = "server.ini";

/// Exit codes in words, for `--help`.
const EXITS: [(&str, &str); 6] = [
    ("0", "done; for a server: it was stopped by SIGTERM or SIGINT, and said what was lost if anything was"),
    (
        "1",
        "not done, because of the surroundings: a port is taken, no thread, no connection; a call was not started",
    ),
    (
        "2",
        "not done, because of what was given: a settings file with errors, a wrong option, an unknown method, arguments the method does not take",
    ),
    (
        "3",
        "the server answered with an error: the service's own, too busy, stopping, or a defect of the server",
    ),
    ("4", "no answer: the deadline passed or the connection was lost, and the call may have run"),
    (
        "130, 143",
        "another SIGINT, SIGTERM more than a second after the first, while the server was stopping: it ended at once, and what was in flight is lost",
    ),
];

/// How a command ended. The numbers are part of what scripts rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exit {
    Done,
    Surroundings,
    Given,
    Answer,
    NoAnswer,
    /// By this signal, at once.
    Signal(i32),
}

impl Exit {
    fn number(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Surroundings => 1,
            Exit::Given => 2,
            Exit::Answer => 3,
            Exit::NoAnswer => 4,
            // What a shell reports for a program that the signal killed.
            Exit::Signal(signal) => u8::try_from(128 + signal).unwrap_or(u8::MAX),
        }
    }
}

/// Thread-pool RPC server whose limits mean exactly what they eprint_error.
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
    /// Then it takes no more calls, finishes those in flight within Server_Shutdown_Timeout, says what was lost, and
    /// exits with 0. Another one, more than a second later, ends it at once. SIGHUP opens the log file anew; SIGQUIT
    /// has the log eprint_error what every worker does; SIGUSR1 and SIGUSR2 are ignored.
    Serve {
        /// Settings file.
        #[arg(default_value = FILE)]
        file: PathBuf,
    },
    /// Say what a settings file means, or all that is wrong with it.
    ///
    /// Shows each value in force with its line or rule, and what they mean together. Tries the start: descriptors,
    /// addresses, threads; no port listens. Exits with 0 when a server would start with the file, with 2 when the file
    /// has errors, with 1 when it would not start here.
    Check {
        /// Settings file.
        #[arg(default_value = FILE)]
        file: PathBuf,
        /// The same as JSON, for programs.
        #[arg(long)]
        json: bool,
        /// Check nothing: print a settings file with every key explained and at its default.
        #[arg(long, conflicts_with_all = ["file", "json"])]
        template: bool,
    },
    /// Call any method that a running server has: JSON in, JSON out.
    Call(call::Call),
    /// List the methods of a running server, one name a line.
    Methods(call::Methods),
    /// Write typed client code in another language for the methods of a running server.
    Stubs(stubs::Stubs),
    /// Press a running server with calls, and eprint_error how many it answered and how fast.
    ///
    /// A closed loop keeps a number of calls out on each connection; an open loop (--rate) calls at times of its own,
    /// whether or not earlier calls were answered.
    Bench(bench::Bench),
    /// Watch a running server: what limits it, its ports, workers and methods, refreshed live.
    ///
    /// Asks the server's Admin_Address, which answers when every worker is stuck. Keys: q quits, p pauses.
    #[cfg(feature = "top")]
    Top(top::Top),
    /// Give a running server commands, and show what it says.
    ///
    /// Speaks to its admin server (Admin_Address). On a terminal it reads lines until exit, bye or Ctrl-D; else it
    /// carries out the commands of -c or of standard input. `help` lists what there is.
    Console(console::Console),
}

/// What the closure given to [`main`] may return: a [`Server`], or a `Result` of one.
pub trait IntoServer {
    /// The server, or why there is none.
    ///
    /// # Errors
    /// The program's own.
    fn into_server(self) -> Result<Server, Box<dyn Error>>;
}

impl IntoServer for Server {
    fn into_server(self) -> Result<Server, Box<dyn Error>> {
        Ok(self)
    }
}

impl<E: Into<Box<dyn Error>>> IntoServer for Result<Server, E> {
    fn into_server(self) -> Result<Server, Box<dyn Error>> {
        self.map_err(Into::into)
    }
}

/// The whole command line of a program that serves: reads the arguments of the process, does what they eprint_error,
/// and returns the exit code for `main` to return.
///
/// `build` adds the program's services to a server with the settings of the file. It runs for `serve` only, after
/// the settings were read and the log was started, before any port is opened. `serve` takes SIGTERM and SIGINT, sets
/// the process's logger (unless the program has set one before) and has panics reported through the log.
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
    let line = match CommandLine::try_parse() {
        Ok(line) => line,
        Err(error) => {
            // Help that nobody reads is no failure.
            error.print().ok();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(Exit::Given.number()));
        }
    };
    let program = program();
    let exit = match line.command {
        None => serve::run(&program, Path::new(FILE), build),
        Some(Command::Serve { file }) => serve::run(&program, &file, build),
        Some(Command::Check { template: true, .. }) => check::template(),
        Some(Command::Check { file, json, .. }) => check::run(&program, &file, json),
        Some(Command::Call(call)) => call.run(&program),
        Some(Command::Methods(methods)) => methods.run(&program),
        Some(Command::Stubs(stubs)) => stubs.run(),
        Some(Command::Bench(bench)) => bench.run(&program),
        #[cfg(feature = "top")]
        Some(Command::Top(top)) => top.run(),
        Some(Command::Console(console)) => console.run(),
    };
    ExitCode::from(exit.number())
}

/// What the program is called, for advice on what to type.
fn program() -> String {
    let path = std::env::args_os().next().map(PathBuf::from);
    let name = path.as_deref().and_then(Path::file_name).and_then(|name| name.to_str());
    name.unwrap_or("boneyard").to_owned()
}

fn exits_in_words() -> String {
    let mut text = "Exit codes:".to_owned();
    for (number, words) in EXITS {
        text.push_str(&format!("\n  {number:8}  {words}"));
    }
    text
}

/// Longest time that is taken: a year. The clock ends somewhere.
const SECONDS_MAX: f64 = 365.0 * 24.0 * 3600.0;

/// Prints a result to standard output. What a terminal would take for an order is written out.
fn print(text: &str) -> Exit {
    print_by(|out| out.write_all(escape::plain(text).as_bytes()))
}

/// Has a result written to standard output piece by piece, as plain text.
fn print_by(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Exit {
    let mut out = io::BufWriter::new(io::stdout().lock());
    match write(&mut out).and_then(|()| out.flush()) {
        Ok(()) => Exit::Done,
        // Whoever reads has read enough, as `head` does.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Exit::Surroundings,
        Err(error) => {
            eprint_error(&format!("cannot write to standard output: {error}"));
            Exit::Surroundings
        }
    }
}

/// Tells a person something, on standard error.
fn eprint_error(message: &str) {
    // Without a standard error there is nobody to tell.
    writeln!(io::stderr(), "{}", escape::plain(message)).ok();
}

/// A whole or broken number of seconds, more than 0 and at most a year.
fn seconds(text: &str) -> Result<Duration, String> {
    let wrong = || format!("expected a number of seconds, more than 0 and at most {SECONDS_MAX}");
    let number = text.parse().ok().filter(|number| (0.0..=SECONDS_MAX).contains(number));
    let duration = number.and_then(|number| Duration::try_from_secs_f64(number).ok());
    duration.filter(|duration| !duration.is_zero()).ok_or_else(wrong)
}

/// The text behind the byte order mark that editors and shells of Windows write before it.
fn without_mark(mut text: String) -> String {
    const MARK: char = '\u{FEFF}';
    if text.starts_with(MARK) {
        text.drain(..MARK.len_utf8());
    }
    text
}

/// Says how to get a settings file, if it is missing.
fn say_how_to_get(program: &str, file: &Path) {
    if matches!(file.try_exists(), Ok(false)) {
        let file = file.display();
        eprint_error(&format!(
            "there is no {file}; `{program} check --template > {file}` writes one with every setting explained, and an \
             empty file will do: it means the defaults"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_holds_together() {
        use clap::CommandFactory;
        CommandLine::command().debug_assert();
    }

    #[test]
    fn every_exit_is_in_the_table() {
        let exits = [Exit::Done, Exit::Surroundings, Exit::Given, Exit::Answer, Exit::NoAnswer];
        for (exit, (number, _)) in exits.into_iter().zip(EXITS) {
            assert_eq!(exit.number().to_string(), number);
        }
        let signals = [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM];
        assert_eq!(signals.map(|signal| Exit::Signal(signal).number()), [130, 143]);
    }

    #[test]
    fn seconds_are_more_than_none() {
        assert_eq!(seconds("10"), Ok(Duration::from_secs(10)));
        assert_eq!(seconds("0.25"), Ok(Duration::from_millis(250)));
        assert_eq!(seconds("31536000"), Ok(Duration::from_secs(31_536_000)));
        for wrong in ["", "0", "-0", "-1", "1e-300", "ten", "inf", "nan", "31536001", "1e19", "1e300"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
