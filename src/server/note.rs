//! A short text that is kept over a restart, in a file beside the settings.
//!
//! Knows the disk and nothing of what it keeps. A server without a settings file keeps nothing. What cannot be read or
//! is too old is as nothing; what cannot be written is told of in the log, once.

use crate::sync::{AtomicBool, Ordering};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What follows the name of the settings file.
const ENDING: &str = ".verdict";

/// Longest text, in bytes.
const BYTES_MAX: u64 = 16 * 1024;

/// A text older than this is not read: the server will have changed by other things than settings.
const AGE_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

#[derive(Debug, Default)]
pub(super) struct Note {
    path: Option<PathBuf>,
    failed: AtomicBool,
}

impl Note {
    /// Beside this settings file, if there is one.
    pub(super) fn beside(settings: Option<&Path>) -> Note {
        let path = settings.map(|settings| {
            let mut path = settings.as_os_str().to_owned();
            path.push(ENDING);
            path.into()
        });
        Note { path, failed: AtomicBool::new(false) }
    }

    pub(super) fn read(&self) -> Option<String> {
        let file = File::open(self.path.as_ref()?).ok()?;
        let about = file.metadata().ok()?;
        // A time in the future is a clock set back: no reason to doubt.
        let old = about.modified().ok()?.elapsed().is_ok_and(|age| age > AGE_MAX);
        if old || !about.is_file() || about.len() > BYTES_MAX {
            return None;
        }
        let mut text = String::new();
        file.take(BYTES_MAX).read_to_string(&mut text).ok()?;
        Some(text)
    }

    /// Whole or not at all: another file takes its place.
    pub(super) fn write(&self, text: Option<&str>) {
        let Some(path) = &self.path else { return };
        let done = match text {
            Some(text) => {
                let new = path.with_extension("verdict-new");
                fs::write(&new, text).and_then(|()| fs::rename(&new, path))
            }
            None => match fs::remove_file(path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
                done => done,
            },
        };
        if let Err(error) = done
            && !self.failed.swap(true, Ordering::Relaxed)
        {
            log::info!("{}: the verdict is not kept over a restart: {error}", path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_again_and_what_is_broken_is_not() {
        let folder = std::env::temp_dir().join(format!("boneyard-note-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let note = Note::beside(Some(&folder.join("server.ini")));
        let mut found = vec![note.read()];
        note.write(Some("first"));
        note.write(Some("second"));
        found.push(note.read());
        let file = folder.join("server.ini.verdict");
        let write = |bytes: &[u8]| {
            fs::write(&file, bytes).unwrap();
            note.read()
        };
        found.push(write(&vec![b'x'; BYTES_MAX as usize + 1]));
        found.push(write(&[0xff, 0xfe]));
        note.write(None);
        note.write(None);
        found.push(note.read());
        let nowhere = Note::beside(Some(&folder.join("none/server.ini")));
        nowhere.write(Some("lost"));
        let left = fs::read_dir(&folder).unwrap().count();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(found, [None, Some("second".to_owned()), None, None, None]);
        assert_eq!((left, nowhere.failed.load(Ordering::Relaxed)), (0, true));
        assert_eq!(Note::beside(None).read(), None);
    }
}
