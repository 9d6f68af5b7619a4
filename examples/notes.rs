//! A service with state and the whole command line: notes, kept in memory.
//!
//! ```text
//! cargo run --example notes -- serve server.ini
//! cargo run --example notes -- call 127.0.0.1 notes.create '{"title": "Milk", "text": "two bottles"}'
//! cargo run --example notes -- call 127.0.0.1 notes.list
//! ```
//!
//! The console command `tell notes compact` renumbers the notes.

mod api;

use api::{CREATE, LIST, Note, NoteError, READ};
use boneyard::{ApplicationError, HandlerError};
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

/// State shared by handlers, which run on many threads at once, so it is behind a lock as in any blocking program.
#[derive(Default)]
struct Store(Mutex<BTreeMap<u64, Note>>);

impl Store {
    fn notes(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Note>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn create(&self, note: Note) -> Result<u64, HandlerError> {
        if note.title.is_empty() {
            return Err(NoteError::NoTitle.into());
        }
        let mut notes = self.notes();
        let number = notes.last_key_value().map_or(1, |(last, _)| last + 1);
        notes.insert(number, note);
        Ok(number)
    }

    fn read(&self, number: u64) -> Result<Note, HandlerError> {
        let note = self.notes().get(&number).cloned();
        note.ok_or_else(|| {
            let message = format!("there is no note {number}");
            ApplicationError { message, ..NoteError::NoSuchNote.into() }.into()
        })
    }

    /// Renumbers the notes without gaps.
    fn compact(&self) -> String {
        let mut notes = self.notes();
        let compacted = (1..).zip(std::mem::take(&mut *notes).into_values()).collect();
        *notes = compacted;
        format!("{} notes, numbered from 1", notes.len())
    }

    fn list(&self) -> Vec<(u64, String)> {
        self.notes().iter().map(|(number, note)| (*number, note.title.clone())).collect()
    }
}

fn main() -> ExitCode {
    let store = Arc::new(Store::default());
    boneyard::cli::main(|server| {
        server
            .state(Arc::clone(&store))
            .handle(CREATE, |store, _, note| store.create(note))
            .handle(READ, |store, _, number| store.read(number))
            .handle(LIST, |store, _, ()| Ok(store.list()))
            .on_tell("notes", move |order| match order {
                "compact" => Ok(store.compact()),
                _ => Err("notes understands: compact".to_owned()),
            })
    })
}
