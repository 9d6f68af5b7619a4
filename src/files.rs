//! Files: the one way to read one, to append to one and to replace one.
//!
//! Invariants: nothing waits for the far end of a named pipe; only a plain file is read, and never more of it than was
//! asked for; a file that is replaced is found whole, the old one or the new one, and nothing is written through a
//! symbolic link planted where the new one is made.

use std::fs::{self, File, OpenOptions};
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::os::unix::fs::chown;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The path of a file that goes with another: its name, and this ending.
pub(crate) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(ending);
    path.into()
}

/// A plain file, opened for reading. Follows symbolic links.
///
/// # Errors
/// The system's; or it is no plain file, in words.
pub(crate) fn open(path: &Path) -> Result<File> {
    // Before it is opened: to open a pipe is something that its other end sees.
    plain(&fs::metadata(path)?)?;
    let file = without_waiting(File::options().read(true)).open(path)?;
    // Another may have taken its place.
    plain(&file.metadata()?)?;
    Ok(file)
}

/// The first bytes of a plain file, so many at most.
///
/// # Errors
/// As [`open`].
pub(crate) fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.take(bytes_max).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn plain(file: &fs::Metadata) -> Result<()> {
    let kind = file.file_type();
    let other = match kind {
        _ if kind.is_file() => return Ok(()),
        _ if kind.is_dir() => "a directory",
        _ if kind.is_fifo() => "a named pipe",
        _ if kind.is_socket() => "a socket",
        _ => "a device",
    };
    Err(Error::other(format!("it is {other}, not a plain file")))
}

/// Makes opening return at once for any kind of file, and never acquire a controlling terminal.
fn without_waiting(options: &mut OpenOptions) -> &mut OpenOptions {
    use rustix::fs::OFlags;
    options.custom_flags((OFlags::NONBLOCK | OFlags::NOCTTY).bits() as i32)
}

/// A file to append to, made if it is not there. Follows symbolic links, and makes the file that a dangling one leads
/// to. A device will do, and a pipe that has a reader: writing to it then waits, but not the opening.
///
/// # Errors
/// The system's.
#[cfg(feature = "cli")]
pub(crate) fn append(path: &Path) -> Result<File> {
    use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
    let opened = without_waiting(File::options().append(true).create(true)).open(path);
    let file = opened.map_err(|error| match fs::metadata(path) {
        Ok(there) if there.file_type().is_fifo() => Error::other("it is a named pipe without a reader"),
        Ok(there) if there.file_type().is_socket() => Error::other("it is a socket"),
        _ => error,
    })?;
    fcntl_setfl(&file, fcntl_getfl(&file)? - OFlags::NONBLOCK)?;
    Ok(file)
}

/// Checks whether [`append`] could open a file, as far as is possible without creating it.
///
/// # Errors
/// The reason why it could not.
#[cfg(feature = "cli")]
pub(crate) fn could_append(path: &Path) -> Result<()> {
    use rustix::fs::{Access, access};
    match fs::metadata(path) {
        Ok(there) if there.is_dir() => Err(ErrorKind::IsADirectory.into()),
        // A pipe that is opened and closed has its reader think that all is over.
        Ok(there) if there.file_type().is_fifo() => Ok(()),
        Ok(_) => append(path).map(drop),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let led = fs::read_link(path).map(|to| path.with_file_name(to));
            let parent =
                led.as_deref().unwrap_or(path).parent().filter(|parent| !parent.as_os_str().is_empty());
            Ok(access(parent.unwrap_or(Path::new(".")), Access::WRITE_OK | Access::EXEC_OK)?)
        }
        Err(error) => Err(error),
    }
}

/// A new file beside the one whose place it is to take, under a name that cannot be guessed; removed when it has
/// not taken it.
#[derive(Debug)]
pub(crate) struct Fresh(PathBuf);
impl Fresh {
    /// Makes it with these bytes, which have reached the disk then; with permissions and owner of `like`, or for its
    /// owner alone.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn beside(path: &Path, bytes: &[u8], like: Option<&fs::Metadata>) -> Result<Fresh> {
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(Error::other)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let fresh = path.with_file_name(format!(".{name}.{:016x}", u64::from_ne_bytes(random)));
        // Fails on whatever is there, a dangling link included. No other user reads it before it may be read.
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(&fresh)?;
        let fresh = Fresh(fresh);
        if let Some(like) = like {
            let made = file.metadata()?;
            if (like.uid(), like.gid()) != (made.uid(), made.gid()) {
                chown(&fresh.0, Some(like.uid()), Some(like.gid()))?;
            }
            file.set_permissions(like.permissions())?;
        }
        file.write_all(bytes)?;
        file.sync_all()?;
        Ok(fresh)
    }

    /// Replaces the file or link at `path` by it.
    ///
    /// # Errors
    /// The system's. It is then gone.
    pub(crate) fn take_place(self, path: &Path) -> Result<()> {
        fs::rename(&self.0, path)?;
        // The name, too, is to outlast a failure of the machine; that it is not certain is no reason to fail.
        path.parent().and_then(|parent| File::open(parent).ok()).map(|parent| parent.sync_all());
        Ok(())
    }
}
impl Drop for Fresh {
    fn drop(&mut self) {
        // It is not there when all went well.
        fs::remove_file(&self.0).ok();
    }
}

/// Returns whether an error of [`Fresh`] is due to the place of the file, so that it may be written in place all the
/// same: a file that is mounted by itself cannot be replaced, nor one in a folder that cannot be written.
pub(crate) fn is_of_the_place(error: &Error) -> bool {
    let kinds = [
        ErrorKind::ResourceBusy,
        ErrorKind::CrossesDevices,
        ErrorKind::PermissionDenied,
        ErrorKind::ReadOnlyFilesystem,
    ];
    kinds.contains(&error.kind())
}

/// Writes a plain file in place, from `before` to `after`. A reader meanwhile may find part of it.
///
/// # Errors
/// The system's. The bytes from before are then put back, as far as that can be.
pub(crate) fn overwrite(path: &Path, before: &[u8], after: &[u8]) -> Result<()> {
    use std::io::Seek;
    let mut file = without_waiting(File::options().write(true)).open(path)?;
    plain(&file.metadata()?)?;
    let mut write = |bytes: &[u8]| {
        file.rewind()?;
        file.write_all(bytes)?;
        file.set_len(bytes.len() as u64)?;
        file.sync_all()
    };
    write(after).inspect_err(|_| _ = write(before))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::process::Command;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let folder = std::env::temp_dir().join(format!("boneyard-files-{name}-{}", std::process::id()));
            fs::create_dir_all(&folder).unwrap();
            Folder(folder)
        }

        fn at(&self, name: &str) -> PathBuf {
            self.0.join(name)
        }

        fn pipe(&self, name: &str) -> PathBuf {
            assert!(Command::new("mkfifo").arg(self.at(name)).status().unwrap().success());
            self.at(name)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).ok();
        }
    }

    #[test]
    fn only_plain_files_are_read_and_nothing_is_waited_for() {
        let folder = Folder::new("read");
        fs::write(folder.at("file"), "text").unwrap();
        symlink("file", folder.at("link")).unwrap();
        symlink(folder.pipe("pipe"), folder.at("piped")).unwrap();
        for (path, says) in [
            (folder.at("pipe"), "a named pipe"),
            (folder.at("piped"), "a named pipe"),
            (folder.0.clone(), "a directory"),
            ("/dev/zero".into(), "a device"),
        ] {
            let error = read(&path, 10).unwrap_err().to_string();
            assert_eq!(error, format!("it is {says}, not a plain file"));
        }
        assert_eq!(read(&folder.at("link"), 3).unwrap(), b"tex");
        assert_eq!(read(&folder.at("none"), 3).unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[cfg(feature = "cli")]
    #[test]
    fn a_pipe_is_appended_to_only_if_it_has_a_reader() {
        let folder = Folder::new("append");
        let pipe = folder.pipe("pipe");
        let error = append(&pipe).unwrap_err().to_string();
        assert_eq!(error, "it is a named pipe without a reader");
        let mut reader = without_waiting(File::options().read(true)).open(&pipe).unwrap();
        append(&pipe).unwrap().write_all(b"line\n").unwrap();
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "line\n");
        symlink("made", folder.at("dangling")).unwrap();
        assert!(could_append(&folder.at("dangling")).is_ok() && !folder.at("made").exists());
        append(&folder.at("dangling")).unwrap().write_all(b"1").unwrap();
        append(&folder.at("made")).unwrap().write_all(b"2").unwrap();
        assert_eq!(fs::read(folder.at("made")).unwrap(), b"12");
        let kind = |path: PathBuf| could_append(&path).map_err(|error| error.kind());
        assert_eq!(kind(folder.at("none/log")), Err(ErrorKind::NotFound));
        assert_eq!(kind(folder.0.clone()), Err(ErrorKind::IsADirectory));
        assert_eq!((kind(folder.at("made")), kind(folder.at("new"))), (Ok(()), Ok(())));
    }

    #[test]
    fn a_file_is_replaced_whole_with_its_mode_and_a_link_is_not_followed() {
        let folder = Folder::new("replace");
        let (file, victim) = (folder.at("file"), folder.at("victim"));
        fs::write(&file, "old").unwrap();
        fs::write(&victim, "mine").unwrap();
        fs::set_permissions(&file, PermissionsExt::from_mode(0o640)).unwrap();
        let like = fs::metadata(&file).unwrap();
        Fresh::beside(&file, b"new", Some(&like)).unwrap().take_place(&file).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((fs::read(&file).unwrap().as_slice(), mode(&file)), (&b"new"[..], 0o640));
        fs::remove_file(&file).unwrap();
        symlink(&victim, &file).unwrap();
        Fresh::beside(&file, b"newer", None).unwrap().take_place(&file).unwrap();
        assert_eq!((fs::read(&victim).unwrap().as_slice(), mode(&file)), (&b"mine"[..], 0o600));
        drop(Fresh::beside(&file, b"never", None).unwrap());
        assert_eq!(fs::read(&file).unwrap(), b"newer");
        overwrite(&file, b"newer", b"in").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"in");
        assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 2, "nothing is left over");
        let nowhere = Fresh::beside(&folder.at("none/file"), b"", None).unwrap_err();
        assert!(!is_of_the_place(&nowhere) && is_of_the_place(&ErrorKind::ResourceBusy.into()));
    }
}
