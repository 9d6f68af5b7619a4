//! All rows together, and the effective value of each, written so that a file could contain it.

use super::key::{Accessor, Key, ShownValue, shown};
use super::{admin, load, peers, pools, process, sessions};
use crate::config::program::ProgramSection;
use crate::config::settings::Config;
use crate::config::source::{Setting, Source};

/// Every setting, in the order of `server.ini`.
pub fn all() -> impl Iterator<Item = &'static Key> + Clone {
    [pools::KEYS, load::KEYS, sessions::KEYS, peers::KEYS, admin::KEYS, process::KEYS].into_iter().flatten()
}

/// Suffixes of the per-port keys, including the empty one of the driver line.
pub(in crate::config) fn port_suffixes() -> impl Iterator<Item = &'static str> {
    all().filter_map(Key::suffix)
}

/// One effective setting.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EffectiveSetting {
    /// Its key; of a per-port key, with the port's name.
    pub key: String,
    /// Its value as it would be written.
    pub value: String,
    /// Its source.
    pub source: Source,
}

impl Config {
    /// Every setting, in the order of `server.ini`; per-port settings for each port, disabled ones included; and the
    /// limits of methods.
    pub fn effective(&self) -> Vec<EffectiveSetting> {
        let setting = |key, ShownValue { value, source }| EffectiveSetting { key, value, source };
        let mut settings = Vec::new();
        for key in all() {
            match &key.accessor {
                Accessor::Server { show, .. } => settings.push(setting(key.name().to_owned(), show(self))),
                Accessor::Port { show, .. } => {
                    settings
                        .extend(self.all_ports().map(|port| setting(key.name_for(&port.name), show(port))));
                }
            }
        }
        settings.extend(
            self.method_limits
                .iter()
                .map(|line| setting(line.method.clone(), shown(line.value(), &line.limit.source))),
        );
        for (key, Setting { value, source }) in self.program.iter().flat_map(ProgramSection::effective) {
            settings.push(setting(key.to_owned(), shown(value, source)));
        }
        settings
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn names_are_unique_and_marked() {
        for (index, key) in all().enumerate() {
            let same = |other: &&Key| other.name().eq_ignore_ascii_case(key.name());
            assert!(!all().take(index).any(|other| same(&other)), "{}", key.name());
            assert_eq!(key.name().starts_with("<Port>"), key.is_per_port(), "{}", key.name());
            assert!(key.doc().ends_with('.') && !key.doc().contains("  "), "{}", key.name());
        }
    }

    #[test]
    fn the_effective_defaults_are_those_of_the_table() {
        let effective = Config::default_with(2).effective();
        assert_eq!(effective.len(), all().count(), "one port, so one value a key");
        for (key, setting) in all().zip(effective) {
            assert_eq!(setting.key, key.name_for("TCPIP"));
            assert_eq!(setting.value, key.written_default(), "{}", key.name());
            assert_eq!(setting.source.word(), "default", "{}", key.name());
        }
    }
}
