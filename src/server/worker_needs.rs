//! Declared needs of the workers: what each opens, and how many of it are allowed.

use crate::config::{Config, Warning, workers_in_words};

/// Things that each worker opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WorkerNeed {
    /// A word in the plural, such as `connections`.
    pub(super) what: String,
    pub(super) each: u32,
    pub(super) available: u32,
}

impl WorkerNeed {
    /// Returns a warning if the workers of all ports together open more than are allowed.
    pub(super) fn excess(&self, config: &Config) -> Option<Warning> {
        let WorkerNeed { what, each, available } = self;
        let workers = config.total_workers();
        let opened = u64::from(workers) * u64::from(*each);
        (opened > u64::from(*available)).then(|| {
            let words = workers_in_words(config);
            Warning {
                code: "per_worker",
                message: format!(
                    "{words} open {opened} {what}; {available} are allowed: lower the pools or allow more"
                ),
            }
        })
    }
}
