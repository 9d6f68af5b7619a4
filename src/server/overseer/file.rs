//! Writes one changed line into the settings file.
//!
//! The new text goes into a file beside it, reaches the disk, and takes the old one's name: whoever reads, and a
//! machine that fails, finds the old text or the new one, whole. Permissions and owner are kept; a symbolic link stays
//! one. What somebody else writes meanwhile is read again, not written over.

use crate::config::FILE_BYTES_MAX;
use crate::config::edit::{Edited, Line, edit};
use std::fs::{self, File, OpenOptions};
use std::io::{Error, Read, Result as IoResult, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, chown};
use std::path::{Path, PathBuf};

/// Times that a file is read again because it has changed meanwhile.
const TRIES: usize = 3;

/// Writes it; returns the number of the line.
///
/// # Errors
/// In words. The file is then as it was.
pub(super) fn write(path: &Path, line: &Line, cpus: u32) -> Result<u32, String> {
    let said = |error: Error| format!("{} cannot be written: {error}", path.display());
    let path = fs::canonicalize(path).map_err(said)?;
    let beside = Beside::of(&path);
    for _ in 0..TRIES {
        let before = read(&path).map_err(said)?;
        let Edited { text, line } = edit(&before, line, cpus)?;
        beside.fill(&text, &path).map_err(said)?;
        if read(&path).map_err(said)? == before {
            fs::rename(&beside.0, &path).map_err(said)?;
            // The name, too, is to outlast a failure of the machine; that it is not certain is no reason to fail.
            path.parent().and_then(|parent| File::open(parent).ok()).map(|parent| parent.sync_all());
            return Ok(line);
        }
    }
    Err(format!("{} changes all the time; nothing was written", path.display()))
}

fn read(path: &Path) -> IoResult<Vec<u8>> {
    let mut bytes = Vec::new();
    if !fs::metadata(path)?.is_file() {
        return Err(Error::other("it is no plain file"));
    }
    File::open(path)?.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The file beside it, gone when it has not taken its place.
struct Beside(PathBuf);

impl Beside {
    fn of(path: &Path) -> Beside {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        Beside(path.with_file_name(format!(".{name}.{}", std::process::id())))
    }

    /// Writes the text, with the permissions and the owner of `like`.
    fn fill(&self, text: &str, like: &Path) -> IoResult<()> {
        fs::remove_file(&self.0).ok();
        // Nobody else reads it before its permissions are those of the old one.
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.0)?;
        let (old, new) = (fs::metadata(like)?, file.metadata()?);
        if (old.uid(), old.gid()) != (new.uid(), new.gid()) {
            chown(&self.0, Some(old.uid()), Some(old.gid()))?;
        }
        file.set_permissions(old.permissions())?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // It is not there when all went well.
        fs::remove_file(&self.0).ok();
    }
}
