//! A line that changes one setting: what it means, and how it is stored.

use super::keys::{Accessor, Key};
use super::method_limits::{self, LimitLine};
use super::settings::Config;
use super::source::{Setting, Source};

/// Meaning of a line.
#[derive(Clone, Copy)]
#[allow(missing_debug_implementations, reason = "a key is a table of functions, which has nothing to print")]
pub(crate) enum LineTarget {
    /// A setting of the table.
    Key(&'static Key),
    /// The limit of a method.
    Limit,
    /// A setting of the program, which only the file changes.
    Program,
}

/// A key and a value that it takes.
#[allow(missing_debug_implementations, reason = "a key is a table of functions, which has nothing to print")]
pub(crate) struct SettingLine {
    pub(crate) target: LineTarget,
    /// Its key as it is written in a file, with the name of a port in place of `<Port>`.
    pub(crate) name: String,
    /// Its value as it is written in a file.
    pub(crate) value: String,
}

impl SettingLine {
    /// Stores the value in `config`, as from this line of a file or, with `None`, from the program. Settings of one
    /// port and the lists of ports are not stored: these change with a restart only.
    pub(crate) fn store(&self, config: &mut Config, line: Option<u32>) {
        let source = line.map_or(Source::Program, |line| Source::File { line });
        match self.target {
            LineTarget::Key(Key { accessor: Accessor::Server { kind, .. }, .. }) => {
                kind.apply(&self.value, source, config).expect("it was read by this very key");
            }
            LineTarget::Key(_) | LineTarget::Program => {}
            LineTarget::Limit => {
                let value = method_limits::read(&self.value).flatten();
                let method = self.name.clone();
                config.set_method_limit(LimitLine { method, limit: Setting { value, source } });
            }
        }
    }

    /// Returns whether it stands below `[Limits]`.
    pub(super) fn is_limit(&self) -> bool {
        matches!(self.target, LineTarget::Limit)
    }

    /// Returns whether a change takes effect while the server runs.
    pub(crate) fn is_reloadable(&self) -> bool {
        match self.target {
            LineTarget::Key(key) => key.is_reloadable(),
            LineTarget::Limit => true,
            LineTarget::Program => false,
        }
    }

    /// Returns whether no command may change it.
    pub(crate) fn is_file_only(&self) -> bool {
        match self.target {
            LineTarget::Key(key) => key.is_file_only(),
            LineTarget::Limit => false,
            LineTarget::Program => true,
        }
    }
}
