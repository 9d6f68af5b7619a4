//! Settings: read from a file or made by a program, checked and typed.
//!
//! A file passes `scan` (lines, encoding, duplicates), `ini_crosscheck` (a second reading by the `ini` crate), `parse`
//! (values, ports, all errors together) and `sizing` (the rules for values that no line gives). The result is
//! [`Config`]: every effective value with the line or rule that it comes from. [`advise`] warns of settings that do not
//! fit each other or the machine, `resource_check` of those that need more than the machine has, and `remedy` knows the
//! lines that correct them; `report` is the output of `boneyard check`; `document` writes `server.ini` and the table of
//! `docs/SETTINGS.md`; `edit` changes one line of a file. All of them use the one table in [`keys`].
//!
//! Invariants of a `Config` made here: 1 to [`PORTS_MAX`] ports; port names unique, ignoring case; no two enabled ports
//! on one address; every pool between 1 and 4096 workers. Does not know the rest of the crate, sockets, clocks, the
//! environment or the machine (its limits come in as [`Machine`], its CPUs as a number).

mod admin_socket;
mod advice;
mod by_rule;
pub(crate) mod document;
pub(crate) mod edit;
mod error;
mod format;
mod ini_crosscheck;
pub mod keys;
mod limit_check;
mod listen_address;
mod method_limits;
mod names;
mod parse;
mod path;
mod program;
mod program_section;
pub(crate) mod remedy;
pub(crate) mod report;
pub(crate) mod requirements;
pub(crate) mod resource_check;
mod scan;
mod setting_line;
mod settings;
pub(crate) mod sizing;
mod source;
#[cfg(test)]
mod tests;
mod value_kind;

pub use admin_socket::AdminSocket;
#[cfg(feature = "admin")]
pub(crate) use admin_socket::SOCKET_PATH_BYTES_MAX;
pub use advice::advise;
pub use error::{ConfigError, ConfigErrors, Problem};
pub(crate) use format::{plural, workers_in_words};
pub use keys::{EffectiveSetting, Key};
pub(crate) use limit_check::check_methods;
pub use listen_address::{ADMIN_PORT, DEFAULT_PORT, ListenAddress};
pub use method_limits::LimitLine;
pub(crate) use names::nearest;
pub(crate) use parse::{read_line, with_line};
pub(crate) use program::ProgramSection;
pub use program::{ProgramKey, ProgramSettings, ProgramValues};
#[cfg(feature = "cli")]
pub(crate) use program_section::section_of;
pub use remedy::Warning;
pub use requirements::{Machine, MachineLimit};
pub(crate) use scan::FILE_BYTES_MAX;
pub(crate) use setting_line::{LineTarget, SettingLine};
pub use settings::{CodelMode, Config, PORTS_MAX, PortConfig};
pub use sizing::{Limit, PoolRule};
pub use source::{Setting, Source};
