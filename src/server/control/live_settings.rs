//! The settings in force, and those written for the next start.
//!
//! Invariant: one change at a time, and reading does not wait for it. A change waits for the one before it for
//! [`CHANGE_TIMEOUT`] at most: a disk that hangs delays one command and not all.

use crate::config::Config;
use crate::monitor::ControlError;
use crate::sync::{Condvar, Mutex};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long a change waits for the one before it.
pub(super) const CHANGE_TIMEOUT: Duration = Duration::from_secs(5);

/// The settings in force, and those written for the next start.
#[derive(Debug)]
pub(super) struct LiveSettings {
    /// A change is being made, and the disk may be writing.
    changing: Mutex<bool>,
    changed: Condvar,
    effective: Mutex<Config>,
    pub(super) at_restart: Mutex<BTreeMap<String, String>>,
}

/// Exclusive right to change the settings; released on drop.
pub(super) struct ChangeGuard<'a>(&'a LiveSettings);

impl Drop for ChangeGuard<'_> {
    fn drop(&mut self) {
        *self.0.changing.lock() = false;
        self.0.changed.notify_one();
    }
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

    pub(super) fn effective(&self) -> Config {
        self.effective.lock().clone()
    }

    pub(super) fn set_effective(&self, config: Config) {
        *self.effective.lock() = config;
    }

    /// Waits until no other change is being made, up to `timeout`.
    pub(super) fn begin_change(&self, timeout: Duration) -> Result<ChangeGuard<'_>, ControlError> {
        let deadline = Instant::now() + timeout;
        let mut changing = self.changing.lock();
        while *changing {
            if self.changed.wait_until(&mut changing, deadline).timed_out() && *changing {
                return Err(ControlError::SettingsBusy);
            }
        }
        *changing = true;
        Ok(ChangeGuard(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_change_is_made_at_a_time_and_waits_for_another_no_longer_than_its_timeout() {
        let settings = LiveSettings::new(&Config::default_with(2));
        let first = settings.begin_change(Duration::ZERO).unwrap();
        assert!(settings.begin_change(Duration::ZERO).is_err());
        std::thread::scope(|scope| {
            let next = scope.spawn(|| settings.begin_change(Duration::from_secs(30)).is_ok());
            drop(first);
            assert!(next.join().unwrap());
        });
        assert!(settings.begin_change(Duration::ZERO).is_ok(), "it was released");
    }
}
