//! The command line: `serve`, `check`, `call`, `methods`, `stubs`, `bench`, `console`, `whatif`, `top`; for
//! the ready server and for an embedder's own program.
//!
//! Knows words, exit codes and messages for people; the library below carries the commands out. A program with services
//! of its own gets all of it from one call of [`main`].
//!
//! Invariant: every way out of a command is an `Exit`, and every exit code is in the table from which `--help` is made.

mod admin_args;
mod bench;
mod call;
mod check;
mod command_line;
mod console;
mod escape;
mod identity;
mod input;
mod json;
mod logger;
mod methods;
mod output;
mod own_program;
mod serve;
mod server_args;
mod session_file;
mod stubs;
#[cfg(feature = "top")]
mod top;
mod user_directory;
mod what_if;

pub use command_line::main;
pub use own_program::{Program, program};
pub use serve::IntoServer;
