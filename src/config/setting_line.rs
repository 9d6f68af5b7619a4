//! A key and a value that it takes, ready to be stored or written.

use super::keys::{Accessor, Key};
use super::settings::Config;
use super::source::Source;

/// A key and a value that it takes.
#[allow(missing_debug_implementations, reason = "a key is a table of functions, which has nothing to print")]
pub(crate) struct SettingLine {
    pub(super) key: &'static Key,
    pub(super) name: String,
    pub(super) value: String,
}

impl SettingLine {
    /// Its key.
    pub(crate) fn key(&self) -> &'static Key {
        self.key
    }

    /// Its key as it is written in a file, with the name of a port in place of `<Port>`.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Its value as it is written in a file.
    pub(crate) fn value(&self) -> &str {
        &self.value
    }

    /// Stores the value in `config`, as from this line of a file or, with `None`, from the program. Settings of one
    /// port and the lists of ports are not stored: these change with a restart only.
    pub(crate) fn store(&self, config: &mut Config, line: Option<u32>) {
        let source = line.map_or(Source::Program, |line| Source::File { line });
        if let Accessor::Server { kind, .. } = &self.key.accessor {
            kind.apply(&self.value, source, config).expect("it was read by this very key");
        }
    }
}
