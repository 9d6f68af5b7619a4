//! What `boneyard check` prints: every value in force with its line or rule, then what they mean together.
//!
//! Knows the result of reading a file and the advice on it. Must not read anything itself. Two forms of the
//! same facts: text for people ([`Report::text`]) and JSON for programs (the `Serialize` of [`Report`]),
//! whose names are stable. Invariant: a report has no errors and the server would start; or it has errors of the file
//! and no values; or it has values and one error, for which the server would not start here and now.

use super::advice::{self, Machine, Warning};
use super::keys::{self, Accessor, Shown};
use super::resource_check;
use super::{Config, ConfigError, ConfigErrors, Setting, Source, advise, plural};
use serde::Serialize;
use std::fmt::Write;

/// Outcome of checking a file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The file; null when the settings came from elsewhere.
    pub file: Option<String>,
    /// Enabled ports in order; empty when the file has errors.
    pub ports: Vec<PortReport>,
    /// The throttle, -1 for unlimited; null when the file has errors.
    pub max_concurrent_trans: Option<ReportedValue>,
    /// Workers of all ports; null when the file has errors.
    pub total_workers: Option<u32>,
    /// Transactions that can really run at once; null when the file has errors.
    pub effective_concurrency: Option<u32>,
    /// Connections there can be at once over all ports; null when the file has errors or the limit is not known.
    pub connections_max: Option<u64>,
    /// What the settings mean together.
    pub warnings: Vec<Warning>,
    /// What is wrong with the file.
    pub errors: Vec<ErrorReport>,
    /// What was read and not used.
    pub notes: Vec<String>,
    #[serde(skip)]
    text: String,
}

/// A port in a [`Report`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PortReport {
    /// Name as written.
    pub name: String,
    /// `host:port`, an IPv6 host in brackets.
    pub address: String,
    /// Its worker threads.
    pub pool_tasks: ReportedValue,
}

/// A number in force in a [`Report`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReportedValue {
    /// The number.
    pub value: i64,
    /// `file`: a line gives this very value. `rule`: a rule computed it from something the file says.
    /// `default`: no line has a part in it. (`program` in a report on settings that a program made.)
    pub source: &'static str,
    /// The line that gives the value or has a part in it.
    pub line: Option<u32>,
}

/// An error in a [`Report`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ErrorReport {
    /// Line number from 1; null when the error is of the whole file.
    pub line: Option<u32>,
    /// Key as written; null when the line has none.
    pub key: Option<String>,
    /// The error without file and line.
    pub message: String,
}

/// What trying the start of a server with the settings gave.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StartCheck {
    /// Why it would not start here and now.
    pub hindrance: Option<String>,
    /// What else was found.
    pub warnings: Vec<Warning>,
    /// Listening sockets beside one for each port, which take room from connections.
    pub sockets: u64,
}

impl Report {
    /// The report on what reading a file gave, on a machine with these limits.
    pub fn new(read: &Result<Config, ConfigErrors>, machine: &Machine) -> Report {
        Report::with_trial(read, machine, &StartCheck::default())
    }

    /// The same, and what a start that was tried gave.
    pub fn with_trial(read: &Result<Config, ConfigErrors>, machine: &Machine, trial: &StartCheck) -> Report {
        match read {
            Ok(config) => Report::on_settings(config, machine, trial),
            Err(errors) => Report::on_errors(errors),
        }
    }

    /// Whether a server would start on this file, as far as its settings go and the start was tried; `check` exits with
    /// 0 then.
    pub fn would_start(&self) -> bool {
        self.errors.is_empty()
    }

    /// The report for people, lines ended by LF.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The report for programs: one JSON object, indented, ended by LF.
    pub fn json(&self) -> String {
        let mut text =
            serde_json::to_string_pretty(self).expect("strings and numbers always have a JSON form");
        text.push('\n');
        text
    }

    fn on_settings(config: &Config, machine: &Machine, trial: &StartCheck) -> Report {
        let mut warnings = advise(config, machine);
        warnings.extend(trial.warnings.iter().cloned());
        let hindered = |message: &String| ErrorReport { line: None, key: None, message: message.clone() };
        let port = |port: &super::PortConfig| PortReport {
            name: port.name.clone(),
            address: port.address.to_string(),
            pool_tasks: value(&port.pool_tasks, i64::from(port.pool_tasks.value)),
        };
        Report {
            file: config.file.as_ref().map(|file| file.display().to_string()),
            ports: config.ports.iter().map(port).collect(),
            max_concurrent_trans: Some(value(
                &config.max_concurrent_trans,
                config.max_concurrent_trans.value.number(),
            )),
            total_workers: Some(config.total_workers()),
            effective_concurrency: Some(config.effective_concurrency()),
            connections_max: connections_max(config, machine, trial).map(|(_, connections)| connections),
            text: settings_text(config, machine, trial, &warnings),
            warnings,
            errors: trial.hindrance.iter().map(hindered).collect(),
            notes: config.notes.clone(),
        }
    }

    fn on_errors(errors: &ConfigErrors) -> Report {
        let error = |error: &ConfigError| ErrorReport {
            line: error.line,
            key: error.key.clone(),
            message: error.message(),
        };
        let count = errors.iter().count();
        let count = plural(u32::try_from(count).unwrap_or(u32::MAX), "error");
        Report {
            file: errors.file().map(|file| file.display().to_string()),
            ports: Vec::new(),
            max_concurrent_trans: None,
            total_workers: None,
            effective_concurrency: None,
            connections_max: None,
            warnings: Vec::new(),
            errors: errors.iter().map(error).collect(),
            notes: Vec::new(),
            text: format!("{errors}\n{count}: a server would not start\n"),
        }
    }
}

fn value<T>(setting: &Setting<T>, number: i64) -> ReportedValue {
    ReportedValue { value: number, source: setting.source.word(), line: setting.source.line() }
}

/// The limit of descriptors, and the connections that it leaves room for.
fn connections_max(config: &Config, machine: &Machine, trial: &StartCheck) -> Option<(u64, u64)> {
    let limit = machine.descriptors?;
    Some((limit, config.connections_max(limit.saturating_sub(trial.sockets))))
}

/// The whole text for a file without errors.
fn settings_text(config: &Config, machine: &Machine, trial: &StartCheck, warnings: &[Warning]) -> String {
    let file = config.file.as_ref().map_or("settings".to_owned(), |file| file.display().to_string());
    let outcome = match &trial.hindrance {
        Some(message) => format!("a server would not start: {message}"),
        None => "a server would start".to_owned(),
    };
    let mut text = format!("{file}: {outcome}\n\nIn force\n");
    let rows = rows(config);
    let width = rows.iter().map(|(setting, _)| setting.chars().count()).max().unwrap_or(0);
    for (setting, source) in &rows {
        put(&mut text, format_args!("  {setting:width$}  {source}\n"));
    }
    put(&mut text, format_args!("\nTogether\n"));
    let running = plural(config.effective_concurrency(), "transaction");
    put(&mut text, format_args!("  {}; {running} can run at once\n", advice::workers_in_words(config)));
    let stacks = advice::bytes_in_words(resource_check::stack_bytes(config));
    put(&mut text, format_args!("  stacks of the workers: {stacks} of virtual memory\n"));
    let buffers = advice::bytes_in_words(config.buffer_memory_bytes.value as u64);
    put(&mut text, format_args!("  messages of all connections: {buffers} at most\n"));
    if let Some((limit, connections)) = connections_max(config, machine, trial) {
        put(&mut text, format_args!("  descriptors: {limit}, which is room for {connections} connections\n"));
    }
    if !config.notes.is_empty() {
        text.push_str("\nNotes\n");
    }
    for note in &config.notes {
        put(&mut text, format_args!("  {note}\n"));
    }
    if !warnings.is_empty() {
        text.push_str("\nWarnings\n");
    }
    for Warning { code, message } in warnings {
        put(&mut text, format_args!("  {code}: {message}\n"));
    }
    text
}

/// Each setting as it would be written, with where it came from: the table's order, each port's beneath.
fn rows(config: &Config) -> Vec<(String, Source)> {
    let mut rows = Vec::new();
    for key in keys::all() {
        let mut row =
            |name: String, shown: Shown| rows.push((format!("{name}={}", shown.value), shown.source));
        match &key.slot {
            Accessor::Server { show, .. } => row(key.name().to_owned(), show(config)),
            Accessor::Port { show, .. } => {
                for port in config.ports.iter().chain(&config.disabled_ports) {
                    row(key.name_for(&port.name), show(port));
                }
            }
        }
    }
    rows
}

fn put(text: &mut String, words: std::fmt::Arguments<'_>) {
    text.write_fmt(words).expect("a String takes all that is written to it");
}
