//! Every effective setting, one by one: the key as it is written in a file, the value, and its source.
//!
//! Invariant: each value is written so that a file could contain it.

use super::keys::{self, Accessor};
use super::settings::Config;
use super::source::Source;

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
    /// Every setting, in the order of `server.ini`; per-port settings for each port, disabled ones included.
    pub fn effective(&self) -> Vec<EffectiveSetting> {
        let mut all = Vec::new();
        for key in keys::all() {
            match &key.accessor {
                Accessor::Server { show, .. } => all.push((key.name().to_owned(), show(self))),
                Accessor::Port { show, .. } => {
                    all.extend(self.all_ports().map(|port| (key.name_for(&port.name), show(port))));
                }
            }
        }
        let setting = |(key, shown): (_, keys::ShownValue)| EffectiveSetting {
            key,
            value: shown.value,
            source: shown.source,
        };
        all.into_iter().map(setting).collect()
    }
}
