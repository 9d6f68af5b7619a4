//! show config and set config.

use super::actions::{follow_performance, line};
use super::grammar::{CommandError, SyntaxError};
use crate::config::remedy::pools_kept;
use crate::monitor::format::{matches_pattern, plain};
use crate::monitor::server_monitor::ServerMonitor;
use crate::monitor::text_page::TextPage;

/// The key by which pools without a line of their own are sized.
const THROTTLE: &str = "Server_Max_Concurrent_Trans";

/// Returns the keys of all settings, those of ports for each port.
pub(super) fn keys(monitor: &ServerMonitor) -> impl Iterator<Item = String> {
    monitor.control().config().effective().into_iter().map(|setting| setting.key)
}

/// Shows all settings, the one of this key, or those that begin so.
pub(super) fn show(monitor: &ServerMonitor, arguments: &[String]) -> Result<String, CommandError> {
    let mut all = monitor.control().config().effective();
    if let Some(key) = arguments.first() {
        let exact = all.iter().position(|setting| setting.key.eq_ignore_ascii_case(key));
        match exact {
            Some(place) => all = vec![all.swap_remove(place)],
            None => {
                let beginning = key.clone() + "*";
                all.retain(|setting| matches_pattern(&setting.key, &beginning));
            }
        }
        if all.is_empty() {
            return Err(CommandError::NotFound(format!("No setting {key}")));
        }
    }
    let lines: Vec<_> = all.iter().map(|setting| line(&setting.key, &setting.value)).collect();
    let width = lines.iter().map(|line| line.chars().count()).max().unwrap_or(0).min(60);
    let at_restart = monitor.control().at_restart();
    let mut page = TextPage::default();
    for (line, setting) in lines.iter().zip(&all) {
        let later = at_restart.get(&setting.key);
        let later = later.map_or_else(String::new, |value| format!("; after a restart {value}"));
        page.line(format_args!("{line:width$}  ({})", plain(&format!("{}{later}", setting.source))));
    }
    Ok(page.0)
}

/// Changes a setting: `KEY=VALUE`, which may be several words.
pub(super) fn set(monitor: &ServerMonitor, arguments: &[String]) -> Result<String, CommandError> {
    let assignment = arguments.join(" ");
    let (key, value) = assignment.split_once('=').ok_or(SyntaxError::TooFew)?;
    let (key, value) = (key.trim(), value.trim());
    let control = monitor.control();
    let change = control.set(key, value)?;
    let mut page = TextPage::default();
    page.line(line(key, value));
    if change.effective {
        follow_performance(monitor, key);
        page.line("In force from now on.");
    } else {
        page.line("In force after a restart of the server.");
    }
    match (control.config().file, change.not_kept) {
        (_, Some(why)) => page.line(plain(&format!("Not kept over a restart: {why}."))),
        (Some(file), None) if change.written => page.line(plain(&format!("Written to {}.", file.display()))),
        (None, None) if change.written => page.line("Written to the settings file."),
        _ => page.line("Not written: the server has no settings file."),
    }
    let config = control.config();
    let follow = change.written
        && key.eq_ignore_ascii_case(THROTTLE)
        && !control.at_restart().contains_key("Server_Pool_Tasks");
    let keeps = pools_kept(&config).filter(|_| follow);
    if let Some(line) = keeps {
        let rule = config.pool_rule.value;
        page.line(plain(&format!(
            "From the next start on rule {rule} sizes the pools by it; {line} keeps them as they are."
        )));
    }
    Ok(page.0)
}
