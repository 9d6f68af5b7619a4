//! Place of the admin server's Unix socket: next to the settings file, at a path, or none.
//!
//! Nothing is bound here.

use crate::files;
use std::fmt;
use std::path::{Path, PathBuf};

/// Appended to the name of the settings file.
const ENDING: &str = ".admin";

/// Longest path of a Unix socket, in bytes: the address has room for 108, including a final 0.
pub(crate) const SOCKET_PATH_BYTES_MAX: usize = 107;

/// `Admin_Socket`: place of the admin server's Unix socket.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum AdminSocket {
    /// Next to the settings file, with `.admin` appended to its name; none without a file.
    Auto,
    /// No socket.
    Off,
    /// At this path.
    At(PathBuf),
}

impl AdminSocket {
    /// Reads the value of a line; `None` if the path is too long for a socket.
    pub(super) fn read(text: &str) -> Option<AdminSocket> {
        Some(match text {
            _ if text.is_empty() || text.eq_ignore_ascii_case("off") => AdminSocket::Off,
            _ if text.eq_ignore_ascii_case("auto") => AdminSocket::Auto,
            _ if text.len() > SOCKET_PATH_BYTES_MAX => return None,
            _ => AdminSocket::At(text.into()),
        })
    }

    /// Path of the socket of a server with this settings file.
    pub fn path(&self, settings: Option<&Path>) -> Option<PathBuf> {
        match self {
            AdminSocket::Off => None,
            AdminSocket::At(path) => Some(path.clone()),
            AdminSocket::Auto => settings.map(|settings| files::beside(settings, ENDING)),
        }
    }
}

impl fmt::Display for AdminSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AdminSocket::Auto => f.write_str("auto"),
            AdminSocket::Off => f.write_str("off"),
            AdminSocket::At(path) => path.display().fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_next_to_the_file_at_a_path_or_absent() {
        let file = Some(Path::new("etc/server.ini"));
        for (text, path) in [
            ("auto", Some("etc/server.ini.admin")),
            ("AUTO", Some("etc/server.ini.admin")),
            ("off", None),
            ("", None),
            ("/run/b.sock", Some("/run/b.sock")),
        ] {
            let socket = AdminSocket::read(text).unwrap();
            assert_eq!(socket.path(file).as_deref(), path.map(Path::new), "{text}");
            assert_eq!(AdminSocket::read(&socket.to_string()), Some(socket), "what is shown can be read");
        }
        assert_eq!(AdminSocket::Auto.path(None), None);
        assert!(
            AdminSocket::read(&"x".repeat(107)).is_some() && AdminSocket::read(&"x".repeat(108)).is_none()
        );
    }
}
