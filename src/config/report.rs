//! Output of `boneyard check`: every effective value with its line or rule, then totals, notes and warnings.
//!
//! Two forms of the same facts: text for people ([`CheckReport::text`]) and JSON for programs (the `Serialize` of
//! [`CheckReport`]), whose names are stable. Invariant: a report has no errors and the server would start; or it has
//! errors of the file and no values; or it has values and one error that would prevent a start at this moment. Does not
//! read anything itself.

use super::advice::advise;
use super::error::{ConfigError, ConfigErrors};
use super::format::{bytes_in_words, plural, workers_in_words};
use super::keys::EffectiveSetting;
use super::remedy::Warning;
use super::requirements::{Machine, stack_bytes};
use super::settings::{Config, PortConfig};
use super::source::Setting;
use serde::Serialize;

/// Result of checking a file.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct CheckReport {
    /// The file; null for settings from elsewhere.
    pub file: Option<String>,
    /// Enabled ports in order; empty when the file has errors.
    pub ports: Vec<PortReport>,
    /// The throttle, -1 for unlimited; null when the file has errors.
    pub max_concurrent_trans: Option<ReportedValue>,
    /// Workers of all ports; null when the file has errors.
    pub total_workers: Option<u32>,
    /// Transactions that can actually run at once; null when the file has errors.
    pub effective_concurrency: Option<u32>,
    /// Connections possible at once over all ports; null when the file has errors or the limit is unknown.
    pub connections_max: Option<u64>,
    /// Warnings about the settings.
    pub warnings: Vec<Warning>,
    /// Errors of the file.
    pub errors: Vec<ErrorReport>,
    /// Lines that were read and ignored.
    pub notes: Vec<String>,
    #[serde(skip)]
    text: String,
}

/// A port in a [`CheckReport`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PortReport {
    /// Name as written.
    pub name: String,
    /// `host:port`, an IPv6 host in brackets.
    pub address: String,
    /// Its worker threads.
    pub pool_tasks: ReportedValue,
}

/// An effective number in a [`CheckReport`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReportedValue {
    /// The number.
    pub value: i64,
    /// `file`: a line gives this very value. `rule`: a rule computed it from lines of the file. `default`: no line
    /// contributes to it. (`program` in a report on settings that a program made.)
    pub source: &'static str,
    /// The line that gives the value or contributes to it.
    pub line: Option<u32>,
}

/// An error in a [`CheckReport`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ErrorReport {
    /// Line number from 1; null for an error of the whole file.
    pub line: Option<u32>,
    /// Key as written; null if the line has none.
    pub key: Option<String>,
    /// Text of the error without file and line.
    pub message: String,
}

/// Result of trying the start of a server with the settings.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StartCheck {
    /// Error that would prevent a start at this moment.
    pub error: Option<String>,
    /// Other findings.
    pub warnings: Vec<Warning>,
    /// Listening sockets in addition to one for each port; they reduce the number of connections.
    pub sockets: u64,
}

impl CheckReport {
    /// Returns the report on a file, on a machine with these limits.
    pub fn new(read: &Result<Config, ConfigErrors>, machine: &Machine) -> CheckReport {
        CheckReport::with_start_check(read, machine, &StartCheck::default())
    }

    /// Returns the report on a file together with the result of trying the start.
    pub fn with_start_check(
        read: &Result<Config, ConfigErrors>,
        machine: &Machine,
        check: &StartCheck,
    ) -> CheckReport {
        match read {
            Ok(config) => CheckReport::on_settings(config, machine, check),
            Err(errors) => CheckReport::on_errors(errors),
        }
    }

    /// Returns whether a server would start with this file, as far as the settings and the tried start show; `check`
    /// then exits with 0.
    pub fn would_start(&self) -> bool {
        self.errors.is_empty()
    }

    /// The report for people, with LF as line ends.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The report for programs: one JSON object, indented, followed by LF.
    pub fn json(&self) -> String {
        let mut text =
            serde_json::to_string_pretty(self).expect("strings and numbers always have a JSON form");
        text.push('\n');
        text
    }

    fn on_settings(config: &Config, machine: &Machine, check: &StartCheck) -> CheckReport {
        let mut warnings = advise(config, machine);
        warnings.extend(check.warnings.iter().cloned());
        let error = |message: &String| ErrorReport { line: None, key: None, message: message.clone() };
        let port = |port: &PortConfig| PortReport {
            name: port.name.clone(),
            address: port.address.to_string(),
            pool_tasks: value(&port.pool_tasks, i64::from(port.pool_tasks.value)),
        };
        CheckReport {
            file: config.file.as_ref().map(|file| file.display().to_string()),
            ports: config.ports.iter().map(port).collect(),
            max_concurrent_trans: Some(value(
                &config.max_concurrent_trans,
                config.max_concurrent_trans.value.number(),
            )),
            total_workers: Some(config.total_workers()),
            effective_concurrency: Some(config.effective_concurrency()),
            connections_max: connections_max(config, machine, check).map(|(_, connections)| connections),
            text: settings_text(config, machine, check, &warnings),
            warnings,
            errors: check.error.iter().map(error).collect(),
            notes: config.notes.clone(),
        }
    }

    fn on_errors(errors: &ConfigErrors) -> CheckReport {
        let error = |error: &ConfigError| ErrorReport {
            line: error.line,
            key: error.key.clone(),
            message: error.message(),
        };
        let count = plural(errors.iter().count(), "error");
        CheckReport {
            file: errors.file().map(|file| file.display().to_string()),
            errors: errors.iter().map(error).collect(),
            text: format!("{errors}\n{count}: a server would not start\n"),
            ..CheckReport::default()
        }
    }
}

fn value<T>(setting: &Setting<T>, number: i64) -> ReportedValue {
    ReportedValue { value: number, source: setting.source.word(), line: setting.source.line() }
}

/// The limit of descriptors, and the number of connections that it allows.
fn connections_max(config: &Config, machine: &Machine, check: &StartCheck) -> Option<(u64, u64)> {
    let limit = machine.descriptors?;
    Some((limit, config.connections_max(limit.saturating_sub(check.sockets))))
}

/// The whole text for a file without errors.
fn settings_text(config: &Config, machine: &Machine, check: &StartCheck, warnings: &[Warning]) -> String {
    let file = config.file.as_ref().map_or("settings".to_owned(), |file| file.display().to_string());
    let outcome = match &check.error {
        Some(message) => format!("a server would not start: {message}"),
        None => "a server would start".to_owned(),
    };
    let mut text = format!("{file}: {outcome}\n\nEffective settings\n");
    let row = |EffectiveSetting { key, value, source }| (format!("{key}={value}"), source.to_string());
    let rows: Vec<_> = config.effective().into_iter().map(row).collect();
    let width = rows.iter().map(|(setting, _)| setting.chars().count()).max().unwrap_or(0);
    for (setting, source) in &rows {
        text += &format!("  {setting:width$}  {source}\n");
    }
    text.push_str("\nTotals\n");
    let running = plural(config.effective_concurrency(), "transaction");
    text += &format!("  {}; {running} can run at once\n", workers_in_words(config));
    let stacks = bytes_in_words(stack_bytes(config));
    text += &format!("  worker stacks: {stacks} of virtual memory\n");
    let buffers = bytes_in_words(config.buffer_memory_bytes.value as u64);
    text += &format!("  message buffers of all connections: {buffers} at most\n");
    if let Some((limit, connections)) = connections_max(config, machine, check) {
        text += &format!("  descriptors: {limit}, which allow {connections} connections\n");
    }
    if !config.notes.is_empty() {
        text.push_str("\nNotes\n");
    }
    for note in &config.notes {
        text += &format!("  {note}\n");
    }
    if !warnings.is_empty() {
        text.push_str("\nWarnings\n");
    }
    for Warning { code, message } in warnings {
        text += &format!("  {code}: {message}\n");
    }
    text
}
