//! whatif: the present load under other settings, simulated.

use super::grammar::{CommandError, SyntaxError};
use crate::config::{Config, with_line};
use crate::monitor::control::ControlError;
use crate::monitor::format::{factor, percent, plain, rounded, short_time};
use crate::monitor::server_monitor::ServerMonitor;
use crate::monitor::simulation::{Expectation, LimitedBy, Workload, change, expect};
use crate::monitor::text_page::TextPage;

/// The word for a reply in JSON.
const JSON: &str = "json";

/// Simulates the load of the last seconds under settings, each `KEY=VALUE`.
pub(super) fn show(monitor: &ServerMonitor, arguments: &[String]) -> Result<String, CommandError> {
    let (json, lines) = match arguments {
        [word, lines @ ..] if word.eq_ignore_ascii_case(JSON) => (true, lines),
        lines => (false, lines),
    };
    let before = monitor.control().config();
    let after = settings(&before, lines)?;
    let refused = |reason: &str| CommandError::Refused(ControlError::ServiceFailed(reason.to_owned()));
    let turn = monitor.console.begin_simulation();
    let _turn = turn.ok_or_else(|| refused("another simulation is running: try again when it has ended"))?;
    let load = monitor
        .workload()
        .ok_or_else(|| refused("nothing was called in the last seconds: there is no load to simulate"))?;
    are_called(&load, &before, &after)?;
    let expected = expect(&load, &change(&load, &before, &after));
    Ok(if json { as_json(&expected)? } else { as_text(&expected) })
}

/// The settings with these lines in place of those in force.
fn settings(before: &Config, lines: &[String]) -> Result<Config, CommandError> {
    if lines.is_empty() {
        return Err(SyntaxError::TooFew.into());
    }
    let mut after = before.clone();
    for line in lines {
        let (key, value) = line.split_once('=').ok_or(SyntaxError::TooFew)?;
        let (key, value) = (key.trim(), value.trim());
        after = with_line(&after, key, value).map_err(|errors| CommandError::NotFound(errors.messages()))?;
        if !is_simulated(before, &after) {
            return Err(CommandError::NotFound(format!("{key} has no part in the simulation")));
        }
    }
    Ok(after)
}

/// Returns whether nothing differs but what the simulation knows.
fn is_simulated(before: &Config, after: &Config) -> bool {
    let mut rest = after.clone();
    rest.max_concurrent_trans = before.max_concurrent_trans.clone();
    rest.pool_tasks = before.pool_tasks.clone();
    rest.queue_limit = before.queue_limit.clone();
    rest.session_calls = before.session_calls.clone();
    rest.method_limits = before.method_limits.clone();
    let ports = rest.ports.iter_mut().zip(&before.ports);
    let disabled = rest.disabled_ports.iter_mut().zip(&before.disabled_ports);
    ports.chain(disabled).for_each(|(port, before)| port.pool_tasks = before.pool_tasks.clone());
    rest == *before
}

/// Refuses limits of methods that the load does not name: they would change nothing.
fn are_called(load: &Workload, before: &Config, after: &Config) -> Result<(), CommandError> {
    let methods = load.ports.iter().flat_map(|port| &port.methods);
    let changed = after.method_limits.iter().filter(|line| !before.method_limits.contains(line));
    for line in changed {
        if !methods.clone().any(|method| line.is_for(&method.name)) {
            let text = format!("{} has no part in the present load", line.method);
            return Err(CommandError::NotFound(text));
        }
    }
    Ok(())
}

fn as_json(expected: &Expectation) -> Result<String, CommandError> {
    let text = serde_json::to_string(expected);
    let text = text.map_err(|error| ControlError::ServiceFailed(error.to_string()))?;
    Ok(text + "\n")
}

fn as_text(expected: &Expectation) -> String {
    let mut page = TextPage::default();
    page.label("Calls/second now", rounded(expected.now_per_s));
    page.label(
        "Expected",
        format_args!(
            "{} ({}), from {} to {}",
            rounded(expected.per_s),
            factor(expected.factor),
            rounded(expected.low),
            rounded(expected.high)
        ),
    );
    for port in &expected.ports {
        let refused = match port.refused_per_s {
            none if none < 0.05 => String::new(),
            some => format!("; {} refused", rounded(some)),
        };
        let port = format!(
            "{}: {}/s{refused}; a call waits for {} and runs for {}",
            port.name,
            rounded(port.per_s),
            short_time(port.wait_s),
            short_time(port.run_s)
        );
        page.label("Port", plain(&port));
    }
    page.label("Limited then by", plain(&limit(&expected.limited_by)));
    page.label(
        "Error of the model",
        format_args!("{} under the settings in force", percent(expected.model_error)),
    );
    if !expected.certain {
        page.line(
            "Not certain: more calls would run at once than were seen, and they may wait for something outside the \
             server.",
        );
    }
    page.0
}

fn limit(limit: &LimitedBy) -> String {
    match limit {
        LimitedBy::Demand => "nothing: no more is asked for".to_owned(),
        LimitedBy::Workers { port } => format!("the workers of port {port}"),
        LimitedBy::Permits => "Server_Max_Concurrent_Trans".to_owned(),
        LimitedBy::Processors => "the processors".to_owned(),
        LimitedBy::Contention { method } => format!("what the calls of {method} share"),
        LimitedBy::MethodLimit { method } => format!("the limit of {method}"),
    }
}
