//! Shared by the notes server and its clients: method names, their types, the codes of their errors.
//!
//! In a real project this is a small crate that both sides depend on.
#![allow(dead_code, unreachable_pub, reason = "each example uses its own part")]

use boneyard::Method;
use serde::{Deserialize, Serialize};

/// A stored note.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Note {
    pub title: String,
    pub text: String,
}

/// Stores a note and returns its number.
pub const CREATE: Method<Note, u64> = Method::new("notes.create");

/// The note of a number. Reading twice does no harm, so a client may repeat a lost call.
pub const READ: Method<u64, Note> = Method::new("notes.read").idempotent();

/// Numbers and titles of all notes.
pub const LIST: Method<(), Vec<(u64, String)>> = Method::new("notes.list").idempotent();

/// Code of READ's error: there is no note of this number.
pub const NO_SUCH_NOTE: u32 = 1;

/// Code of CREATE's error: a note needs a title.
pub const NO_TITLE: u32 = 2;
