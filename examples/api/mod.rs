//! API of the notes service, shared by server and clients: methods with their types, and errors.
//!
//! A real project has this in a small crate that both sides depend on.
#![allow(dead_code, unreachable_pub, reason = "each example uses its own part")]

use boneyard::Method;
use serde::{Deserialize, Serialize};

/// A note.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Note {
    pub title: String,
    pub text: String,
}

/// Stores a note. Returns its number.
pub const CREATE: Method<Note, u64, NoteError> = Method::new("notes.create");

/// Returns the note with a number. Idempotent, so a client may repeat a call whose reply was lost.
pub const READ: Method<u64, Note, NoteError> = Method::new("notes.read").idempotent();

/// Returns numbers and titles of all notes.
pub const LIST: Method<(), Vec<(u64, String)>> = Method::new("notes.list").idempotent();

boneyard::application_errors! {
    /// Errors that clients can tell apart.
    pub enum NoteError {
        NoSuchNote = 1 => "there is no such note",
        NoTitle = 2 => "a note needs a title",
    }
}
