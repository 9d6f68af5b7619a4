//! Output of a command: results on standard output, messages on standard error, both with control characters escaped,
//! and the exit code. The numbers are part of the interface for scripts.

use super::escape;
use std::io::{self, ErrorKind, Write};
use std::path::Path;

/// Prints a result to standard output.
pub(super) fn print(text: &str) -> Exit {
    print_with(|out| out.write_all(escape::plain(text).as_bytes()))
}

/// Prints a result to standard output piece by piece; the pieces are already escaped.
pub(super) fn print_with(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Exit {
    let mut out = io::BufWriter::new(io::stdout().lock());
    match write(&mut out).and_then(|()| out.flush()) {
        Ok(()) => Exit::Success,
        // The reader has read enough, as `head` does.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Exit::Environment,
        Err(error) => Exit::Environment.with_error(&format!("cannot write to standard output: {error}")),
    }
}

pub(super) fn eprint_error(message: &str) {
    // A closed standard error is ignored: there is no other place for the message.
    writeln!(io::stderr(), "{}", escape::plain(message)).ok();
}

/// Prints how to create a settings file, if it is missing.
pub(super) fn suggest_template(program: &str, file: &Path) {
    if matches!(file.try_exists(), Ok(false)) {
        let file = file.display();
        eprint_error(&format!(
            "{file} does not exist; `{program} check --template > {file}` writes one that explains every setting; an empty \
             file is valid, too, and means the defaults"
        ));
    }
}

/// Exit codes in words, for `--help`.
const EXITS: [(&str, &str); 6] = [
    ("0", "success; a server was stopped by SIGTERM or SIGINT and has logged its losses, if any"),
    (
        "1",
        "failed because of the environment: a port is in use, no thread, no connection; a call was not started",
    ),
    (
        "2",
        "failed because of the input: a settings file with errors, a wrong option, an unknown method, arguments the method does not accept",
    ),
    (
        "3",
        "the server responded with an error: the service's own, overload, a server that stops, or a defect of the server",
    ),
    ("4", "no response: the deadline passed or the connection was lost, and the call may have run"),
    (
        "130, 143",
        "another SIGINT, SIGTERM more than a second after the first, while the server was stopping: it exited at once, and calls in flight were lost",
    ),
];

/// Result of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    Success,
    /// Failed because of the environment.
    Environment,
    /// Failed because of the input.
    Input,
    /// The server responded with an error.
    ErrorResponse,
    NoResponse,
    /// Ended at once by this signal.
    Signal(i32),
}

/// Result of a command that may end early; both are its exit.
pub(super) type CommandResult = Result<Exit, Exit>;

impl Exit {
    /// Prints a message to standard error and returns this result.
    pub(super) fn with_error(self, message: &str) -> Exit {
        eprint_error(message);
        self
    }

    /// The exit code.
    pub(super) fn code(self) -> u8 {
        match self {
            Exit::Success => 0,
            Exit::Environment => 1,
            Exit::Input => 2,
            Exit::ErrorResponse => 3,
            Exit::NoResponse => 4,
            // As a shell reports a program that the signal killed.
            Exit::Signal(signal) => u8::try_from(128 + signal).unwrap_or(u8::MAX),
        }
    }
}

/// The table of exit codes, for `--help`.
pub(super) fn exits_in_words() -> String {
    let mut text = "Exit codes:".to_owned();
    for (number, words) in EXITS {
        text.push_str(&format!("\n  {number:8}  {words}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_exit_is_in_the_table() {
        let exits = [Exit::Success, Exit::Environment, Exit::Input, Exit::ErrorResponse, Exit::NoResponse];
        for (exit, (number, _)) in exits.into_iter().zip(EXITS) {
            assert_eq!(exit.code().to_string(), number);
        }
        let signals = [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM];
        assert_eq!(signals.map(|signal| Exit::Signal(signal).code()), [130, 143]);
    }
}
