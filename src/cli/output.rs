//! Results on standard output, messages on standard error; control characters are escaped in both.

use super::escape;
use super::exit::Exit;
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
        Err(error) => {
            eprint_error(&format!("cannot write to standard output: {error}"));
            Exit::Environment
        }
    }
}

/// Prints a message to standard error.
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
