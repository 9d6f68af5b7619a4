//! The settings in force, and how one is changed while the server runs.
//!
//! First the new value is read by the table of settings, then it is written into the file, then it takes effect: what
//! cannot be written changes nothing, save where the file is read-only: then what counts at once does so, and is said
//! not to be kept. One change at a time; who looks at the settings meanwhile does not wait for the
//! disk, and who wants to change another waits for [`TURN_MAX`]: a disk that hangs holds up one command, not all.

use super::LiveControl;
use super::settings_file::{self, SettingsFileError};
use crate::config::read_line;
use crate::config::{Config, Limit};
use crate::monitor::SettingChange;
use crate::server::derived_settings::codel_rules;
use crate::server::machine;
use crate::sync::{Condvar, Mutex};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long a change before this one is waited for.
const TURN_MAX: Duration = Duration::from_secs(5);

/// The settings in force, and those written for the next start.
#[derive(Debug)]
pub(super) struct LiveSettings {
    /// Somebody changes them, and the disk may be writing.
    changing: Mutex<bool>,
    changed: Condvar,
    effective: Mutex<Config>,
    at_restart: Mutex<BTreeMap<String, String>>,
}

/// Leave to change the settings. Dropping it gives it to the next.
struct WorkerSlot<'a>(&'a LiveSettings);

impl Drop for WorkerSlot<'_> {
    fn drop(&mut self) {
        *self.0.changing.lock() = false;
        self.0.changed.notify_one();
    }
}

/// Puts the settings in force where they are looked up. `false`: that cannot be while the server runs.
type Effect = fn(&LiveControl, &Config) -> bool;

/// Keys whose values are kept elsewhere than in the settings in force. Of others that take effect at once, whoever
/// needs the value looks it up there.
const EFFECTS: [(&str, Effect); 11] = [
    ("Server_Max_Concurrent_Trans", |control, config| {
        let limit = match config.max_concurrent_trans.value {
            Limit::Unlimited => None,
            Limit::AtMost(limit) => Some(limit),
        };
        control.shared.throttle.set_limit(limit);
        true
    }),
    ("Server_Queue_Limit", |control, config| {
        // All queues were made for the same number, so all take it or none.
        control.ports.iter().all(|port| port.shared.queue.set_calls_max(config.queue_limit.value as usize))
    }),
    ("Server_CoDel_Target", set_codel),
    ("Server_CoDel_Interval", set_codel),
    ("Server_CoDel_Mode", set_codel),
    ("Server_Long_Transaction", |control, config| {
        control.set_long_transaction(config.long_transaction.value);
        true
    }),
    ("Server_Session_Timeout", set_sessions),
    ("Server_MaxSessions", set_sessions),
    ("Server_MaxUsers", set_sessions),
    ("Log_Sessions", set_sessions),
    ("Log_Level", |control, config| control.program.set_log_level(config.log_level.value)),
];

fn set_codel(control: &LiveControl, config: &Config) -> bool {
    control.ports.iter().for_each(|port| port.shared.codel.set_rules(codel_rules(config)));
    true
}

fn set_sessions(control: &LiveControl, config: &Config) -> bool {
    control.sessions.configure(config, Instant::now());
    true
}

impl LiveSettings {
    pub(super) fn new(config: &Config) -> LiveSettings {
        LiveSettings {
            changing: Mutex::new(false),
            changed: Condvar::new(),
            effective: Mutex::new(config.clone()),
            at_restart: Mutex::default(),
        }
    }

    pub(super) fn at_restart(&self) -> BTreeMap<String, String> {
        self.at_restart.lock().clone()
    }

    /// Waits for a change that is being made, but not for long.
    fn take_turn(&self, patience: Duration) -> Result<WorkerSlot<'_>, String> {
        let deadline = Instant::now() + patience;
        let mut changing = self.changing.lock();
        while *changing {
            if self.changed.wait_until(&mut changing, deadline).timed_out() && *changing {
                return Err("another setting is still being written; nothing has changed".to_owned());
            }
        }
        *changing = true;
        Ok(WorkerSlot(self))
    }

    pub(super) fn effective(&self) -> Config {
        self.effective.lock().clone()
    }
}

impl LiveControl {
    pub(super) fn change(&self, key: &str, value: &str) -> Result<SettingChange, String> {
        let _turn = self.settings.take_turn(TURN_MAX)?;
        let before = self.settings.effective();
        let line = read_line(&before, key, value).map_err(|errors| errors.messages())?;
        if line.key().is_file_only() {
            return Err(format!(
                "{} is set in the settings file alone: no command changes a key that names a file, an address or a secret",
                line.name()
            ));
        }
        let reloadable = line.key().is_reloadable();
        let file = before.file.as_deref().map(|path| settings_file::write(path, &line, machine::cpus()));
        let (number, not_kept) = match file.transpose() {
            Ok(number) => (number, None),
            Err(SettingsFileError::ReadOnly(why)) if reloadable => (None, Some(why)),
            Err(unwritten) => return Err(unwritten.into_words()),
        };
        let unchanged = before.effective().iter().any(|s| s.key == line.name() && s.value == line.value());
        let mut after = before;
        line.store(&mut after, number);
        let effective = reloadable && self.take_effect(line.key().name(), &after);
        // The same value as before is in force as well, now by a line.
        if effective || unchanged && number.is_some() {
            *self.settings.effective.lock() = after;
        } else if number.is_none() {
            let name = line.name();
            let why = not_kept.unwrap_or_else(|| "this server has no file to keep it in".to_owned());
            return Err(format!("{name}={} takes a restart, and {why}", line.value()));
        }
        let mut at_restart = self.settings.at_restart.lock();
        if effective || unchanged {
            at_restart.remove(line.name());
        } else {
            at_restart.insert(line.name().to_owned(), line.value().to_owned());
        }
        drop(at_restart);
        log::info!(
            "{}={} was set{}",
            line.name(),
            line.value(),
            match (effective, &not_kept) {
                (true, None) => "",
                (true, Some(_)) => " until the next start",
                (false, _) => " for the next start",
            }
        );
        Ok(SettingChange { effective, written: number.is_some(), not_kept })
    }

    fn take_effect(&self, key: &str, after: &Config) -> bool {
        if key == "Server_Restricted" {
            // Also where the file said so before and the program has let sessions in since.
            self.sessions.restrict(after.restricted.value > 0);
        }
        EFFECTS.iter().find(|(name, _)| *name == key).is_none_or(|(_, effect)| effect(self, after))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::keys;

    #[test]
    fn one_change_is_made_at_a_time_and_none_is_waited_for_without_end() {
        let settings = LiveSettings::new(&Config::default_with(2));
        let first = settings.take_turn(Duration::ZERO).unwrap();
        assert!(settings.take_turn(Duration::ZERO).is_err());
        std::thread::scope(|scope| {
            let next = scope.spawn(|| settings.take_turn(Duration::from_secs(30)).is_ok());
            drop(first);
            assert!(next.join().unwrap());
        });
        assert!(settings.take_turn(Duration::ZERO).is_ok(), "it was given back");
    }

    #[test]
    fn what_has_an_effect_here_is_said_to_be_changed_at_once() {
        for (name, _) in EFFECTS {
            assert!(keys::all().any(|key| key.name() == name && key.is_reloadable()), "{name}");
        }
    }
}
