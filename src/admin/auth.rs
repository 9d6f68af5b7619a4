//! Authentication and access rights: the token, the user at the far end of the Unix socket, and the `Host` header.
//!
//! Knows headers, not pages. Invariant: the time to compare a token does not depend on where it differs.

use crate::files;
use crate::sync::Mutex;
use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, HOST};
use rustix::process::geteuid;
use std::fmt;
use std::hint::black_box;
use std::io::{self, Read};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};
use thiserror::Error;

const TOKEN_CHARS_MIN: usize = 16;

/// Bytes of a token file that are read at most.
const TOKEN_FILE_BYTES_MAX: u64 = 4096;

/// Interval of log lines about wrong tokens.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// User id of root, who has full access in any case.
pub(super) const ROOT: u32 = 0;

/// Challenge of a response without the token.
pub(super) const TOKEN_REALM: &str = "Basic realm=\"Boneyard, any user, the token as password\"";

/// The access token of the admin server.
pub struct Token(String);

/// Error of a token file.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The file cannot be opened or read.
    #[error("cannot be read ({0})")]
    Unreadable(#[source] io::Error),
    /// The file belongs to this user.
    #[error("it belongs to user {0}, neither the server's own user nor root; chown it")]
    Owner(u32),
    /// The file has this mode.
    #[error("users other than its owner can read or change it (mode {0:04o}); chmod 600 it")]
    Mode(u32),
    /// The token is not visible ASCII.
    #[error("its first line has characters other than visible ASCII")]
    NotAscii,
    /// The token has this many characters.
    #[error("its first line has {0} characters, expected at least {TOKEN_CHARS_MIN}")]
    TooShort(usize),
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

impl Token {
    /// Reads the first line of a file that belongs to this process's user or to root and that only its owner can read.
    /// Blocks on the disk.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn read(path: &Path) -> Result<Token, TokenError> {
        let file = files::open(path).map_err(TokenError::Unreadable)?;
        let about = file.metadata().map_err(TokenError::Unreadable)?;
        let (mode, owner) = (about.mode() & 0o777, about.uid());
        if owner != geteuid().as_raw() && owner != ROOT {
            return Err(TokenError::Owner(owner));
        }
        if mode & 0o077 != 0 {
            return Err(TokenError::Mode(mode));
        }
        let mut text = String::new();
        file.take(TOKEN_FILE_BYTES_MAX).read_to_string(&mut text).map_err(TokenError::Unreadable)?;
        let token = text.lines().next().unwrap_or_default().trim();
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(TokenError::NotAscii);
        }
        if token.len() < TOKEN_CHARS_MIN {
            return Err(TokenError::TooShort(token.len()));
        }
        Ok(Token(token.to_owned()))
    }

    fn is(&self, given: &[u8]) -> bool {
        let ours = self.0.as_bytes();
        let differs = ours.iter().enumerate().fold(0, |differs, (index, byte)| {
            black_box(differs | (byte ^ given.get(index).copied().unwrap_or(0)))
        });
        black_box(differs == 0) & (ours.len() == given.len())
    }
}

/// Authentication of requests.
#[derive(Debug)]
pub(super) struct Auth {
    token: Option<Token>,
    /// Host name in `Admin_Address`.
    host: String,
    /// User id of this process.
    user: u32,
    wrong: Mutex<WrongTokens>,
}

/// Wrong tokens that are not logged yet.
#[derive(Debug, Default)]
struct WrongTokens {
    count: u64,
    logged: Option<Instant>,
}

/// Peer of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AdminPeer {
    /// At `Admin_Address`.
    Tcp(IpAddr),
    /// At `Admin_Socket`: the user id, as the system reports it.
    Unix(u32),
}

impl fmt::Display for AdminPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AdminPeer::Tcp(address) => address.fmt(f),
            AdminPeer::Unix(user) => write!(f, "unix:uid={user}"),
        }
    }
}

/// Access of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Access {
    /// None: the token is missing or wrong.
    Denied,
    /// Read-only, without a token configured.
    ReadOnly,
    /// Every command: with the token, or as the server's own user or root.
    Full,
}

impl Auth {
    /// Returns the authentication of a server with this host name, in addition to its addresses and `localhost`.
    pub(super) fn new(token: Option<Token>, host: String) -> Auth {
        Auth { token, host, user: geteuid().as_raw(), wrong: Mutex::default() }
    }

    /// Returns whether the `Host` header is an IP address, `localhost` or the configured name. A page of another site
    /// may let a name of its own resolve to this server (DNS rebinding); a browser then sends that name.
    pub(super) fn is_own_host(&self, headers: &HeaderMap) -> bool {
        let mut hosts = headers.get_all(HOST).iter();
        let Some(host) = hosts.next() else { return true };
        let Ok(host) = host.to_str() else { return false };
        let bare = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
        let name = bare.map_or(host, |(name, _)| name).trim_matches(['[', ']']);
        let ours = ["localhost", &self.host].iter().any(|ours| name.eq_ignore_ascii_case(ours));
        hosts.next().is_none() && (ours || name.parse::<IpAddr>().is_ok())
    }

    /// Returns the access of a request, by its peer and its token: `Bearer`, or `Basic` with any user, so that a
    /// browser can prompt for it. Wrong tokens are logged, at most once a minute.
    pub(super) fn access(&self, headers: &HeaderMap, peer: AdminPeer, now: Instant) -> Access {
        if matches!(peer, AdminPeer::Unix(user) if user == self.user || user == ROOT) {
            return Access::Full;
        }
        let Some(token) = &self.token else { return Access::ReadOnly };
        let Some(given) = headers.get(AUTHORIZATION) else { return Access::Denied };
        if password(given.as_bytes()).is_some_and(|given| token.is(&given)) {
            return Access::Full;
        }
        let mut wrong = self.wrong.lock();
        wrong.count += 1;
        if wrong.logged.is_none_or(|logged| now.saturating_duration_since(logged) >= LOG_INTERVAL) {
            let count = std::mem::take(&mut wrong.count);
            wrong.logged = Some(now);
            log::warn!("admin server: {count} wrong tokens refused, last_peer={peer}");
        }
        Access::Denied
    }
}

/// Returns the token of an `Authorization` header.
fn password(header: &[u8]) -> Option<Vec<u8>> {
    let space = header.iter().position(|byte| *byte == b' ')?;
    let (scheme, rest) = (&header[..space], header[space..].trim_ascii());
    if scheme.eq_ignore_ascii_case(b"bearer") {
        return Some(rest.to_vec());
    }
    let decoded = scheme.eq_ignore_ascii_case(b"basic").then(|| base64(rest))??;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    Some(decoded[colon + 1..].to_vec())
}

/// Decodes base64; `None` for anything else.
fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let digits = text.strip_suffix(b"==").or_else(|| text.strip_suffix(b"=")).unwrap_or(text);
    let (mut bytes, mut bits, mut count) = (Vec::new(), 0u32, 0);
    for digit in digits {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            // The cast keeps the eight complete bits.
            bytes.push((bits >> count) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_accepted_in_two_schemes() {
        for (header, expected) in [
            ("Bearer 0123456789abcdef", Some("0123456789abcdef")),
            ("bearer  0123456789abcdef ", Some("0123456789abcdef")),
            ("Basic YWRtaW46MDEyMzQ1Njc4OWFiY2RlZg==", Some("0123456789abcdef")),
            ("basic OjA6MQ==", Some("0:1")),
            ("Basic YWRtaW4=", None),
            ("Basic YW*=", None),
            ("Digest 0123456789abcdef", None),
            ("0123456789abcdef", None),
            ("", None),
        ] {
            let given = password(header.as_bytes());
            assert_eq!(given.as_deref(), expected.map(str::as_bytes), "{header}");
        }
    }

    #[test]
    fn only_the_exact_token_matches() {
        let token = Token("0123456789abcdef".to_owned());
        assert!(token.is(b"0123456789abcdef"));
        for wrong in ["", "0123456789abcde", "0123456789abcdeg", "0123456789abcdef0", "0123456789abcdef\0"] {
            assert!(!token.is(wrong.as_bytes()), "{wrong:?}");
        }
    }

    #[test]
    fn foreign_host_names_are_rejected() {
        let auth = Auth::new(None, "admin.example".to_owned());
        for (host, expected) in [
            ("localhost", true),
            ("LOCALHOST:1353", true),
            ("127.0.0.1:1353", true),
            ("10.0.0.7", true),
            ("[::1]:1353", true),
            ("admin.example:1353", true),
            ("evil.example", false),
            ("evil.example:1353", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(HOST, host.parse().unwrap())]);
            assert_eq!(auth.is_own_host(&headers), expected, "{host}");
        }
        let two = [(HOST, "localhost".parse().unwrap()), (HOST, "evil.example".parse().unwrap())];
        assert!(!auth.is_own_host(&HeaderMap::from_iter(two)));
    }

    #[test]
    fn the_token_and_the_servers_own_user_have_full_access_and_others_read_only_access_without_a_token() {
        let token = || Some(Token("0123456789abcdef".to_owned()));
        let given = HeaderMap::from_iter([(AUTHORIZATION, "Bearer 0123456789abcdef".parse().unwrap())]);
        let (tcp, own) = (AdminPeer::Tcp([127, 0, 0, 1].into()), geteuid().as_raw());
        let stranger = AdminPeer::Unix(own + 4711);
        for (token, headers, peer, expected) in [
            (None, HeaderMap::new(), tcp, Access::ReadOnly),
            (None, given.clone(), tcp, Access::ReadOnly),
            (None, HeaderMap::new(), stranger, Access::ReadOnly),
            (None, HeaderMap::new(), AdminPeer::Unix(own), Access::Full),
            (None, HeaderMap::new(), AdminPeer::Unix(ROOT), Access::Full),
            (token(), HeaderMap::new(), AdminPeer::Unix(own), Access::Full),
            (token(), HeaderMap::new(), tcp, Access::Denied),
            (token(), HeaderMap::new(), stranger, Access::Denied),
            (token(), given.clone(), tcp, Access::Full),
            (token(), given.clone(), stranger, Access::Full),
        ] {
            let auth = Auth::new(token, String::new());
            assert_eq!(auth.access(&headers, peer, Instant::now()), expected, "{peer}, {auth:?}");
        }
    }

    #[test]
    fn wrong_tokens_are_logged_once_a_minute() {
        let auth = Auth::new(Some(Token("0123456789abcdef".to_owned())), String::new());
        let wrong = HeaderMap::from_iter([(AUTHORIZATION, "Bearer no".parse().unwrap())]);
        let (peer, start) = (AdminPeer::Tcp([127, 0, 0, 1].into()), Instant::now());
        let ask = |s| {
            assert_eq!(auth.access(&wrong, peer, start + Duration::from_secs(s)), Access::Denied);
            auth.wrong.lock().count
        };
        assert_eq!([0, 1, 59, 60, 61].map(ask), [0, 1, 2, 0, 1], "counted for the next line");
    }
}
