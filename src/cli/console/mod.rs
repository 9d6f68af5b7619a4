//! `console`: administrator's commands to a running server, from a terminal, from options, or from standard input.
//!
//! The server alone knows what a line means, except for the words that leave the console and the one that stops the
//! server.

mod command;
mod session;
mod terminal;

pub(super) use command::Console;
