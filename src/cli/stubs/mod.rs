//! `stubs`: typed client code for the methods of a running server, in other languages.
//!
//! Each language has a file, which knows how its types are written and how its client is called. Invariant: text from
//! the server is foreign: a name becomes an identifier or a quoted string, never code.

mod c;
mod command;
mod errors;
mod names;
mod python;
mod typescript;

pub(super) use command::Stubs;
