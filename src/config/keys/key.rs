//! One row of the table of settings.

use crate::config::listen_address::ListenAddress;
use crate::config::settings::{Config, PortConfig};
use crate::config::source::Source;
use crate::config::value_kind::{PortKind, ValueKind};
use std::path::PathBuf;
use std::time::Duration;

/// Placeholder for a port's name in the name of a per-port key.
const PORT_MARK: &str = "<Port>";

/// One setting: its name, unit, default, documentation and place in a [`Config`].
#[allow(missing_debug_implementations, reason = "a table of functions has nothing to print")]
pub struct Key {
    pub(super) name: &'static str,
    pub(super) unit: &'static str,
    pub(super) default: DefaultValue,
    /// Whether a change takes effect while the server runs.
    pub(super) reloadable: bool,
    pub(super) doc: &'static str,
    pub(in crate::config) accessor: Accessor,
}

/// Value of a key that no line gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DefaultValue {
    /// This value, written as in a file.
    Fixed(&'static str),
    /// The result of a rule: the rule in words, and its result on 2 CPUs.
    Rule { words: &'static str, on_two_cpus: &'static str },
}

/// Field that a key fills, and how it is read back.
pub(in crate::config) enum Accessor {
    /// A setting of the whole server.
    Server { kind: ValueKind, show: fn(&Config) -> ShownValue },
    /// A setting of one port.
    Port { kind: PortKind, show: fn(&PortConfig) -> ShownValue },
}

/// An effective value as text, with its source.
pub(in crate::config) struct ShownValue {
    pub(in crate::config) value: String,
    pub(in crate::config) source: Source,
}

pub(super) fn shown(value: impl ToString, source: &Source) -> ShownValue {
    ShownValue { value: value.to_string(), source: source.clone() }
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

    /// Default, in words or as it would be written.
    pub fn default(&self) -> &'static str {
        match self.default {
            DefaultValue::Fixed(text) => text,
            DefaultValue::Rule { words, .. } => words,
        }
    }

    /// Documentation of the key, in sentences.
    pub fn doc(&self) -> &'static str {
        self.doc
    }

    /// Returns whether a change takes effect while the server runs; if not, it takes a restart.
    pub fn is_reloadable(&self) -> bool {
        self.reloadable
    }

    /// Accepted values, in words.
    pub fn range(&self) -> String {
        match &self.accessor {
            Accessor::Server { kind, .. } => kind.expected(),
            Accessor::Port { kind, .. } => kind.expected(),
        }
    }

    /// Returns whether each port has its own value.
    pub fn is_per_port(&self) -> bool {
        matches!(self.accessor, Accessor::Port { .. })
    }

    /// Returns whether no command may change the key, because it names a file, an address or a secret.
    pub fn is_file_only(&self) -> bool {
        match &self.accessor {
            Accessor::Server { kind, .. } => kind.is_file_only(),
            Accessor::Port { kind, .. } => kind.is_file_only(),
        }
    }

    /// Default as it would be written into a file for a machine of 2 CPUs.
    pub(in crate::config) fn written_default(&self) -> &'static str {
        match self.default {
            DefaultValue::Fixed(text) => text,
            DefaultValue::Rule { on_two_cpus, .. } => on_two_cpus,
        }
    }

    /// Default, if it is a fixed value.
    pub(in crate::config) fn fixed_default(&self) -> Option<&'static str> {
        match self.default {
            DefaultValue::Fixed(text) => Some(text),
            DefaultValue::Rule { .. } => None,
        }
    }

    /// Part of a per-port key's name after the port's name.
    pub(in crate::config) fn suffix(&self) -> Option<&'static str> {
        self.is_per_port().then(|| self.name.strip_prefix(PORT_MARK).unwrap_or(self.name))
    }

    /// Name of the key for one port.
    pub(in crate::config) fn name_for(&self, port: &str) -> String {
        self.name.replacen(PORT_MARK, port, 1)
    }
}

/// Returns `text` without `suffix` at its end, ignoring case; both are ASCII where this is used.
pub(in crate::config) fn strip_suffix_ignoring_case<'a>(text: &'a str, suffix: &str) -> Option<&'a str> {
    let (head, tail) = text.split_at_checked(text.len().checked_sub(suffix.len())?)?;
    tail.eq_ignore_ascii_case(suffix).then_some(head)
}

/// A setting of the whole server, kept in a field of [`Config`]: its kind and the field. Where the field keeps
/// something else than the value that is written, one function makes it of that value, and one shows it.
macro_rules! field {
    (Switch, $field:ident) => {
        field!(Switch, $field, |on: &bool| u8::from(*on))
    };
    ($kind:ident $({ $($limit:ident: $bound:expr),* })?, $field:ident) => {
        field!($kind $({ $($limit: $bound),* })?, $field, ToString::to_string)
    };
    ($kind:ident $({ $($limit:ident: $bound:expr),* })?, $field:ident, $show:expr) => {
        field!($kind $({ $($limit: $bound),* })?, $field, std::convert::identity, $show)
    };
    ($kind:ident $({ $($limit:ident: $bound:expr),* })?, $field:ident, $read:expr, $show:expr) => {
        $crate::config::keys::key::Accessor::Server {
            kind: $crate::config::value_kind::ValueKind::$kind {
                $($($limit: $bound,)*)?
                store: |config, setting| config.$field = setting.map($read),
            },
            show: |config| {
                let show = $show;
                $crate::config::keys::key::shown(show(&config.$field.value), &config.$field.source)
            },
        }
    };
}
pub(super) use field;

/// The limit, or `None` for 0.
pub(super) fn limit(number: u32) -> Option<u32> {
    (number > 0).then_some(number)
}

/// The number of a line for this limit.
pub(super) fn or_zero(limit: &Option<u32>) -> u32 {
    limit.unwrap_or(0)
}

/// The time, or `None` for 0.
pub(super) fn seconds(seconds: u32) -> Option<Duration> {
    limit(seconds).map(|seconds| Duration::from_secs(seconds.into()))
}

/// The number of a line for this time.
pub(super) fn in_seconds(time: &Option<Duration>) -> u64 {
    time.map_or(0, |time| time.as_secs())
}

/// The time of so many milliseconds.
pub(super) fn milliseconds(milliseconds: u32) -> Duration {
    Duration::from_millis(milliseconds.into())
}

/// The bytes of so many KiB.
pub(super) fn kib(kib: u32) -> usize {
    kib as usize * 1024
}

/// The number of a line for so many bytes.
pub(super) fn in_kib(bytes: &usize) -> usize {
    bytes / 1024
}

/// The value of a line for this path.
pub(super) fn path_text(path: &Option<PathBuf>) -> String {
    path.as_ref().map_or_else(String::new, |path| path.display().to_string())
}

/// The value of a line for this address.
pub(super) fn address_text(address: &Option<ListenAddress>) -> String {
    address.as_ref().map_or_else(String::new, ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_are_found_in_any_case() {
        assert_eq!(strip_suffix_ignoring_case("LAN_pool_TASKS", "_Pool_Tasks"), Some("LAN"));
        assert_eq!(strip_suffix_ignoring_case("LAN", ""), Some("LAN"));
        assert_eq!(strip_suffix_ignoring_case("AN", "LAN"), None);
        assert_eq!(strip_suffix_ignoring_case("éa", "xa"), None);
    }
}
