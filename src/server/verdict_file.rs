//! A short text that is kept over a restart, in a file beside the settings.
//!
//! Knows the disk and nothing of what it keeps. A server without a settings file keeps nothing. What cannot be read or
//! is too old is as nothing; what cannot be written is told of in the log, once.
//!
//! Invariants: nobody waits for the disk but a thread of its own, since a disk may hang just when the text matters; who
//! ends the server waits for it for [`END_MAX`]. Of texts that come meanwhile only the newest is kept.

use crate::files::{self, Fresh};
use crate::sync::{Arc, Condvar, Mutex};
use std::fs;
use std::io::{ErrorKind, Result as IoResult};
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
pub(super) struct VerdictFile {
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
pub(super) struct WriterThread {
    tray: Arc<Tray>,
    thread: Option<JoinHandle<()>>,
}

impl VerdictFile {
    /// Beside this settings file, if there is one.
    pub(super) fn beside(settings: Option<&Path>) -> VerdictFile {
        let path = settings.map(|settings| files::beside(settings, ENDING));
        VerdictFile { path, tray: Arc::default() }
    }

    pub(super) fn read(&self) -> Option<String> {
        let path = self.path.as_ref()?;
        // What others have put there is not ours.
        let about = fs::symlink_metadata(path).ok()?;
        // A time in the future is a clock set back: no reason to doubt.
        let old = about.modified().ok()?.elapsed().is_ok_and(|age| age > AGE_MAX);
        if old || about.is_symlink() || about.len() > BYTES_MAX {
            return None;
        }
        String::from_utf8(files::read(path, BYTES_MAX).ok()?).ok()
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
    pub(super) fn keep(&self) -> IoResult<Option<WriterThread>> {
        let Some(path) = self.path.clone() else { return Ok(None) };
        let (tray, seen) = (Arc::clone(&self.tray), Arc::clone(&self.tray));
        let mut failed = false;
        let write = move |text: Option<&str>| {
            if let Err(error) = write(&path, text)
                && !std::mem::replace(&mut failed, true)
            {
                log::info!("{}: the verdict is not kept over a restart: {error}", path.display());
            }
        };
        let thread = thread::Builder::new().name("note".to_owned()).spawn(move || seen.empty(write))?;
        Ok(Some(WriterThread { tray, thread: Some(thread) }))
    }
}

impl Tray {
    /// Has what comes written, until no more does.
    fn empty(&self, mut write: impl FnMut(Option<&str>)) {
        while let Some(newest) = self.next() {
            write(newest.as_deref());
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

impl Drop for WriterThread {
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
        Some(text) => Fresh::beside(path, text.as_bytes(), None)?.take_place(path),
        None => match fs::remove_file(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            done => done,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::process::Command;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("boneyard-note-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn what_is_kept_is_read_again_and_what_is_broken_is_not() {
        let folder = folder("kept");
        let note = VerdictFile::beside(Some(&folder.join("server.ini")));
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
        let none = VerdictFile::beside(None);
        assert!(none.read().is_none() && none.keep().unwrap().is_none());
    }

    #[test]
    fn the_last_text_is_written_before_the_end() {
        let folder = folder("last");
        let note = VerdictFile::beside(Some(&folder.join("server.ini")));
        let keeper = note.keep().unwrap();
        ["first", "second", "last"].into_iter().for_each(|text| note.put(Some(text)));
        drop(keeper);
        let kept = note.read();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(kept.as_deref(), Some("last"));
    }

    #[test]
    fn a_disk_that_hangs_holds_nobody_up_and_then_has_the_newest() {
        let note = VerdictFile::beside(None);
        let (disk, written) = (Arc::new(Mutex::new(())), Arc::new(Mutex::new(Vec::new())));
        let hangs = disk.lock();
        let (tray, seen, kept) = (Arc::clone(&note.tray), Arc::clone(&disk), Arc::clone(&written));
        let write = move |text: Option<&str>| {
            drop(seen.lock());
            kept.lock().push(text.map(str::to_owned));
        };
        let thread = thread::spawn(move || tray.empty(write));
        let keeper = WriterThread { tray: Arc::clone(&note.tray), thread: Some(thread) };
        note.put(Some("first"));
        while note.tray.slot.lock().newest.is_some() {
            thread::yield_now();
        }
        ["second", "third"].into_iter().for_each(|text| note.put(Some(text)));
        drop(keeper);
        assert!(!note.tray.slot.lock().done, "it hangs still");
        drop(hangs);
        let mut slot = note.tray.slot.lock();
        while !slot.done {
            note.tray.changed.wait(&mut slot);
        }
        assert_eq!(*written.lock(), [Some("first".to_owned()), Some("third".to_owned())]);
    }

    #[test]
    fn what_others_put_in_its_way_is_neither_read_nor_written_nor_waited_for() {
        let folder = folder("links");
        let note = VerdictFile::beside(Some(&folder.join("server.ini")));
        let (file, victim) = (folder.join("server.ini.verdict"), folder.join("victim"));
        fs::write(&victim, "mine").unwrap();
        symlink(&victim, &file).unwrap();
        symlink(&victim, folder.join("server.ini.verdict-new")).unwrap();
        let linked = note.read();
        write(&file, Some("ours")).unwrap();
        let (kept, theirs) = (note.read(), fs::read_to_string(&victim).unwrap());
        fs::remove_file(&file).unwrap();
        assert!(Command::new("mkfifo").arg(&file).status().unwrap().success());
        let piped = note.read();
        write(&file, Some("again")).unwrap();
        let again = note.read();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!((linked, piped, theirs.as_str()), (None, None, "mine"));
        assert_eq!((kept.as_deref(), again.as_deref()), (Some("ours"), Some("again")));
    }
}
