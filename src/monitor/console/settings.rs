//! show config and set config.

use super::Failure;
use super::act::{line, note_performance};
use super::grammar::Wrong;
use super::layout::{Page, plain};
use crate::config::remedy::pools_kept;
use crate::monitor::ServerMonitor;
use crate::monitor::format::is_like;

/// The key that has a part in the size of pools without a line.
const THROTTLE: &str = "Server_Max_Concurrent_Trans";

/// Keys of all settings, those of ports for each port.
pub(super) fn keys(monitor: &ServerMonitor) -> impl Iterator<Item = String> {
    monitor.control().config().effective().into_iter().map(|setting| setting.key)
}

/// All settings, the one of this key, or those that begin so.
pub(super) fn show(monitor: &ServerMonitor, arguments: &[String]) -> Result<String, Failure> {
    let mut all = monitor.control().config().effective();
    if let Some(key) = arguments.first() {
        let exact = all.iter().position(|setting| setting.key.eq_ignore_ascii_case(key));
        match exact {
            Some(place) => all = vec![all.swap_remove(place)],
            None => {
                let pattern = key.clone() + "*";
                all.retain(|setting| is_like(&setting.key, &pattern));
            }
        }
        if all.is_empty() {
            return Err(Failure::NoSuch(format!("No setting {key}")));
        }
    }
    let lines: Vec<_> = all.iter().map(|setting| line(&setting.key, &setting.value)).collect();
    let width = lines.iter().map(|line| line.chars().count()).max().unwrap_or(0).min(60);
    let at_restart = monitor.control().at_restart();
    let mut page = Page::default();
    for (line, setting) in lines.iter().zip(&all) {
        let later = at_restart.get(&setting.key);
        let later = later.map_or_else(String::new, |value| format!("; after a restart {value}"));
        page.say(format_args!("{line:width$}  ({})", plain(&format!("{}{later}", setting.source))));
    }
    Ok(page.0)
}

/// `KEY=VALUE`, be it in several words.
pub(super) fn set(monitor: &ServerMonitor, arguments: &[String]) -> Result<String, Failure> {
    let assignment = arguments.join(" ");
    let (key, value) = assignment.split_once('=').ok_or(Wrong::TooFew)?;
    let (key, value) = (key.trim(), value.trim());
    let control = monitor.control();
    let change = control.set(key, value).map_err(Failure::Refused)?;
    let mut page = Page::default();
    page.say(line(key, value));
    if change.effective {
        note_performance(monitor, key);
        page.say("In force from now on.");
    } else {
        page.say("In force after a restart of the server.");
    }
    match (control.config().file, change.not_kept) {
        (_, Some(why)) => page.say(plain(&format!("Not kept over a restart: {why}."))),
        (Some(file), None) if change.written => page.say(plain(&format!("Written to {}.", file.display()))),
        (None, None) if change.written => page.say("Written to the settings file."),
        _ => page.say("Not written: the server has no settings file."),
    }
    let config = control.config();
    let follow = change.written
        && key.eq_ignore_ascii_case(THROTTLE)
        && !control.at_restart().contains_key("Server_Pool_Tasks");
    let keeps = pools_kept(&config).filter(|_| follow);
    if let Some(line) = keeps {
        let rule = config.pool_rule.value;
        page.say(plain(&format!(
            "From the next start on rule {rule} sizes the pools by it; {line} keeps them as they are."
        )));
    }
    Ok(page.0)
}
