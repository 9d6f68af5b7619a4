//! The verdict file: a short text that is kept over a restart, in a file beside the settings.
//!
//! Invariants: only a thread of its own waits for the disk, which may hang just when the text matters; the end of the
//! server waits for it for [`END_TIMEOUT`] at most. Of texts that come meanwhile only the newest is written. A file
//! that cannot be read or is too old is ignored; an error of writing is logged once.
//!
//! Does not know the meaning of the text. A server without a settings file keeps nothing.

use crate::files::{self, Fresh};
use crate::sync::{Arc, Condvar, Mutex};
use std::fs;
use std::io::{ErrorKind, Result as IoResult};
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Suffix to the name of the settings file.
const ENDING: &str = ".verdict";

/// Longest text, in bytes.
const BYTES_MAX: u64 = 16 * 1024;

/// Age above which a text is ignored: the server will have changed by other things than settings.
const AGE_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// How long the end of a server waits for the last text to be written.
const END_TIMEOUT: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(super) struct VerdictFile {
    path: Option<PathBuf>,
    pending: Arc<PendingWrite>,
}

/// The text that waits to be written.
#[derive(Debug, Default)]
struct PendingWrite {
    state: Mutex<WriteState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct WriteState {
    /// Text to write; the inner `None` deletes the file.
    newest: Option<Option<String>>,
    /// No more texts will come.
    over: bool,
    /// Everything is written.
    done: bool,
}

/// The thread that writes. Dropping it waits for the last text to be written, up to [`END_TIMEOUT`].
#[derive(Debug)]
pub(super) struct WriterThread {
    pending: Arc<PendingWrite>,
    thread: Option<JoinHandle<()>>,
}

impl VerdictFile {
    /// The file beside these settings, if there are any.
    pub(super) fn beside(settings: Option<&Path>) -> VerdictFile {
        let path = settings.map(|settings| files::beside(settings, ENDING));
        VerdictFile { path, pending: Arc::default() }
    }

    /// Reads the text of an earlier run.
    pub(super) fn read(&self) -> Option<String> {
        let path = self.path.as_ref()?;
        // A link was not made by a server.
        let metadata = fs::symlink_metadata(path).ok()?;
        // A time in the future comes from a clock that was set back, and is accepted.
        let old = metadata.modified().ok()?.elapsed().is_ok_and(|age| age > AGE_MAX);
        if old || metadata.is_symlink() || metadata.len() > BYTES_MAX {
            return None;
        }
        String::from_utf8(files::read(path, BYTES_MAX).ok()?).ok()
    }

    /// Queues a text to be written, or the file to be deleted. Does not wait for the disk.
    pub(super) fn put(&self, text: Option<&str>) {
        self.pending.state.lock().newest = Some(text.map(str::to_owned));
        self.pending.changed.notify_all();
    }

    /// Starts the thread that writes; `None` for a server without a settings file.
    pub(super) fn start_writer(&self) -> IoResult<Option<WriterThread>> {
        let Some(path) = self.path.clone() else { return Ok(None) };
        let (pending, texts) = (Arc::clone(&self.pending), Arc::clone(&self.pending));
        let mut failed = false;
        let write = move |text: Option<&str>| {
            if let Err(error) = write(&path, text)
                && !std::mem::replace(&mut failed, true)
            {
                log::info!("verdict file not written, path={} error={error}", path.display());
            }
        };
        let thread =
            thread::Builder::new().name("verdict-file".to_owned()).spawn(move || texts.write_all(write))?;
        Ok(Some(WriterThread { pending, thread: Some(thread) }))
    }
}

impl PendingWrite {
    /// Writes texts until no more come.
    fn write_all(&self, mut write: impl FnMut(Option<&str>)) {
        while let Some(newest) = self.next() {
            write(newest.as_deref());
        }
    }

    /// Waits for a text.
    fn next(&self) -> Option<Option<String>> {
        let mut state = self.state.lock();
        loop {
            if let Some(newest) = state.newest.take() {
                return Some(newest);
            }
            if state.over {
                state.done = true;
                self.changed.notify_all();
                return None;
            }
            self.changed.wait(&mut state);
        }
    }

    /// Ends the texts. Returns whether everything was written in time.
    fn end(&self) -> bool {
        let deadline = Instant::now() + END_TIMEOUT;
        let mut state = self.state.lock();
        state.over = true;
        self.changed.notify_all();
        while !state.done && !self.changed.wait_until(&mut state, deadline).timed_out() {}
        state.done
    }
}

impl Drop for WriterThread {
    fn drop(&mut self) {
        if !self.pending.end() {
            log::warn!("verdict file not written: timed out writing to disk");
        } else if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            log::error!("verdict file thread panicked");
        }
    }
}

/// Replaces the file whole, or deletes it.
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
        let folder = std::env::temp_dir().join(format!("boneyard-verdict-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn a_kept_text_is_read_again_and_a_broken_one_is_ignored() {
        let folder = folder("kept");
        let saved = VerdictFile::beside(Some(&folder.join("server.ini")));
        let file = folder.join("server.ini.verdict");
        let mut found = vec![saved.read()];
        write(&file, Some("first")).unwrap();
        write(&file, Some("second")).unwrap();
        found.push(saved.read());
        let put = |bytes: &[u8]| {
            fs::write(&file, bytes).unwrap();
            saved.read()
        };
        found.push(put(&vec![b'x'; BYTES_MAX as usize + 1]));
        found.push(put(&[0xff, 0xfe]));
        write(&file, None).unwrap();
        write(&file, None).unwrap();
        found.push(saved.read());
        let nowhere = write(&folder.join("none/server.ini.verdict"), Some("lost"));
        let left = fs::read_dir(&folder).unwrap().count();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(found, [None, Some("second".to_owned()), None, None, None]);
        assert_eq!((left, nowhere.is_err()), (0, true));
        let none = VerdictFile::beside(None);
        assert!(none.read().is_none() && none.start_writer().unwrap().is_none());
    }

    #[test]
    fn the_last_text_is_written_before_the_end() {
        let folder = folder("last");
        let saved = VerdictFile::beside(Some(&folder.join("server.ini")));
        let writer = saved.start_writer().unwrap();
        ["first", "second", "last"].into_iter().for_each(|text| saved.put(Some(text)));
        drop(writer);
        let kept = saved.read();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(kept.as_deref(), Some("last"));
    }

    #[test]
    fn a_disk_that_hangs_delays_nothing_and_then_has_the_newest() {
        let saved = VerdictFile::beside(None);
        let (disk, written) = (Arc::new(Mutex::new(())), Arc::new(Mutex::new(Vec::new())));
        let hangs = disk.lock();
        let (pending, seen, kept) = (Arc::clone(&saved.pending), Arc::clone(&disk), Arc::clone(&written));
        let write = move |text: Option<&str>| {
            drop(seen.lock());
            kept.lock().push(text.map(str::to_owned));
        };
        let thread = thread::spawn(move || pending.write_all(write));
        let writer = WriterThread { pending: Arc::clone(&saved.pending), thread: Some(thread) };
        saved.put(Some("first"));
        while saved.pending.state.lock().newest.is_some() {
            thread::yield_now();
        }
        ["second", "third"].into_iter().for_each(|text| saved.put(Some(text)));
        drop(writer);
        assert!(!saved.pending.state.lock().done, "it hangs still");
        drop(hangs);
        let mut state = saved.pending.state.lock();
        while !state.done {
            saved.pending.changed.wait(&mut state);
        }
        assert_eq!(*written.lock(), [Some("first".to_owned()), Some("third".to_owned())]);
    }

    #[test]
    fn a_link_or_pipe_in_its_place_is_neither_read_nor_followed_nor_waited_for() {
        let folder = folder("links");
        let saved = VerdictFile::beside(Some(&folder.join("server.ini")));
        let (file, victim) = (folder.join("server.ini.verdict"), folder.join("victim"));
        fs::write(&victim, "mine").unwrap();
        symlink(&victim, &file).unwrap();
        symlink(&victim, folder.join("server.ini.verdict-new")).unwrap();
        let linked = saved.read();
        write(&file, Some("ours")).unwrap();
        let (kept, theirs) = (saved.read(), fs::read_to_string(&victim).unwrap());
        fs::remove_file(&file).unwrap();
        assert!(Command::new("mkfifo").arg(&file).status().unwrap().success());
        let piped = saved.read();
        write(&file, Some("again")).unwrap();
        let again = saved.read();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!((linked, piped, theirs.as_str()), (None, None, "mine"));
        assert_eq!((kept.as_deref(), again.as_deref()), (Some("ours"), Some("again")));
    }
}
