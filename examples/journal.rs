//! A program of its own: its name and its settings, a file for each worker, middleware, a counter, code for the end.
//!
//! ```text
//! cargo run --example journal -- check --template > server.ini
//! cargo run --example journal -- check server.ini
//! cargo run --example journal -- serve server.ini
//! cargo run --example journal -- call 127.0.0.1 journal.write '"It rained."'
//! ```

use boneyard::Method;
use boneyard::config::{ProgramKey, ProgramSettings, ProgramValues};
use boneyard::server::ServiceCounter;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Writes an entry, and returns its number.
const WRITE: Method<String, u64> = Method::new("journal.write");

static WRITTEN: ServiceCounter = ServiceCounter::new("journal_written_total", "Entries written.");

/// The section `[Journal]` of the settings file.
struct Settings {
    folder: PathBuf,
    files_max: u32,
}

impl ProgramSettings for Settings {
    const KEYS: &'static [ProgramKey] = &[
        ProgramKey::new::<PathBuf>("Journal_Folder", ".", "a path", "Folder of the files."),
        ProgramKey::new::<u32>(
            "Journal_Files_Max",
            "100",
            "a whole number",
            "Files that may be open. Each worker opens one.",
        ),
    ];

    fn read(values: &ProgramValues<'_>) -> Settings {
        Settings { folder: values.get("Journal_Folder"), files_max: values.get("Journal_Files_Max") }
    }
}

/// What all handlers share.
#[derive(Default)]
struct Journal {
    last: AtomicU64,
}

fn main() -> ExitCode {
    boneyard::cli::program("journal", "1.2.3")
        .about("Keeps a journal.")
        .settings::<Settings>("Journal")
        .serve(|server, Settings { folder, files_max }| {
            server
                // Opened before the first call; the start fails if one cannot be.
                .per_worker(move |place| {
                    let file = folder.join(format!("{}-{}.txt", place.port(), place.worker()));
                    File::options().create(true).append(true).open(file)
                })
                .takes("files", 1, files_max)
                .around(|tx, next| {
                    let outcome = next.run(tx);
                    let status = outcome.as_ref().err().map(|refusal| refusal.status);
                    log::info!("{} of {}: {}", tx.method(), tx.peer(), status.map_or("done", |s| s.text()));
                    outcome
                })
                .counter(&WRITTEN)
                .on_stop(|| log::info!("The journal has {} new entries", WRITTEN.get()))
                .state(Journal::default())
                .handle(WRITE, |journal, tx, text| {
                    let number = journal.last.fetch_add(1, Relaxed) + 1;
                    tx.with_worker(|file: &mut File| tx.blocking(|| writeln!(file, "{number}: {text}")))?;
                    WRITTEN.add(1);
                    Ok(number)
                })
        })
}
