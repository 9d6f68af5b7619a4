//! A short text that is kept over a restart, in a file beside the settings.
//!
//! Knows the disk and nothing of what it keeps. A server without a settings file keeps nothing. What cannot be read or
//! is too old is as nothing; what cannot be written is told of in the log, once.
//!
//! Invariants: nobody waits for the disk but a thread of its own, since a disk may hang just when the text matters; who
//! ends the server waits for it for [`END_MAX`]. Of texts that come meanwhile only the newest is kept.

use crate::sync::{Arc, Condvar, Mutex};
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Result as IoResult};
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// What follows the name of the settings file.
const ENDING: &str = ".verdict";

/// Longest text, in bytes.
const BYTES_MAX: u64 = 16 * 1024;

/// A text older than this is not read: the server will have changed by other things than settings.
const AGE_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// How long the end of a server waits for the last text to be written.
const END_MAX: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(super) struct Note {
    path: Option<PathBuf>,
    tray: Arc<Tray>,
}

/// Where a text lies until it is written.
#[derive(Debug, Default)]
struct Tray {
    slot: Mutex<Slot>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Slot {
    /// To be written; the inner `None` is to be deleted.
    newest: Option<Option<String>>,
    /// No more will come.
    over: bool,
    /// All that came is written.
    done: bool,
}

/// The thread that writes. Dropping it has the last text written, if that can be done in time.
#[derive(Debug)]
pub(super) struct Keeper {
    tray: Arc<Tray>,
    thread: Option<JoinHandle<()>>,
}

impl Note {
    /// Beside this settings file, if there is one.
    pub(super) fn beside(settings: Option<&Path>) -> Note {
        let path = settings.map(|settings| {
            let mut path = settings.as_os_str().to_owned();
            path.push(ENDING);
            path.into()
        });
        Note { path, tray: Arc::default() }
    }

    pub(super) fn read(&self) -> Option<String> {
        let path = self.path.as_ref()?;
        // Before it is opened: a pipe would wait for somebody to write into it.
        let about = fs::metadata(path).ok()?;
        // A time in the future is a clock set back: no reason to doubt.
        let old = about.modified().ok()?.elapsed().is_ok_and(|age| age > AGE_MAX);
        if old || !about.is_file() || about.len() > BYTES_MAX {
            return None;
        }
        let mut text = String::new();
        File::open(path).ok()?.take(BYTES_MAX).read_to_string(&mut text).ok()?;
        Some(text)
    }

    /// Has it written or deleted before long, if nothing newer comes before.
    pub(super) fn put(&self, text: Option<&str>) {
        self.tray.slot.lock().newest = Some(text.map(str::to_owned));
        self.tray.changed.notify_all();
    }

    /// Begins to write what is put; `None` where there is no place for it.
    ///
    /// # Errors
    /// The system would not make a thread.
    pub(super) fn keep(&self) -> IoResult<Option<Keeper>> {
        let Some(path) = self.path.clone() else { return Ok(None) };
        let (tray, seen) = (Arc::clone(&self.tray), Arc::clone(&self.tray));
        let thread = thread::Builder::new().name("note".to_owned()).spawn(move || seen.empty(&path))?;
        Ok(Some(Keeper { tray, thread: Some(thread) }))
    }
}

impl Tray {
    /// Writes what comes, until no more does.
    fn empty(&self, path: &Path) {
        let mut failed = false;
        while let Some(newest) = self.next() {
            if let Err(error) = write(path, newest.as_deref())
                && !std::mem::replace(&mut failed, true)
            {
                log::info!("{}: the verdict is not kept over a restart: {error}", path.display());
            }
        }
    }

    /// Waits for a text.
    fn next(&self) -> Option<Option<String>> {
        let mut slot = self.slot.lock();
        loop {
            if let Some(newest) = slot.newest.take() {
                return Some(newest);
            }
            if slot.over {
                slot.done = true;
                self.changed.notify_all();
                return None;
            }
            self.changed.wait(&mut slot);
        }
    }

    /// No more will come. Was all written, in time?
    fn end(&self) -> bool {
        let deadline = Instant::now() + END_MAX;
        let mut slot = self.slot.lock();
        slot.over = true;
        self.changed.notify_all();
        while !slot.done && !self.changed.wait_until(&mut slot, deadline).timed_out() {}
        slot.done
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if !self.tray.end() {
            log::warn!("the verdict is not kept over this restart: the disk does not answer");
        } else if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            log::error!("the thread that keeps the verdict had panicked");
        }
    }
}

/// Whole or not at all: another file takes its place.
fn write(path: &Path, text: Option<&str>) -> IoResult<()> {
    match text {
        Some(text) => {
            let new = path.with_extension("verdict-new");
            fs::write(&new, text).and_then(|()| fs::rename(&new, path))
        }
        None => match fs::remove_file(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            done => done,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("boneyard-note-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn what_is_kept_is_read_again_and_what_is_broken_is_not() {
        let folder = folder("kept");
        let note = Note::beside(Some(&folder.join("server.ini")));
        let file = folder.join("server.ini.verdict");
        let mut found = vec![note.read()];
        write(&file, Some("first")).unwrap();
        write(&file, Some("second")).unwrap();
        found.push(note.read());
        let put = |bytes: &[u8]| {
            fs::write(&file, bytes).unwrap();
            note.read()
        };
        found.push(put(&vec![b'x'; BYTES_MAX as usize + 1]));
        found.push(put(&[0xff, 0xfe]));
        write(&file, None).unwrap();
        write(&file, None).unwrap();
        found.push(note.read());
        let nowhere = write(&folder.join("none/server.ini.verdict"), Some("lost"));
        let left = fs::read_dir(&folder).unwrap().count();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(found, [None, Some("second".to_owned()), None, None, None]);
        assert_eq!((left, nowhere.is_err()), (0, true));
        let none = Note::beside(None);
        assert!(none.read().is_none() && none.keep().unwrap().is_none());
    }

    #[test]
    fn the_last_text_is_written_before_the_end() {
        let folder = folder("last");
        let note = Note::beside(Some(&folder.join("server.ini")));
        let keeper = note.keep().unwrap();
        ["first", "second", "last"].into_iter().for_each(|text| note.put(Some(text)));
        drop(keeper);
        let kept = note.read();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(kept.as_deref(), Some("last"));
    }

    #[test]
    fn a_disk_that_hangs_holds_nobody_up_and_then_has_the_newest() {
        let folder = folder("hangs");
        let note = Note::beside(Some(&folder.join("server.ini")));
        // Writing into a pipe waits for somebody to read from it.
        let pipe = folder.join("server.ini.verdict-new");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let keeper = note.keep().unwrap();
        note.put(Some("first"));
        while note.tray.slot.lock().newest.is_some() {
            thread::yield_now();
        }
        ["second", "third"].into_iter().for_each(|text| note.put(Some(text)));
        drop(keeper);
        assert!(!note.tray.slot.lock().done, "it hangs still");
        let first = fs::read_to_string(&pipe).unwrap();
        let mut slot = note.tray.slot.lock();
        while !slot.done {
            note.tray.changed.wait(&mut slot);
        }
        let kept = note.read();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!((first.as_str(), kept.as_deref()), ("first", Some("third")));
    }
}
