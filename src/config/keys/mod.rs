//! The one table of settings: the parser, `server.ini`, `boneyard check` and the docs are made from it.
//!
//! A new setting is one row in a group of keys and one field of [`Config`](super::Config). The row says how the value
//! is written, what it means, where it is stored and how it is shown; no other code lists the settings.
//!
//! Invariants: names are unique, ignoring case; a per-port name begins with `<Port>`; each fixed default is a value
//! that its own kind accepts (tests hold all three). Does not know lines or files.

mod admin;
mod key;
mod load;
mod peers;
mod pools;
mod process;
mod sessions;
mod table;

pub use key::Key;
pub(super) use key::{Accessor, strip_suffix_ignoring_case};
pub(super) use table::port_suffixes;
pub use table::{EffectiveSetting, all};
