//! The effect of a changed setting: throughput and times measured before and after, beside what was expected.
//!
//! The baseline is what was measured while a verdict stood; it is kept over a restart as one line of JSON. The effect
//! is measured under load. The load may have changed too, so the two are compared only where as much is in progress, or
//! more is done than before.

use super::loads::Load;
use crate::config::Config;
use crate::monitor::format::{factor, plural, rounded, short_time};
use crate::monitor::interval::Interval;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Version of the text that is kept over a restart. Another one is not read.
const VERSION: u32 = 1;

/// Longest text that is read, in bytes.
const TEXT_BYTES_MAX: usize = 16 * 1024;

/// Samples under load before an effect is given, and after which it is final.
const SAMPLES_MIN: usize = 3;
const SAMPLES_MAX: usize = 30;

/// Samples for which what was measured before a change says how the throughput goes with the number that run: an hour.
const SAMPLES_VALID: usize = 3600;

/// Share of the calls in progress before that must be in progress for a comparison.
const LOAD_MIN: f64 = 0.5;

/// Most changed settings that are named.
const NAMED_MAX: usize = 4;

/// The settings that limit, by name.
pub(super) type LimitSettings = BTreeMap<String, String>;

pub(super) fn settings(config: &Config) -> LimitSettings {
    let none = |limit: Option<String>| limit.unwrap_or_else(|| "0".to_owned());
    let server = [
        ("Server_Max_Concurrent_Trans", config.max_concurrent_trans.value.to_string()),
        ("Server_Pool_Tasks", config.pool_tasks.value.to_string()),
        ("Server_Queue_Limit", config.queue_limit.value.to_string()),
        ("Server_Client_Calls", none(config.client_calls.value.map(|calls| calls.to_string()))),
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
    let limits = config.method_limits.iter().map(|line| {
        let places = line.limit.value.map(|(run, wait)| format!("{run},{wait}"));
        (line.method.to_lowercase(), none(places))
    });
    let server = server.into_iter().map(|(name, value)| (name.to_owned(), value));
    server.chain(pools).chain(limits).collect()
}

/// Throughput, times and load of a server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Figures {
    /// Calls run per second.
    pub(super) per_s: f64,
    /// The 99th percentiles of waiting and running, added up, in seconds.
    p99: f64,
    /// Calls in progress, on average.
    in_flight: f64,
    /// The method that took most of the workers: its name, how many of its calls ran at once, and were run a second.
    #[serde(default)]
    pub(super) method: Option<(String, f64, f64)>,
}

impl Figures {
    pub(super) fn of(interval: &Interval) -> Figures {
        let times = interval.times();
        let p99 =
            [&times.queue_wait, &times.permit_wait, &times.run].map(|part| part.quantile(0.99).as_secs_f64());
        let loads = interval.ports.iter().map(|port| Load::of(port, interval));
        let methods = interval.ports.iter().flat_map(|port| &port.methods);
        let most = methods.max_by(|one, two| one.busy.total_cmp(&two.busy));
        Figures {
            per_s: interval.per_second(times.run.count()),
            p99: p99.iter().sum(),
            in_flight: loads.map(|load| load.in_flight()).sum(),
            method: most.map(|method| {
                let per_s = interval.per_second(method.times.run.count());
                (method.name.to_string(), method.busy, per_s)
            }),
        }
    }

    fn are_sound(&self) -> bool {
        [self.per_s, self.p99, self.in_flight].iter().all(|figure| figure.is_finite() && *figure >= 0.0)
    }
}

/// Measurements while a verdict stood.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Baseline {
    version: u32,
    settings: LimitSettings,
    figures: Figures,
    /// The lines that were advised.
    lines: Vec<String>,
    /// How many times the throughput they should bring.
    #[serde(rename = "said")]
    expected: Option<f64>,
}

impl Baseline {
    pub(super) fn new(
        settings: LimitSettings,
        figures: Figures,
        lines: &[String],
        gain: Option<f64>,
    ) -> Baseline {
        let expected = gain.filter(|expected| expected.is_finite());
        Baseline { version: VERSION, settings, figures, lines: lines.to_vec(), expected }
    }

    /// Reads what an earlier run kept; `None` for anything else.
    pub(super) fn read(text: &str) -> Option<Baseline> {
        let before: Baseline = Some(text)
            .filter(|text| text.len() <= TEXT_BYTES_MAX)
            .and_then(|text| serde_json::from_str(text).ok())?;
        let sound = before.figures.are_sound() && before.expected.is_none_or(f64::is_finite);
        (before.version == VERSION && sound && before.is_comparable()).then_some(before)
    }

    /// Returns whether something was done: a throughput of zero has no ratio.
    pub(super) fn is_comparable(&self) -> bool {
        self.figures.per_s > 0.0
    }

    /// Writes it for a later run.
    pub(super) fn write(&self) -> Option<String> {
        serde_json::to_string(self).ok().filter(|text| text.len() <= TEXT_BYTES_MAX)
    }

    /// Returns whether it was measured under other settings than these.
    pub(super) fn is_of_other(&self, settings: &LimitSettings) -> bool {
        self.settings != *settings
    }
}

/// A change whose effect is being measured, or has been.
#[derive(Debug)]
pub(super) struct Experiment {
    before: Baseline,
    /// The changed settings, with the values before and after.
    changed: String,
    /// The changed settings are those that were advised.
    as_advised: bool,
    /// Nothing but pools and the throttle was changed.
    of_places: bool,
    /// Samples in a row under load, all under load, and all.
    in_a_row: usize,
    loaded: usize,
    samples: usize,
    effect: String,
}

impl Experiment {
    pub(super) fn new(before: Baseline, settings: &LimitSettings) -> Experiment {
        let advised = |line: &String| {
            let value = |key: &str| settings.get(key).or_else(|| settings.get(&key.to_lowercase()));
            line.split_once('=').is_some_and(|(key, new)| value(key).is_some_and(|now| now == new))
        };
        // A section has no value.
        let mut lines = before.lines.iter().filter(|line| !line.starts_with('['));
        let as_advised = !before.lines.is_empty() && lines.all(advised);
        let changed = changed(&before.settings, settings);
        let of_places = changed_keys(&before.settings, settings).all(is_of_places);
        let (in_a_row, loaded, samples) = (0, 0, 0);
        let effect = String::new();
        let mut experiment =
            Experiment { before, changed, as_advised, of_places, in_a_row, loaded, samples, effect };
        experiment.effect = experiment.not_yet(0.0);
        experiment
    }

    /// Returns whether enough was measured and the effect is final.
    pub(super) fn is_over(&self) -> bool {
        self.loaded >= SAMPLES_MAX
    }

    /// The figures before the change, if that was one of places, and not long ago.
    pub(super) fn before(&self) -> Option<&Figures> {
        (self.of_places && self.samples < SAMPLES_VALID).then_some(&self.before.figures)
    }

    /// Returns whether the limit of this method is as it was advised.
    pub(super) fn has_advised_limit(&self, method: &str) -> bool {
        let is_for =
            |line: &String| line.split_once('=').is_some_and(|(key, _)| key.eq_ignore_ascii_case(method));
        self.as_advised && self.before.lines.iter().any(is_for)
    }

    /// Counts a sample.
    pub(super) fn pass(&mut self) {
        self.samples += 1;
    }

    pub(super) fn effect(&self) -> &str {
        &self.effect
    }

    /// Samples in a row that the next figures may cover.
    pub(super) fn samples(&self) -> usize {
        self.in_a_row + 1
    }

    /// Adds the figures of the last sample, and of those in a row under load.
    pub(super) fn update(&mut self, last: &Figures, row: &Figures, limited: bool) {
        if self.is_over() {
            return;
        }
        let before = &self.before.figures;
        let enough = last.in_flight >= LOAD_MIN * before.in_flight || last.per_s >= 1.1 * before.per_s;
        if !enough || last.per_s <= 0.0 {
            self.in_a_row = 0;
            if self.loaded < SAMPLES_MIN {
                self.effect = self.not_yet(last.in_flight);
            }
            return;
        }
        self.in_a_row += 1;
        self.loaded += 1;
        if self.in_a_row >= SAMPLES_MIN {
            self.effect = self.measured(row, limited);
        }
    }

    fn measured(&self, after: &Figures, limited: bool) -> String {
        let before = &self.before.figures;
        let ratio = after.per_s / before.per_s.max(1e-9);
        let measured = match self.before.expected.filter(|_| self.as_advised) {
            Some(expected) => format!("expected {}, measured {}", factor(expected), factor(ratio)),
            None => format!("measured {}", factor(ratio)),
        };
        let short = self.before.expected.is_some_and(|expected| self.as_advised && ratio < 0.85 * expected);
        let rest = match (short, limited) {
            (true, false) => " Nothing limits it now: there was no more load.",
            (true, true) => " Something else limits it now.",
            _ => "",
        };
        format!(
            "Since {}: {measured}. {} instead of {} calls/s; p99 {} instead of {}.{rest}",
            self.changed,
            rounded(after.per_s),
            rounded(before.per_s),
            short_time(after.p99),
            short_time(before.p99),
        )
    }

    fn not_yet(&self, in_flight: f64) -> String {
        let before = self.before.figures.in_flight;
        format!(
            "Since {}: it cannot be compared yet; {} in progress, {} before.",
            self.changed,
            plural(rounded(in_flight), "call"),
            rounded(before)
        )
    }
}

/// The settings that differ.
fn changed_keys<'a>(before: &'a LimitSettings, after: &'a LimitSettings) -> impl Iterator<Item = &'a String> {
    let names: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    names.into_iter().filter(|name| before.get(*name) != after.get(*name))
}

fn is_of_places(key: &String) -> bool {
    key.ends_with("_Pool_Tasks") || key == "Server_Max_Concurrent_Trans"
}

fn changed(before: &LimitSettings, after: &LimitSettings) -> String {
    let value = |settings: &LimitSettings, name: &String| {
        settings.get(name).map_or("none", String::as_str).to_owned()
    };
    let changes: Vec<String> = changed_keys(before, after)
        .map(|name| format!("{name} {} -> {}", value(before, name), value(after, name)))
        .collect();
    match changes.len() {
        0..=NAMED_MAX => changes.join(", "),
        more => format!("{} and {} more", changes[..NAMED_MAX].join(", "), more - NAMED_MAX),
    }
}
