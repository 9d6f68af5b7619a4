//! Unix socket of the admin server: accessible to its owner only, removed with its server.
//!
//! Two servers that start at the same instant with the same stale socket could both replace it; but they have the same
//! settings file then, hence the same ports, so the second one fails before.

use crate::config::SOCKET_PATH_BYTES_MAX;
use rustix::fs::{Mode, fchmod};
use socket2::{Domain, SockAddr, Socket, Type};
use std::fs::{self, Metadata, Permissions};
use std::io::{Error, ErrorKind, Result};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 64;

/// Permissions of the socket: all for its owner, none for others.
const MODE: u32 = 0o600;

/// A listening Unix socket. Dropping it removes its file.
#[derive(Debug)]
pub struct UnixSocket {
    pub(super) listener: UnixListener,
    pub(super) file: SocketFile,
}

/// The file of a socket, removed when this is dropped.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// Identity of the file: another server may have replaced it since.
    device_and_number: (u64, u64),
}

impl UnixSocket {
    /// Listens at this path. A stale socket of a server that has ended is replaced; a live socket or another kind of
    /// file is not.
    ///
    /// # Errors
    /// The path is too long (`InvalidInput`) or in use (`AddrInUse`, `AlreadyExists`), or the system refuses.
    pub fn bind(path: &Path) -> Result<UnixSocket> {
        let path = absolute(path)?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        // On Linux the file is created with the mode of the socket, so it never has another mode. On other systems the
        // mode is changed below, before the socket listens.
        fchmod(&socket, Mode::from_raw_mode(MODE)).ok();
        let address = SockAddr::unix(&path)?;
        match socket.bind(&address) {
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                check_stale(&path, &address)?;
                fs::remove_file(&path)?;
                socket.bind(&address)?;
            }
            result => result?,
        }
        let created = fs::symlink_metadata(&path)?;
        let file = SocketFile { device_and_number: identity(&created), path };
        if created.permissions().mode() & 0o777 != MODE {
            fs::set_permissions(&file.path, Permissions::from_mode(MODE))?;
        }
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        Ok(UnixSocket { listener: socket.into(), file })
    }

    /// Checks whether [`UnixSocket::bind`] could listen at this path, without creating or removing anything.
    ///
    /// # Errors
    /// The errors of [`UnixSocket::bind`].
    pub fn could_bind(path: &Path) -> Result<()> {
        use rustix::fs::{Access, access};
        let path = absolute(path)?;
        match check_stale(&path, &SockAddr::unix(&path)?) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let folder = path.parent().unwrap_or(Path::new("/"));
        Ok(access(folder, Access::WRITE_OK | Access::EXEC_OK)?)
    }

    /// Path of the socket.
    pub fn path(&self) -> &Path {
        &self.file.path
    }
}

/// Returns the absolute path, if it is not too long.
fn absolute(path: &Path) -> Result<PathBuf> {
    let path = std::path::absolute(path)?;
    let length = path.as_os_str().len();
    if length > SOCKET_PATH_BYTES_MAX {
        let wrong = format!("the path has {length} bytes, a socket's at most {SOCKET_PATH_BYTES_MAX}");
        return Err(Error::new(ErrorKind::InvalidInput, wrong));
    }
    Ok(path)
}

/// Fails unless a stale socket is there.
fn check_stale(path: &Path, address: &SockAddr) -> Result<()> {
    if !fs::symlink_metadata(path)?.file_type().is_socket() {
        let wrong = "a file that is not a socket is there";
        return Err(Error::new(ErrorKind::AlreadyExists, wrong));
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // The server there may have stopped accepting connections.
    probe.set_nonblocking(true)?;
    match probe.connect(address) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
        Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
        _ => Err(Error::new(ErrorKind::AddrInUse, "another server listens there")),
    }
}

fn identity(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let there = fs::symlink_metadata(&self.path);
        if there.is_ok_and(|there| identity(&there) == self.device_and_number) {
            fs::remove_file(&self.path).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("boneyard-unix-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn only_a_stale_socket_is_replaced() {
        let folder = folder("stale");
        let path = folder.join("server.ini.admin");
        let kind = |path: &Path| {
            let could = UnixSocket::could_bind(path).map_err(|error| error.kind());
            assert_eq!(UnixSocket::bind(path).map(drop).map_err(|error| error.kind()), could);
            could
        };
        assert_eq!(
            (UnixSocket::could_bind(&path).is_ok(), path.exists()),
            (true, false),
            "nothing is created"
        );
        let first = UnixSocket::bind(&path).unwrap();
        let mode = fs::symlink_metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode, first.path()), (MODE, path.as_path()));
        assert_eq!(kind(&path), Err(ErrorKind::AddrInUse), "the server is alive");
        assert!(UnixStream::connect(&path).is_ok(), "and keeps listening");
        drop(first);
        assert!(!path.exists(), "removed with its server");
        // A killed server leaves its socket.
        drop(UnixListener::bind(&path).unwrap());
        assert_eq!(
            (UnixSocket::could_bind(&path).is_ok(), path.exists()),
            (true, true),
            "nothing is removed"
        );
        let second = UnixSocket::bind(&path).unwrap();
        // A socket of another server is not removed.
        fs::remove_file(&path).unwrap();
        let other = UnixListener::bind(&path).unwrap();
        drop(second);
        assert!(path.exists());
        drop(other);
        fs::remove_file(&path).unwrap();
        fs::write(&path, "mine").unwrap();
        assert_eq!(kind(&path), Err(ErrorKind::AlreadyExists));
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
        assert_eq!(kind(&folder.join("none/socket")), Err(ErrorKind::NotFound));
        let long = folder.join("x".repeat(SOCKET_PATH_BYTES_MAX));
        assert_eq!(kind(&long), Err(ErrorKind::InvalidInput));
        fs::remove_dir_all(&folder).unwrap();
    }
}
