//! A typed client of the notes server: `cargo run --example client -- 127.0.0.1:1352`.
//!
//! Server and client share the methods' constants, so a wrong type does not compile.

mod api;

use api::{CREATE, LIST, Note, NoteError, READ};
use boneyard::{Client, ClientError};
use std::time::Duration;

fn main() -> Result<(), ClientError> {
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1".to_owned());
    // One client is enough for a program: threads may share it, and clones share its connection.
    let client = Client::connect(&address)?;

    let milk = Note { title: "Milk".to_owned(), text: "two bottles".to_owned() };
    let number = client.call(CREATE, &milk)?;
    let read = client.call(READ, &number)?;
    println!("note {number}: {}, {}", read.title, read.text);

    for (number, title) in client.with_deadline(Duration::from_secs(2)).call(LIST, &())? {
        println!("{number:4} {title}");
    }

    // An error that the method lists has a name; any other error says whose fault it is.
    match client.call(READ, &u64::MAX) {
        Err(error) if READ.error_of(&error) == Some(NoteError::NoSuchNote) => {
            println!("as it should be: {error}")
        }
        Err(error) => return Err(error),
        Ok(note) => println!("a note nobody wrote: {}", note.title),
    }

    let reply = client.call_timed(LIST, &())?;
    let times = reply.times;
    println!("waited {:?} in the queue, {:?} for a permit", times.queue_wait, times.permit_wait);
    Ok(())
}
