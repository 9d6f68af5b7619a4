//! The console: lines in, text out, in Domino's manner.
//!
//! `commands` has every command once; parsing, help, completion and docs/COMMANDS.md are made from it. `grammar` parses
//! a line, and the other files write the replies, from snapshots. Knows no terminal and no HTTP.
//!
//! Invariants: no line panics, and foreign text comes out without control characters.

mod actions;
mod commands;
mod execute;
mod grammar;
mod lists;
mod ports;
mod server;
mod settings;
mod state;
#[cfg(test)]
mod tests;
mod transactions;
mod what_if;

pub use commands::{commands, stops_the_server};
pub use execute::{CommandOutcome, CommandSource, ConsoleReply};
pub(super) use state::ConsoleState;
