//! Who is let in, and for what: the token, the user at the other end of the Unix socket, and the names that this server
//! goes by.
//!
//! Knows headers, not pages. A token is compared in a time that does not depend on where it differs.

use crate::files;
use crate::sync::Mutex;
use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, HOST};
use rustix::process::geteuid;
use std::fmt;
use std::hint::black_box;
use std::io::{Error, Read};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// Fewest characters of a token.
const TOKEN_CHARS_MIN: usize = 16;

/// Longest token file that is looked at, in bytes.
const TOKEN_FILE_BYTES_MAX: u64 = 4096;

/// Between two lines of the log about wrong tokens.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// The user who may do everything anyway.
pub(super) const ROOT: u32 = 0;

/// How the token is asked for.
pub(super) const TOKEN_REALM: &str = "Basic realm=\"Boneyard, any user, the token as password\"";

/// What those who ask must know.
pub struct Token(String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

impl Token {
    /// The first line of a file of this process's user or of root, who alone can read it. Blocks on the disk.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn read(path: &Path) -> Result<Token, String> {
        let unreadable = |error: Error| format!("cannot be read ({error})");
        let file = files::open(path).map_err(unreadable)?;
        let about = file.metadata().map_err(unreadable)?;
        let (mode, owner) = (about.mode() & 0o777, about.uid());
        if owner != geteuid().as_raw() && owner != ROOT {
            return Err(format!(
                "it belongs to user {owner}, who is neither the server's own nor root; chown it"
            ));
        }
        if mode & 0o077 != 0 {
            return Err(format!(
                "others than its owner can read or change it (mode {mode:04o}); chmod 600 it"
            ));
        }
        let mut text = String::new();
        file.take(TOKEN_FILE_BYTES_MAX).read_to_string(&mut text).map_err(unreadable)?;
        let token = text.lines().next().unwrap_or_default().trim();
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("its first line has characters other than visible ASCII".to_owned());
        }
        if token.len() < TOKEN_CHARS_MIN {
            let length = token.len();
            return Err(format!(
                "its first line has {length} characters, expected {TOKEN_CHARS_MIN} at least"
            ));
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

/// What is asked of those who ask.
#[derive(Debug)]
pub(super) struct Auth {
    token: Option<Token>,
    /// The name in `Admin_Address`.
    name: String,
    /// The user that this process runs as.
    user: u32,
    wrong: Mutex<Wrong>,
}

/// Wrong tokens that the log has not told of.
#[derive(Debug, Default)]
struct Wrong {
    count: u64,
    told: Option<Instant>,
}

/// The far end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AdminPeer {
    /// Of `Admin_Address`.
    Tcp(IpAddr),
    /// Of `Admin_Socket`: the user, as the system knows it.
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

/// What whoever asks may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Right {
    /// Nothing: there is a token, and it was not given.
    Nothing,
    /// Look: there is no token, which could be given.
    Look,
    /// Look, and give every command: by the token, or as the server's own user or root.
    Command,
}

impl Auth {
    /// For a server that goes by this name, besides its addresses and `localhost`.
    pub(super) fn new(token: Option<Token>, name: String) -> Auth {
        Auth { token, name, user: geteuid().as_raw(), wrong: Mutex::default() }
    }

    /// A page of another site may have a name of its own point here; a browser then asks for that name.
    pub(super) fn is_for_here(&self, headers: &HeaderMap) -> bool {
        let mut hosts = headers.get_all(HOST).iter();
        let Some(host) = hosts.next() else { return true };
        let Ok(host) = host.to_str() else { return false };
        let bare = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
        let name = bare.map_or(host, |(name, _)| name).trim_matches(['[', ']']);
        let ours = ["localhost", &self.name].iter().any(|ours| name.eq_ignore_ascii_case(ours));
        hosts.next().is_none() && (ours || name.parse::<IpAddr>().is_ok())
    }

    /// What a request may do, by its peer and by the token that it carries: `Bearer`, or `Basic` with any user, so that
    /// a browser can ask for it. The log tells of wrong ones, once a minute at most.
    pub(super) fn right(&self, headers: &HeaderMap, peer: AdminPeer, now: Instant) -> Right {
        if matches!(peer, AdminPeer::Unix(user) if user == self.user || user == ROOT) {
            return Right::Command;
        }
        let Some(token) = &self.token else { return Right::Look };
        let Some(given) = headers.get(AUTHORIZATION) else { return Right::Nothing };
        if password(given.as_bytes()).is_some_and(|given| token.is(&given)) {
            return Right::Command;
        }
        let mut wrong = self.wrong.lock();
        wrong.count += 1;
        if wrong.told.is_none_or(|told| now.saturating_duration_since(told) >= TOLD_EVERY) {
            let count = std::mem::take(&mut wrong.count);
            wrong.told = Some(now);
            log::warn!("the admin server refused a wrong token {count} times, the last time from {peer}");
        }
        Right::Nothing
    }
}

/// What stands for the token in an `Authorization` header.
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

/// Bytes from base64; `None` for anything else.
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
            // The cast takes the eight bits that are complete.
            bytes.push((bits >> count) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_in_two_ways() {
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
    fn only_the_token_itself_is_the_token() {
        let token = Token("0123456789abcdef".to_owned());
        assert!(token.is(b"0123456789abcdef"));
        for wrong in ["", "0123456789abcde", "0123456789abcdeg", "0123456789abcdef0", "0123456789abcdef\0"] {
            assert!(!token.is(wrong.as_bytes()), "{wrong:?}");
        }
    }

    #[test]
    fn names_of_others_are_not_for_here() {
        let gate = Auth::new(None, "admin.example".to_owned());
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
            assert_eq!(gate.is_for_here(&headers), expected, "{host}");
        }
        let two = [(HOST, "localhost".parse().unwrap()), (HOST, "evil.example".parse().unwrap())];
        assert!(!gate.is_for_here(&HeaderMap::from_iter(two)));
    }

    #[test]
    fn the_token_and_the_servers_own_user_may_command_and_others_may_look_where_there_is_no_token() {
        let token = || Some(Token("0123456789abcdef".to_owned()));
        let given = HeaderMap::from_iter([(AUTHORIZATION, "Bearer 0123456789abcdef".parse().unwrap())]);
        let (tcp, own) = (AdminPeer::Tcp([127, 0, 0, 1].into()), geteuid().as_raw());
        let stranger = AdminPeer::Unix(own + 4711);
        for (token, headers, peer, expected) in [
            (None, HeaderMap::new(), tcp, Right::Look),
            (None, given.clone(), tcp, Right::Look),
            (None, HeaderMap::new(), stranger, Right::Look),
            (None, HeaderMap::new(), AdminPeer::Unix(own), Right::Command),
            (None, HeaderMap::new(), AdminPeer::Unix(ROOT), Right::Command),
            (token(), HeaderMap::new(), AdminPeer::Unix(own), Right::Command),
            (token(), HeaderMap::new(), tcp, Right::Nothing),
            (token(), HeaderMap::new(), stranger, Right::Nothing),
            (token(), given.clone(), tcp, Right::Command),
            (token(), given.clone(), stranger, Right::Command),
        ] {
            let gate = Auth::new(token, String::new());
            assert_eq!(gate.right(&headers, peer, Instant::now()), expected, "{peer}, {gate:?}");
        }
    }

    #[test]
    fn wrong_tokens_are_told_of_once_a_minute() {
        let gate = Auth::new(Some(Token("0123456789abcdef".to_owned())), String::new());
        let wrong = HeaderMap::from_iter([(AUTHORIZATION, "Bearer no".parse().unwrap())]);
        let (peer, start) = (AdminPeer::Tcp([127, 0, 0, 1].into()), Instant::now());
        let ask = |s| {
            assert_eq!(gate.right(&wrong, peer, start + Duration::from_secs(s)), Right::Nothing);
            gate.wrong.lock().count
        };
        assert_eq!([0, 1, 59, 60, 61].map(ask), [0, 1, 2, 0, 1], "kept for the next line");
    }
}
