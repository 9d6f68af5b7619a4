//! Directories of the user for what commands keep, by the XDG base directory specification.
//!
//! Invariant: the program's part of each is made for its user alone.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Name of the program's own part of each directory.
const OWN: &str = "boneyard";

/// Directory for what outlives a restart of the machine; `None` if the environment names none.
pub(super) fn state() -> Option<PathBuf> {
    let state = of("XDG_STATE_HOME").or_else(|| Some(of("HOME")?.join(".local/state")))?;
    Some(state.join(OWN))
}

/// Directory for what ends with the user's sessions on the machine; where the environment names none, [`state`].
pub(super) fn runtime() -> Option<PathBuf> {
    of("XDG_RUNTIME_DIR").map(|runtime| runtime.join(OWN)).or_else(state)
}

/// Creates a directory and those above it, as far as they are missing.
///
/// # Errors
/// The system's.
pub(super) fn make(directory: &Path) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

/// A relative path is to be ignored.
fn of(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute())
}
