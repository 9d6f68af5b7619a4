//! Writes one changed line into the settings file.
//!
//! The new text takes the old one's place: whoever reads, and a machine that fails, finds the old text or the new one,
//! whole. Permissions and owner are kept; a symbolic link stays one. What somebody else writes meanwhile is read again,
//! not written over. Where no file can take its place, because it is mounted by itself or its folder cannot be written,
//! it is written in place.

use crate::config::FILE_BYTES_MAX;
use crate::config::SettingLine;
use crate::config::edit::{Edited, edit};
use crate::files::{self, Fresh};
use std::fs;
use std::io::{Error, Result as IoResult};
use std::path::Path;

/// Times that a file is read again because it has changed meanwhile.
const TRIES: usize = 3;

/// Why a line was not written. The file is then as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SettingsFileError {
    /// This process may not write the file, whatever the line: it is read-only.
    ReadOnly(String),
    /// The line does not go into the file as it is, or the disk said no.
    Refused(String),
}

impl SettingsFileError {
    /// Why, in words.
    pub(super) fn into_words(self) -> String {
        match self {
            SettingsFileError::ReadOnly(why) | SettingsFileError::Refused(why) => why,
        }
    }
}

/// Writes it; returns the number of the line.
///
/// # Errors
/// [`SettingsFileError`].
pub(super) fn write(path: &Path, line: &SettingLine, cpus: u32) -> Result<u32, SettingsFileError> {
    let said = |error: Error| {
        let why = format!("{} cannot be written: {error}", path.display());
        if files::is_of_the_place(&error) {
            SettingsFileError::ReadOnly(why)
        } else {
            SettingsFileError::Refused(why)
        }
    };
    let path = fs::canonicalize(path).map_err(said)?;
    for _ in 0..TRIES {
        let before = read(&path).map_err(said)?;
        let Edited { text, line } =
            edit(&before, line, cpus).map_err(|error| SettingsFileError::Refused(error.to_string()))?;
        if replace(&path, &before, &text).map_err(said)? {
            return Ok(line);
        }
    }
    let why = format!("{} changes all the time; nothing was written", path.display());
    Err(SettingsFileError::Refused(why))
}

fn read(path: &Path) -> IoResult<Vec<u8>> {
    files::read(path, FILE_BYTES_MAX as u64 + 1)
}

/// `false`: somebody else has changed the file, and it is as they left it.
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

/// As [`replace`], in place.
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
    fn what_somebody_else_has_written_meanwhile_is_not_written_over() {
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
