//! Writes one changed line into the settings file.
//!
//! Invariants: the file is replaced, so a reader, also after a failure of the machine, finds the old text or the new
//! one, whole. Permissions and owner are kept; a symbolic link stays one. A change that others write meanwhile is read
//! again and not overwritten. A file that cannot be replaced, because it is a mount or its folder is not writable, is
//! written in place.

use crate::config::edit::{Edited, edit};
use crate::config::{FILE_BYTES_MAX, ProgramSection, SettingLine};
use crate::files::{self, Fresh};
use crate::server::machine;
use std::fs;
use std::io::{Error, Result as IoResult};
use std::path::Path;

/// Attempts at a file that changes meanwhile.
const TRIES: usize = 3;

/// Why a line was not written. The file is unchanged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum SettingsFileError {
    /// The file is read-only for this process.
    #[error("{0}")]
    ReadOnly(String),
    /// The line does not fit the file as it is, or the disk failed.
    #[error("{0}")]
    Refused(String),
}

/// Writes a line; returns its number.
pub(super) fn write(
    path: &Path,
    line: &SettingLine,
    program: Option<&ProgramSection>,
) -> Result<u32, SettingsFileError> {
    let failed = |error: Error| {
        let reason = format!("{} cannot be written: {error}", path.display());
        if files::is_of_the_place(&error) {
            SettingsFileError::ReadOnly(reason)
        } else {
            SettingsFileError::Refused(reason)
        }
    };
    let path = fs::canonicalize(path).map_err(failed)?;
    for _ in 0..TRIES {
        let before = read(&path).map_err(failed)?;
        let Edited { text, line } = edit(&before, line, machine::cpus(), program)
            .map_err(|error| SettingsFileError::Refused(error.to_string()))?;
        if replace(&path, &before, &text).map_err(failed)? {
            return Ok(line);
        }
    }
    let reason = format!("{} keeps changing; nothing was written", path.display());
    Err(SettingsFileError::Refused(reason))
}

fn read(path: &Path) -> IoResult<Vec<u8>> {
    files::read(path, FILE_BYTES_MAX as u64 + 1)
}

/// Replaces the file. Returns `false` if it was changed meanwhile, and is left as it is.
fn replace(path: &Path, before: &[u8], after: &str) -> IoResult<bool> {
    let replaced = Fresh::beside(path, after.as_bytes(), Some(&fs::metadata(path)?)).and_then(|fresh| {
        let same = read(path)? == before;
        if same {
            fresh.take_place(path)?;
        }
        Ok(same)
    });
    match replaced {
        Err(error) if files::is_of_the_place(&error) => overwrite(path, before, after),
        replaced => replaced,
    }
}

/// The same, in place.
fn overwrite(path: &Path, before: &[u8], after: &str) -> IoResult<bool> {
    let same = read(path)? == before;
    if same {
        files::overwrite(path, before, after.as_bytes())?;
    }
    Ok(same)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_by_others_is_not_overwritten() {
        let path = std::env::temp_dir().join(format!("boneyard-file-{}", std::process::id()));
        let after = |write: fn(&Path, &[u8], &str) -> IoResult<bool>, before: &[u8]| {
            fs::write(&path, "theirs").unwrap();
            (write(&path, before, "ours").unwrap(), fs::read_to_string(&path).unwrap())
        };
        for write in [replace, overwrite] {
            assert_eq!(after(write, b"before"), (false, "theirs".to_owned()));
            assert_eq!(after(write, b"theirs"), (true, "ours".to_owned()));
        }
        fs::remove_file(&path).unwrap();
    }
}
