//! From an address to a connection: reading the text, trying the addresses, the greeting; one attempt at a time.
//!
//! Knows sockets until they are greeted; knows no calls. The lock of [`Dialer`] guards only which connection is
//! in use, and is never held over I/O.
//!
//! Invariant: while an attempt is under way no other begins; whoever needs the connection meanwhile waits for its
//! end and shares its failure, so a server that is down is asked once, not once for every thread.

use super::ClientOptions;
use super::connection::{Link, WRITE_SLICE};
use super::error::ClientError;
use super::exchange::{self, Event, Exchange};
use crate::service::{Status, blocking, host};
use crate::sync::{Arc, Condvar, Mutex};
use crate::wire::body::Welcome;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

/// Port of an address that names none: Domino's own for NRPC.
pub const PORT: u16 = 1352;

/// Most addresses of a client.
pub const ADDRESSES_MAX: usize = 64;

/// Where to.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Target {
    /// Name or address, without brackets.
    host: String,
    port: u16,
}

/// Makes a client's connections and keeps the one in use.
#[derive(Debug)]
pub(super) struct Dialer {
    /// In the order in which they are tried; never empty.
    targets: Vec<Target>,
    options: ClientOptions,
    line: Mutex<Line>,
    /// Signalled when an attempt has ended.
    settled: Condvar,
}

#[derive(Debug, Default)]
struct Line {
    link: Option<Arc<Link>>,
    dialing: bool,
    /// How many attempts there were.
    attempts: u64,
    /// The failure of the last attempt, with its number, if others share it.
    failed: Option<(u64, ClientError)>,
}

impl Dialer {
    /// # Errors
    /// [`ClientError::InvalidAddress`], [`ClientError::InvalidOption`].
    pub(super) fn new<Address: AsRef<str>>(
        addresses: &[Address],
        options: ClientOptions,
    ) -> Result<Dialer, ClientError> {
        if !(1..=ADDRESSES_MAX).contains(&addresses.len()) {
            return Err(ClientError::InvalidOption("a client has 1 to 64 addresses"));
        }
        let targets = addresses.iter().map(|address| {
            let invalid =
                |reason| ClientError::InvalidAddress { address: address.as_ref().to_owned(), reason };
            parse(address.as_ref()).map_err(invalid)
        });
        let targets = targets.collect::<Result<_, _>>()?;
        Ok(Dialer { targets, options, line: Mutex::new(Line::default()), settled: Condvar::new() })
    }

    /// The connection in use, if it seems to take calls.
    pub(super) fn in_use(&self) -> Option<Arc<Link>> {
        self.line.lock().link.clone().filter(|link| link.is_open())
    }

    /// The connection in use, or a new one.
    ///
    /// # Errors
    /// There is none to be had, or not by `deadline`.
    pub(super) fn link(&self, deadline: Option<Instant>) -> Result<Arc<Link>, ClientError> {
        let in_use = self.line.lock().link.as_ref().filter(|link| link.is_open()).map(Arc::clone);
        in_use.map_or_else(|| blocking(|| self.await_link(deadline)), Ok)
    }

    /// As [`Dialer::link`]; for a handler, if there is no other, one to a server that stops. It may be that this server
    /// waits for the very transaction that the handler's is made for, and takes its calls.
    ///
    /// # Errors
    /// As there.
    pub(super) fn link_for_call(&self, deadline: Option<Instant>) -> Result<Arc<Link>, ClientError> {
        self.link(deadline).or_else(|error| {
            let draining = || self.line.lock().link.clone().filter(|link| link.is_draining());
            host::is_here().then(draining).flatten().ok_or(error)
        })
    }

    fn await_link(&self, deadline: Option<Instant>) -> Result<Arc<Link>, ClientError> {
        let mut line = self.line.lock();
        loop {
            if line.dialing {
                let attempt = line.attempts;
                while line.dialing && line.attempts == attempt {
                    match deadline {
                        None => self.settled.wait(&mut line),
                        Some(deadline) if Instant::now() >= deadline => return Err(ClientError::late(false)),
                        Some(deadline) => {
                            self.settled.wait_until(&mut line, deadline);
                        }
                    }
                }
                if let Some((_, error)) = line.failed.as_ref().filter(|(failed, _)| *failed == attempt) {
                    return Err(error.clone());
                }
            }
            match &line.link {
                Some(link) if link.is_open() => return Ok(Arc::clone(link)),
                _ if line.dialing => {}
                _ => break,
            }
        }
        let stale = line.link.take_if(|link| !link.is_draining());
        line.dialing = true;
        line.attempts += 1;
        line.failed = None;
        drop(line);
        drop(stale);
        let mut attempt = Attempt { dialer: self, result: None };
        let result = self.dial(deadline).map(Arc::new);
        attempt.result = Some(result.clone());
        result
    }

    /// One attempt, addresses and greeting together.
    fn dial(&self, deadline: Option<Instant>) -> Result<Link, ClientError> {
        let patience = Instant::now().checked_add(self.options.connect_timeout);
        let limit = match (patience, deadline) {
            (Some(patience), Some(deadline)) => Some(patience.min(deadline)),
            (patience, deadline) => patience.or(deadline),
        };
        self.dial_any(limit).map_err(|error| match error {
            // It was the call's own deadline: others may still have time.
            ClientError::Connect { kind: ErrorKind::TimedOut, .. }
                if deadline.is_some_and(|deadline| Instant::now() >= deadline) =>
            {
                ClientError::late(false)
            }
            error => error,
        })
    }

    /// The first target that takes us; the time left is shared among those still to be tried.
    fn dial_any(&self, limit: Option<Instant>) -> Result<Link, ClientError> {
        let mut others = self.targets.len() as u32;
        let (last, before) = self.targets.split_last().expect("`new` lets no empty list in");
        for target in before {
            let limit = limit.map(|limit| {
                let now = Instant::now();
                now + limit.saturating_duration_since(now) / others
            });
            match self.dial_one(target, limit) {
                Ok(link) => return Ok(link),
                Err(error) => log::debug!("the next address is tried: {error}"),
            }
            others -= 1;
        }
        self.dial_one(last, limit)
    }

    fn dial_one(&self, target: &Target, limit: Option<Instant>) -> Result<Link, ClientError> {
        self.connect(target, limit).and_then(|stream| self.greet(target, stream, limit))
    }

    /// Tries each address the name has; the time left is shared among those still to be tried.
    fn connect(&self, target: &Target, limit: Option<Instant>) -> Result<TcpStream, ClientError> {
        let addresses = target.resolve().map_err(|error| target.failed(&error))?;
        let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
        for (tried, address) in addresses.iter().enumerate() {
            let others = u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
            let connected = match limit {
                None => TcpStream::connect(address),
                Some(limit) => match time_left(limit) {
                    Ok(left) => TcpStream::connect_timeout(address, (left / others).max(MS)),
                    Err(error) => Err(error),
                },
            };
            match connected {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(target.failed(&last))
    }

    fn greet(&self, target: &Target, stream: TcpStream, limit: Option<Instant>) -> Result<Link, ClientError> {
        let mut exchange = Exchange::new(self.options.reply_bytes_max);
        let welcome = self.welcome(target, &stream, &mut exchange, limit)?;
        let prepared =
            stream.set_read_timeout(None).and_then(|()| stream.set_write_timeout(Some(WRITE_SLICE)));
        prepared.map_err(|error| target.failed(&error))?;
        log::debug!("connected to {target} ({})", welcome.server);
        Link::new(stream, welcome, exchange, self.options.reply_bytes_max)
    }

    /// Says hello and waits for the answer.
    fn welcome(
        &self,
        target: &Target,
        mut stream: &TcpStream,
        exchange: &mut Exchange,
        limit: Option<Instant>,
    ) -> Result<Welcome, ClientError> {
        let hello = exchange::greeting(&self.options.name);
        // A server that refuses has perhaps closed by now, and yet said why.
        let unsent = stream.set_nodelay(true).and_then(|()| stream.write_all(&hello)).err();
        loop {
            match exchange.next_event()? {
                Some(Event::Welcome(welcome)) => return Ok(welcome),
                Some(Event::GoAway { status, fault }) => {
                    return Err(match Status::from_code(status) {
                        Some(status) => ClientError::refused(status, fault, ""),
                        None => ClientError::UnknownStatus(status),
                    });
                }
                Some(_) => unreachable!("an exchange lets nothing else come first"),
                None => {}
            }
            let read = read(stream, exchange.space(), limit);
            let read = read.map_err(|error| target.failed(unsent.as_ref().unwrap_or(&error)))?;
            exchange.filled(read);
        }
    }
}

/// Ends an attempt whatever happens to it, so that nobody waits for it for ever.
struct Attempt<'a> {
    dialer: &'a Dialer,
    result: Option<Result<Arc<Link>, ClientError>>,
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let (mut line, mut stale) = (self.dialer.line.lock(), None);
        line.dialing = false;
        match self.result.take() {
            Some(Ok(link)) => stale = line.link.replace(link),
            // Another caller's deadline says nothing to the others; the next of them tries.
            Some(Err(ClientError::DeadlineExceeded { .. })) | None => {}
            Some(Err(error)) => line.failed = Some((line.attempts, error)),
        }
        drop(line);
        drop(stale);
        self.dialer.settled.notify_all();
    }
}

const MS: Duration = Duration::from_millis(1);

fn time_left(limit: Instant) -> io::Result<Duration> {
    match limit.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(ErrorKind::TimedOut.into()),
        left => Ok(left),
    }
}

/// One read of at least a byte.
fn read(mut stream: &TcpStream, space: &mut [u8], limit: Option<Instant>) -> io::Result<usize> {
    loop {
        stream.set_read_timeout(limit.map(time_left).transpose()?.map(|left| left.max(MS)))?;
        match stream.read(space) {
            Ok(0) => {
                let closed = "the server closed the connection before its Welcome";
                return Err(io::Error::new(ErrorKind::UnexpectedEof, closed));
            }
            Ok(bytes) => return Ok(bytes),
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => {}
                _ => return Err(error),
            },
        }
    }
}

impl Target {
    /// Asks the system's resolver, which has time-outs of its own.
    fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        Ok((self.host.as_str(), self.port).to_socket_addrs()?.collect())
    }

    fn failed(&self, error: &io::Error) -> ClientError {
        ClientError::Connect { address: self.to_string(), kind: error.kind(), message: error.to_string() }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Target { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

/// `host`, `host:port`, `[IPv6]`, `[IPv6]:port`, or an IPv6 address alone.
fn parse(text: &str) -> Result<Target, &'static str> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']').ok_or("the bracket is not closed")?;
            host.parse::<Ipv6Addr>().map_err(|_| "there is no IPv6 address in the brackets")?;
            match after.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if after.is_empty() => (host, None),
                None => return Err("only :port may follow the brackets"),
            }
        }
        None if text.parse::<Ipv6Addr>().is_ok() => (text, None),
        None => match text.split_once(':') {
            Some((_, port)) if port.contains(':') => {
                return Err("an IPv6 address with a port needs brackets");
            }
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let word = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
    if host.is_empty() {
        return Err("there is no host");
    }
    if host.parse::<IpAddr>().is_err() && !host.chars().all(word) {
        return Err("a host has letters, digits, dots and hyphens only");
    }
    let port = match port.map(str::parse) {
        None => PORT,
        Some(Ok(0)) | Some(Err(_)) => return Err("a port is a number from 1 to 65535"),
        Some(Ok(port)) => port,
    };
    Ok(Target { host: host.to_owned(), port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_hosts_with_or_without_a_port() {
        for (text, host, port) in [
            ("host", "host", 1352),
            ("host:1", "host", 1),
            ("127.0.0.1", "127.0.0.1", 1352),
            ("127.0.0.1:65535", "127.0.0.1", 65535),
            ("[::1]:99", "::1", 99),
            ("[::1]", "::1", 1352),
            ("::1", "::1", 1352),
            ("a-b.example:2", "a-b.example", 2),
        ] {
            assert_eq!(parse(text), Ok(Target { host: host.to_owned(), port }), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_a_reason() {
        for text in
            ["", ":1", "host:", "host:0", "host:65536", "host:x", "a b", "a/b", "[::1", "[::1]x", "[host]:1"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
        assert_eq!(parse("::1:99:x"), Err("an IPv6 address with a port needs brackets"));
    }

    #[test]
    fn a_target_is_shown_as_it_is_written() {
        for text in ["host:1", "[::1]:99"] {
            assert_eq!(parse(text).unwrap().to_string(), text);
        }
    }
}
