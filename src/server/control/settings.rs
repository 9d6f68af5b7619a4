//! Changes a setting while the server runs.
//!
//! First the settings table parses the new value, then it is written to the file, then it takes effect. Invariant: a
//! value that cannot be written changes nothing, except where the file is read-only: then a reloadable value takes
//! effect and is reported as not kept.

use super::live_control::LiveControl;
use super::live_settings::CHANGE_TIMEOUT;
use super::settings_file::{self, SettingsFileError};
use crate::config::{Config, LineTarget, SettingLine, check_methods, read_line};
use crate::monitor::{ControlError, SettingChange};
use crate::server::derived_settings::{codel_rules, method_limit, permits_max};
use crate::server::listener::ListenerCommand;
use std::time::Instant;

/// Copies a setting to where it is used. Returns `false` if that is not possible while the server runs.
type Effect = fn(&LiveControl, &Config) -> bool;

/// Keys whose values are also kept outside the settings in force. Other reloadable values are read from these.
const EFFECTS: [(&str, Effect); 12] = [
    ("Server_Max_Concurrent_Trans", |control, config| {
        control.shared.throttle.set_limit(permits_max(config));
        true
    }),
    ("Server_Queue_Limit", |control, config| {
        // All queues were created for the same number, so all accept it or none.
        control.ports.iter().all(|port| port.shared.queue.set_calls_max(config.queue_limit.value as usize))
    }),
    ("Server_Client_Calls", |control, config| {
        control.client_calls.set_limit(config.client_calls.value);
        if control.client_calls.is_limited() {
            control.ports.iter().for_each(|port| port.listener.send(ListenerCommand::CountClients));
        }
        true
    }),
    ("Server_CoDel_Target", set_codel),
    ("Server_CoDel_Interval", set_codel),
    ("Server_CoDel_Mode", set_codel),
    ("Server_Long_Transaction", |control, config| {
        let command = || ListenerCommand::SetLongTransaction(config.long_transaction.value);
        control.ports.iter().for_each(|port| port.listener.send(command()));
        true
    }),
    ("Server_Session_Timeout", set_sessions),
    ("Server_MaxSessions", set_sessions),
    ("Server_MaxUsers", set_sessions),
    ("Log_Sessions", set_sessions),
    ("Log_Level", |control, config| control.hooks.set_log_level(config.log_level.value)),
];

fn set_codel(control: &LiveControl, config: &Config) -> bool {
    control.ports.iter().for_each(|port| port.shared.codel.set_rules(codel_rules(config)));
    true
}

fn set_sessions(control: &LiveControl, config: &Config) -> bool {
    control.sessions.configure(config, Instant::now());
    true
}

impl LiveControl {
    pub(super) fn change(&self, key: &str, value: &str) -> Result<SettingChange, ControlError> {
        let _guard = self.settings.begin_change(CHANGE_TIMEOUT)?;
        let before = self.settings.effective();
        let line = read_line(&before, key, value)
            .map_err(|errors| ControlError::InvalidSetting(errors.messages()))?;
        if line.is_file_only() {
            return Err(ControlError::FileOnly(line.name.clone()));
        }
        self.check_method(&line)?;
        let reloadable = line.is_reloadable();
        let file =
            before.file.as_deref().map(|path| settings_file::write(path, &line, before.program.as_ref()));
        let (number, not_kept) = match file.transpose() {
            Ok(number) => (number, None),
            Err(SettingsFileError::ReadOnly(reason)) if reloadable => (None, Some(reason)),
            Err(error) => return Err(ControlError::InvalidSetting(error.to_string())),
        };
        let unchanged = before.effective().iter().any(|s| s.key == line.name && s.value == line.value);
        let mut after = before;
        line.store(&mut after, number);
        let effective = reloadable && self.take_effect(&line, &after);
        // The same value as before is in force as well, now by a line.
        if effective || unchanged && number.is_some() {
            self.settings.set_effective(after);
        } else if number.is_none() {
            return Err(ControlError::RestartNeeded {
                setting: format!("{}={}", line.name, line.value),
                reason: not_kept.unwrap_or_else(|| "this server has no file to keep it in".to_owned()),
            });
        }
        let mut at_restart = self.settings.at_restart.lock();
        if effective || unchanged {
            at_restart.remove(&line.name);
        } else {
            at_restart.insert(line.name.clone(), line.value.clone());
        }
        drop(at_restart);
        log::info!(
            "setting changed, {}={} effective={}",
            line.name,
            line.value,
            match (effective, &not_kept) {
                (true, None) => "now",
                (true, Some(_)) => "until_restart",
                (false, _) => "after_restart",
            }
        );
        Ok(SettingChange { effective, written: number.is_some(), not_kept })
    }

    /// Checks that a limit is for a method that the server has.
    fn check_method(&self, line: &SettingLine) -> Result<(), ControlError> {
        let mut config = Config::default_with(1);
        line.store(&mut config, None);
        let known: Vec<String> = self.methods.iter().map(|name| name.to_string()).collect();
        check_methods(&config.method_limits, None, &known)
            .map_err(|errors| ControlError::InvalidSetting(errors.messages()))
    }

    /// Sets the limit of a method.
    fn limit_method(&self, name: &str, after: &Config) {
        let limit = after.method_limits.iter().find(|limit| limit.is_for(name)).and_then(method_limit);
        let ports = self.ports.iter().map(|port| &*port.shared);
        if let Some(method) = self.shared.services.find(name) {
            self.shared.limit_method(ports, method, limit);
        }
    }

    fn take_effect(&self, line: &SettingLine, after: &Config) -> bool {
        let key = match line.target {
            LineTarget::Key(key) => key.name(),
            LineTarget::Limit => {
                self.limit_method(&line.name, after);
                return true;
            }
            LineTarget::Program => return false,
        };
        if key == "Server_Restricted" {
            // Also if the file had this value before and the program has changed it since.
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
    fn every_key_with_an_effect_is_reloadable() {
        for (name, _) in EFFECTS {
            assert!(keys::all().any(|key| key.name() == name && key.is_reloadable()), "{name}");
        }
    }
}
