//! What a changed setting has brought: measured before and after, beside what was said.
//!
//! Before is what was measured while a verdict stood; it is kept over a restart as one line of JSON. After is measured
//! while enough calls press again. What was asked of the server may have changed too: so it is compared only where as
//! much is in progress, or more is done than before.

use super::sizing::{Gain, Load};
use super::words;
use crate::config::Config;
use crate::monitor::Interval;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Of what is kept over a restart. Another version is not read.
const VERSION: u32 = 1;

/// Longest text that is read, in bytes.
const NOTE_BYTES_MAX: usize = 16 * 1024;

/// Looks under load before anything is said, and after which it is final.
const LOOKS_MIN: usize = 3;
const LOOKS_MAX: usize = 30;

/// Of the calls in progress before, so many must be in progress for a comparison.
const LOAD_MIN: f64 = 0.5;

/// Changed settings that are named.
const NAMED_MAX: usize = 4;

/// The settings that limit, by name.
pub(super) type LimitSettings = BTreeMap<String, String>;

pub(super) fn settings(config: &Config) -> LimitSettings {
    let none = |limit: Option<String>| limit.unwrap_or_else(|| "0".to_owned());
    let server = [
        ("Server_Max_Concurrent_Trans", config.max_concurrent_trans.value.to_string()),
        ("Server_Pool_Tasks", config.pool_tasks.value.to_string()),
        ("Server_Queue_Limit", config.queue_limit.value.to_string()),
        ("Server_Session_Calls", none(config.session_calls.value.map(|calls| calls.to_string()))),
        ("Server_Nested_Reserve", config.nested_reserve.value.to_string()),
        ("Server_Buffer_Memory_MB", (config.buffer_memory_bytes.value >> 20).to_string()),
        ("Server_Descriptor_Reserve", config.descriptor_reserve.value.to_string()),
        ("Server_Descriptors_Per_Session", config.descriptors_per_session.value.to_string()),
        ("Server_MaxUsers", none(config.max_users.value.map(|limit| limit.to_string()))),
        ("Server_Restricted", config.restricted.value.to_string()),
        ("Server_Max_Connects_Per_Minute", none(config.max_connects.value.map(|limit| limit.to_string()))),
    ];
    let ports = config.ports.iter();
    let pools = ports.map(|port| (format!("{}_Pool_Tasks", port.name), port.pool_tasks.value.to_string()));
    server.into_iter().map(|(name, value)| (name.to_owned(), value)).chain(pools).collect()
}

/// What a server does, in figures.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Figures {
    /// Calls run in a second.
    per_s: f64,
    /// What one of a hundred waits, and runs, at most, in seconds.
    p99: f64,
    /// Calls in progress, on average.
    in_flight: f64,
}

impl Figures {
    pub(super) fn of(period: &Interval) -> Figures {
        let times = period.times();
        let p99 =
            [&times.queue_wait, &times.permit_wait, &times.run].map(|part| part.quantile(0.99).as_secs_f64());
        let loads = period.ports.iter().map(|port| Load::of(port, period));
        Figures {
            per_s: period.per_second(times.run.count()),
            p99: p99.iter().sum(),
            in_flight: loads.map(|load| load.in_flight()).sum(),
        }
    }

    fn are_sound(&self) -> bool {
        [self.per_s, self.p99, self.in_flight].iter().all(|figure| figure.is_finite() && *figure >= 0.0)
    }
}

/// What was measured while a verdict stood.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Baseline {
    version: u32,
    settings: LimitSettings,
    figures: Figures,
    /// The lines that were advised.
    lines: Vec<String>,
    /// How many times the throughput they should bring.
    said: Option<f64>,
}

impl Baseline {
    pub(super) fn new(
        settings: LimitSettings,
        figures: Figures,
        lines: &[String],
        gain: Option<Gain>,
    ) -> Baseline {
        let said = gain.map(|gain| gain.likely).filter(|said| said.is_finite());
        Baseline { version: VERSION, settings, figures, lines: lines.to_vec(), said }
    }

    /// What an earlier run kept; `None` for anything else.
    pub(super) fn read(note: &str) -> Option<Baseline> {
        let before: Baseline = Some(note)
            .filter(|note| note.len() <= NOTE_BYTES_MAX)
            .and_then(|note| serde_json::from_str(note).ok())?;
        let sound = before.figures.are_sound() && before.said.is_none_or(f64::is_finite);
        (before.version == VERSION && sound && before.is_comparable()).then_some(before)
    }

    /// Something was done: nothing is any number of times as much as nothing.
    pub(super) fn is_comparable(&self) -> bool {
        self.figures.per_s > 0.0
    }

    /// To be read by a later run.
    pub(super) fn write(&self) -> Option<String> {
        serde_json::to_string(self).ok().filter(|note| note.len() <= NOTE_BYTES_MAX)
    }

    /// Other settings than these are in force now.
    pub(super) fn is_of_other(&self, settings: &LimitSettings) -> bool {
        self.settings != *settings
    }
}

/// A change that is being measured, or has been.
#[derive(Debug)]
pub(super) struct Experiment {
    before: Baseline,
    /// Which settings, from what to what.
    changed: String,
    /// They are those that were advised.
    as_advised: bool,
    /// Looks in a row under load, and all of them.
    in_a_row: usize,
    loaded: usize,
    effect: String,
}

impl Experiment {
    pub(super) fn new(before: Baseline, settings: &LimitSettings) -> Experiment {
        let advised = |line: &String| {
            line.split_once('=').is_some_and(|(key, value)| settings.get(key).is_some_and(|now| now == value))
        };
        let as_advised = !before.lines.is_empty() && before.lines.iter().all(advised);
        let changed = changed(&before.settings, settings);
        let mut trial =
            Experiment { before, changed, as_advised, in_a_row: 0, loaded: 0, effect: String::new() };
        trial.effect = trial.not_yet(0.0);
        trial
    }

    /// Enough was measured; nothing changes any more.
    pub(super) fn is_over(&self) -> bool {
        self.loaded >= LOOKS_MAX
    }

    pub(super) fn effect(&self) -> &str {
        &self.effect
    }

    /// Looks in a row of which the next look's figures may be.
    pub(super) fn looks(&self) -> usize {
        self.in_a_row + 1
    }

    /// Takes the figures of the last look, and of those in a row under load.
    pub(super) fn look(&mut self, last: &Figures, row: &Figures, limited: bool) {
        if self.is_over() {
            return;
        }
        let before = &self.before.figures;
        let enough = last.in_flight >= LOAD_MIN * before.in_flight || last.per_s >= 1.1 * before.per_s;
        if !enough || last.per_s <= 0.0 {
            self.in_a_row = 0;
            if self.loaded < LOOKS_MIN {
                self.effect = self.not_yet(last.in_flight);
            }
            return;
        }
        self.in_a_row += 1;
        self.loaded += 1;
        if self.in_a_row >= LOOKS_MIN {
            self.effect = self.measured(row, limited);
        }
    }

    fn measured(&self, after: &Figures, limited: bool) -> String {
        let before = &self.before.figures;
        let ratio = after.per_s / before.per_s.max(1e-9);
        let said = match self.before.said.filter(|_| self.as_advised) {
            Some(said) => format!("said {}, measured {}", words::times(said), words::times(ratio)),
            None => format!("measured {}", words::times(ratio)),
        };
        let short = self.before.said.is_some_and(|said| self.as_advised && ratio < 0.85 * said);
        let rest = match (short, limited) {
            (true, false) => " Nothing limits it now: more was not asked for.",
            (true, true) => " Something else limits it now.",
            _ => "",
        };
        format!(
            "Since {}: {said}. {} instead of {} calls/s; p99 {} instead of {}.{rest}",
            self.changed,
            words::count(after.per_s),
            words::count(before.per_s),
            words::time(after.p99),
            words::time(before.p99),
        )
    }

    fn not_yet(&self, in_flight: f64) -> String {
        let before = self.before.figures.in_flight;
        format!(
            "Since {}: it cannot be compared yet; {} in progress, {} were before.",
            self.changed,
            words::plural(in_flight, "call"),
            words::count(before)
        )
    }
}

fn changed(before: &LimitSettings, after: &LimitSettings) -> String {
    let names: std::collections::BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let value = |settings: &LimitSettings, name: &String| {
        settings.get(name).map_or("none", String::as_str).to_owned()
    };
    let changes = names.into_iter().filter(|name| before.get(*name) != after.get(*name));
    let changes: Vec<String> =
        changes.map(|name| format!("{name} {} -> {}", value(before, name), value(after, name))).collect();
    match changes.len() {
        0..=NAMED_MAX => changes.join(", "),
        more => format!("{} and {} more", changes[..NAMED_MAX].join(", "), more - NAMED_MAX),
    }
}
