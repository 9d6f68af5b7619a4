//! The one table of settings: the parser, `server.ini`, `boneyard check` and the docs are made from it.
//!
//! A new setting is one entry in a group of keys and one field of [`Config`]. The entry says how the value is written,
//! what it means, where it goes and how it is shown; nothing else has to learn of it.
//!
//! Must not know lines or files. Invariants: names are unique without regard to case; a per-port name begins with
//! `<Port>`; each fixed default is a value that its own type accepts (tests hold all three).

mod admin;
mod load;
mod peers;
mod pools;
mod process;
mod sessions;

use super::value_kind::{PortKind, ValueKind};
use super::{Config, PortConfig, Source};

/// What stands for a port's name in the name of a per-port key.
pub(super) const PORT_MARK: &str = "<Port>";

/// One setting.
#[allow(missing_debug_implementations, reason = "a table of functions has nothing to print")]
pub struct Key {
    name: &'static str,
    unit: &'static str,
    default: DefaultValue,
    /// A change takes effect while the server runs.
    reloadable: bool,
    doc: &'static str,
    pub(super) slot: Accessor,
}

/// What holds when no line gives the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DefaultValue {
    /// This value, written as in a file.
    ReportedValue(&'static str),
    /// What a rule computes: the rule in words, and what it gives on 2 CPUs.
    Rule { words: &'static str, on_two_cpus: &'static str },
}

/// Where a value goes and how it is read back.
pub(super) enum Accessor {
    /// A setting of the whole server.
    Server { kind: ValueKind, show: fn(&Config) -> Shown },
    /// A setting of one port.
    Port { kind: PortKind, show: fn(&PortConfig) -> Shown },
}

/// A value in force as text, with where it came from.
pub(super) struct Shown {
    pub(super) value: String,
    pub(super) source: Source,
}

fn shown(value: impl ToString, source: &Source) -> Shown {
    Shown { value: value.to_string(), source: source.clone() }
}

impl Key {
    /// Name as it is documented; a per-port key begins with `<Port>`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Unit of the value; empty when it has none.
    pub fn unit(&self) -> &'static str {
        self.unit
    }

    /// What holds when no line gives the key, in words or as it would be written.
    pub fn default(&self) -> &'static str {
        match self.default {
            DefaultValue::ReportedValue(text) => text,
            DefaultValue::Rule { words, .. } => words,
        }
    }

    /// What the key does, in sentences.
    pub fn doc(&self) -> &'static str {
        self.doc
    }

    /// Whether a change takes effect at once, while the server runs; else it does after a restart.
    pub fn is_at_once(&self) -> bool {
        self.reloadable
    }

    /// What a value may be, in words.
    pub fn range(&self) -> String {
        match &self.slot {
            Accessor::Server { kind, .. } => kind.expected(),
            Accessor::Port { kind, .. } => kind.expected(),
        }
    }

    /// Whether each port has a setting of this sort.
    pub fn is_per_port(&self) -> bool {
        matches!(self.slot, Accessor::Port { .. })
    }

    /// Whether no command changes it: it names a file, an address or what holds a secret.
    pub fn is_of_the_file_alone(&self) -> bool {
        match &self.slot {
            Accessor::Server { kind, .. } => kind.is_of_the_file_alone(),
            Accessor::Port { kind, .. } => kind.is_of_the_file_alone(),
        }
    }

    /// The default as it would be written into a file for a machine of 2 CPUs.
    pub(super) fn written_default(&self) -> &'static str {
        match self.default {
            DefaultValue::ReportedValue(text) => text,
            DefaultValue::Rule { on_two_cpus, .. } => on_two_cpus,
        }
    }

    /// The default, when it is a fixed value.
    pub(super) fn fixed_default(&self) -> Option<&'static str> {
        match self.default {
            DefaultValue::ReportedValue(text) => Some(text),
            DefaultValue::Rule { .. } => None,
        }
    }

    /// What follows the port's name in a per-port key.
    pub(super) fn suffix(&self) -> Option<&'static str> {
        self.is_per_port().then(|| self.name.strip_prefix(PORT_MARK).unwrap_or(self.name))
    }

    /// The name for one port.
    pub(super) fn name_for(&self, port: &str) -> String {
        self.name.replacen(PORT_MARK, port, 1)
    }
}

/// Endings of the per-port keys, the empty one of the driver line included.
pub(super) fn port_suffixes() -> impl Iterator<Item = &'static str> {
    all().filter_map(Key::suffix)
}

/// `text` without `suffix` at its end, letter case ignored; both are ASCII where this is used.
pub(super) fn strip_suffix_ignoring_case<'a>(text: &'a str, suffix: &str) -> Option<&'a str> {
    let (head, tail) = text.split_at_checked(text.len().checked_sub(suffix.len())?)?;
    tail.eq_ignore_ascii_case(suffix).then_some(head)
}

/// Every setting, in the order of `server.ini`.
pub fn all() -> impl Iterator<Item = &'static Key> + Clone {
    [pools::KEYS, load::KEYS, sessions::KEYS, peers::KEYS, admin::KEYS, process::KEYS].into_iter().flatten()
}

fn names(ports: &[PortConfig]) -> String {
    ports.iter().map(|port| port.name.as_str()).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_marked() {
        for (index, key) in all().enumerate() {
            let same = |other: &&Key| other.name.eq_ignore_ascii_case(key.name);
            assert!(!all().take(index).any(|other| same(&other)), "{}", key.name);
            assert_eq!(key.name.starts_with(PORT_MARK), key.is_per_port(), "{}", key.name);
            assert!(key.doc.ends_with('.') && !key.doc.contains("  "), "{}", key.name);
        }
    }

    #[test]
    fn what_is_shown_by_default_is_what_the_table_says() {
        let config = Config::default_with(2);
        for key in all() {
            let shown = match &key.slot {
                Accessor::Server { show, .. } => show(&config),
                Accessor::Port { show, .. } => show(&config.ports[0]),
            };
            assert_eq!(shown.value, key.written_default(), "{}", key.name);
            assert_eq!(shown.source.word(), "default", "{}", key.name);
        }
    }

    #[test]
    fn suffixes_are_found_in_any_case() {
        assert_eq!(strip_suffix_ignoring_case("LAN_pool_TASKS", "_Pool_Tasks"), Some("LAN"));
        assert_eq!(strip_suffix_ignoring_case("LAN", ""), Some("LAN"));
        assert_eq!(strip_suffix_ignoring_case("AN", "LAN"), None);
        assert_eq!(strip_suffix_ignoring_case("éa", "xa"), None);
    }
}
