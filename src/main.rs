//! The ready server: the command line with no services but the built-in ones.

use std::process::ExitCode;

fn main() -> ExitCode {
    boneyard::cli::main(|server| server)
}
