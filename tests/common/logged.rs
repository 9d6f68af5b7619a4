//! Collects the log lines of a server that runs in the process of the test.

use log::{LevelFilter, Log, Metadata, Record};
use std::sync::{Mutex, OnceLock};

/// All that was logged in this process since [`Lines::collect`] was called first, `Info` and worse.
pub struct Lines(Mutex<Vec<String>>);

impl Lines {
    /// Begins to keep what is logged. Any test of a process may call it, in any order.
    pub fn collect() -> &'static Lines {
        static LINES: OnceLock<&'static Lines> = OnceLock::new();
        LINES.get_or_init(|| {
            let lines: &Lines = Box::leak(Box::new(Lines(Mutex::default())));
            log::set_logger(lines).expect("no other logger in this process");
            log::set_max_level(LevelFilter::Info);
            lines
        })
    }

    /// Those in which `word` occurs; tests that run at once tell theirs apart by it.
    pub fn with(&self, word: &str) -> Vec<String> {
        self.0.lock().unwrap().iter().filter(|line| line.contains(word)).cloned().collect()
    }
}

impl Log for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        self.0.lock().unwrap().push(record.args().to_string());
    }

    fn flush(&self) {}
}
