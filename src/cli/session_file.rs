//! Session files: the ticket of a session by the name that its user gave it, for calls of one process after another.
//!
//! There is a file for each name and server. Invariants: its owner alone can read it, since a ticket is a secret; the
//! process that has it open has it locked, since two that attached the same session would take it from each other. The
//! file of a session that has ended stays, empty: another process may wait with it open.

use super::user_directory;
use crate::client::ServerAddress;
use crate::service::session::SessionTicket;
use rustix::fs::OFlags;
use std::fs::{File, TryLockError};
use std::io::{Error, ErrorKind, Read, Result, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// Longest name.
const NAME_CHARS_MAX: usize = 64;

/// More bytes than a ticket has as JSON.
const FILE_BYTES_MAX: u64 = 4096;

/// Checks the name of a session: 1 to 64 letters, digits, `.`, `_` and `-`, the first no `.`.
pub(super) fn session_name(text: &str) -> std::result::Result<String, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let good = (1..=NAME_CHARS_MAX).contains(&text.len()) && text.chars().all(is_plain);
    match good && !text.starts_with('.') {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "expected 1 to {NAME_CHARS_MAX} letters, digits, `.`, `_` and `-`, the first of them no `.`"
        )),
    }
}

/// The file of one session, locked until it is dropped.
#[derive(Debug)]
pub(super) struct SessionFile(File);

impl SessionFile {
    /// Opens the file of a session of this user, and creates it if it is missing. Does not block.
    ///
    /// # Errors
    /// Another process has it, or others could read it; there is no directory for it; the system's. All name the file.
    pub(super) fn open(name: &str, server: &ServerAddress) -> Result<SessionFile> {
        let directory = user_directory::runtime()
            .ok_or_else(|| Error::other("XDG_RUNTIME_DIR, XDG_STATE_HOME and HOME are not set"))?;
        SessionFile::at(&directory.join("sessions").join(server.to_string().replace('/', "_")), name)
    }

    fn at(directory: &Path, name: &str) -> Result<SessionFile> {
        let path = directory.join(name);
        let open = || {
            user_directory::make(directory)?;
            let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY).bits() as i32;
            let mut options = File::options();
            options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(flags);
            let file = options.open(&path)?;
            is_private(&file)?;
            match file.try_lock() {
                Ok(()) => Ok(SessionFile(file)),
                Err(TryLockError::WouldBlock) => Err(Error::other("another call uses the session")),
                Err(TryLockError::Error(error)) => Err(error),
            }
        };
        open().map_err(|error| named(&path, &error))
    }

    /// Ticket of the session; `None` where there is none yet, or none any more.
    ///
    /// # Errors
    /// The file has something else; the system's.
    pub(super) fn ticket(&mut self) -> Result<Option<SessionTicket>> {
        let mut text = String::new();
        self.0.rewind()?;
        (&self.0).take(FILE_BYTES_MAX).read_to_string(&mut text)?;
        match text.is_empty() {
            true => Ok(None),
            false => serde_json::from_str(&text).map(Some).map_err(|_| {
                Error::new(ErrorKind::InvalidData, "its file has no ticket; empty or remove it")
            }),
        }
    }

    /// Keeps the ticket of a session, or forgets that of a session that has ended.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn keep(&mut self, ticket: Option<SessionTicket>) -> Result<()> {
        let text = ticket.as_ref().map(serde_json::to_string).transpose()?.unwrap_or_default();
        self.0.set_len(0)?;
        self.0.rewind()?;
        self.0.write_all(text.as_bytes())
    }
}

/// Returns an error if the file is not this user's alone.
fn is_private(file: &File) -> Result<()> {
    let found = file.metadata()?;
    let own = found.is_file() && found.uid() == rustix::process::geteuid().as_raw();
    match own && found.mode() & 0o077 == 0 {
        true => Ok(()),
        false => Err(Error::other("not a plain file of this user that nobody else can read; remove it")),
    }
}

fn named(path: &Path, error: &Error) -> Error {
    Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn a_ticket_is_kept_for_its_owner_and_one_process_at_a_time() {
        let directory = std::env::temp_dir().join(format!("boneyard-session-{}", std::process::id()));
        let ticket = SessionTicket { id: 7, token: [255; 16] };
        let mut file = SessionFile::at(&directory, "a").unwrap();
        assert_eq!(file.ticket().unwrap(), None);
        file.keep(Some(ticket)).unwrap();
        assert_eq!(file.ticket().unwrap(), Some(ticket));
        let taken = SessionFile::at(&directory, "a").unwrap_err().to_string();
        assert!(taken.contains("another call uses the session"), "{taken}");
        drop(file);
        let mut file = SessionFile::at(&directory, "a").unwrap();
        assert_eq!(file.ticket().unwrap(), Some(ticket));
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&directory), mode(&directory.join("a"))), (0o700, 0o600));
        file.keep(None).unwrap();
        assert_eq!(file.ticket().unwrap(), None);
        std::fs::write(directory.join("a"), "[]").unwrap();
        assert_eq!(file.ticket().unwrap_err().kind(), ErrorKind::InvalidData);

        std::fs::write(directory.join("open"), "").unwrap();
        std::fs::set_permissions(directory.join("open"), PermissionsExt::from_mode(0o640)).unwrap();
        symlink("a", directory.join("link")).unwrap();
        for name in ["open", "link"] {
            let refused = SessionFile::at(&directory, name).unwrap_err().to_string();
            assert!(refused.contains(&format!("{name}: ")), "{refused}");
        }
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_name_is_no_path() {
        for good in ["a", "A.b_c-1", "-", &"x".repeat(64)] {
            assert_eq!(session_name(good), Ok(good.to_owned()));
        }
        for bad in ["", ".", "..", ".a", "a/b", "a b", "é", &"x".repeat(65)] {
            assert!(session_name(bad).is_err(), "{bad}");
        }
    }
}
