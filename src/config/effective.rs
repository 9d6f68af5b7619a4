//! Every setting in force, one by one: the key as it is written in a file, the value, and where it came from.
//!
//! Knows the table of settings. Invariant: each is written so that a file could carry it.

use super::keys::{self, Accessor, Shown};
use super::{Config, Source};

/// One setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EffectiveSetting {
    /// Its key; of a port's, with the port's name.
    pub key: String,
    /// As it would be written.
    pub value: String,
    /// Where it came from.
    pub source: Source,
}

impl Config {
    /// Every setting, in the order of `server.ini`; those of ports for each port, the disabled ones included.
    pub fn effective(&self) -> Vec<EffectiveSetting> {
        let mut all = Vec::new();
        for key in keys::all() {
            let mut add =
                |key: String, Shown { value, source }| all.push(EffectiveSetting { key, value, source });
            match &key.slot {
                Accessor::Server { show, .. } => add(key.name().to_owned(), show(self)),
                Accessor::Port { show, .. } => {
                    for port in self.ports.iter().chain(&self.disabled_ports) {
                        add(key.name_for(&port.name), show(port));
                    }
                }
            }
        }
        all
    }
}
