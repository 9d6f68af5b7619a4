//! All rows together.

use super::key::Key;
use super::{admin, load, peers, pools, process, sessions};

/// Every setting, in the order of `server.ini`.
pub fn all() -> impl Iterator<Item = &'static Key> + Clone {
    [pools::KEYS, load::KEYS, sessions::KEYS, peers::KEYS, admin::KEYS, process::KEYS].into_iter().flatten()
}

/// Suffixes of the per-port keys, including the empty one of the driver line.
pub(in crate::config) fn port_suffixes() -> impl Iterator<Item = &'static str> {
    all().filter_map(Key::suffix)
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
