//! One attempt to connect: looking up the names, trying the addresses, the greeting.
//!
//! Knows sockets until they are greeted; knows no calls. Invariant: nothing of a call has been sent by the time an
//! attempt fails, and every error of one says so ([`ClientError::never_started`]).

use super::address::{ServerAddress, ToServerAddress};
use super::connection::{ClientConnection, WRITE_SLICE};
use super::dns_lookup::{self, Lookups};
use super::error::ClientError;
use super::{ADDRESSES_MAX, ClientOptions};
use crate::proto::client::{self, ClientProtocol, Event};
use crate::service::{Fault, Status};
use crate::sync::Arc;
use crate::tcp::{Silence, refuse_own_end};
use crate::wire::WireError;
use crate::wire::body::Welcome;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

const MS: Duration = Duration::from_millis(1);

/// The most that is told of what a stranger said, in bytes.
const QUOTED_BYTES_MAX: usize = 80;

/// Makes a client's connections.
#[derive(Debug)]
pub(super) struct Connector {
    /// In the order in which they are tried; never empty.
    targets: Vec<ServerAddress>,
    options: ClientOptions,
    lookups: Arc<Lookups>,
}

impl Connector {
    /// # Errors
    /// [`ClientError::InvalidAddress`], [`ClientError::InvalidOption`].
    pub(super) fn new<Address: ToServerAddress>(
        addresses: &[Address],
        options: ClientOptions,
    ) -> Result<Connector, ClientError> {
        if !(1..=ADDRESSES_MAX).contains(&addresses.len()) {
            return Err(ClientError::InvalidOption("a client has 1 to 64 addresses"));
        }
        let targets = addresses.iter().map(ToServerAddress::to_server_address);
        Ok(Connector { targets: targets.collect::<Result<_, _>>()?, options, lookups: dns_lookup::shared() })
    }

    /// One attempt, addresses and greeting together: of the first target that takes us.
    ///
    /// # Errors
    /// Why there is no connection; [`ClientError::DeadlineExceeded`] when `deadline` was the limit.
    pub(super) fn connect(&self, deadline: Option<Instant>) -> Result<ClientConnection, ClientError> {
        let patience = Instant::now().checked_add(self.options.connect_timeout);
        let limit = patience.into_iter().chain(deadline).min();
        self.try_all(limit).map_err(|error| match error {
            // It was the call's own deadline: others may still have time.
            ClientError::Connect { kind: ErrorKind::TimedOut, .. }
                if deadline.is_some_and(|deadline| Instant::now() >= deadline) =>
            {
                ClientError::late(false)
            }
            error => error,
        })
    }

    /// The time left is shared among the targets still to be tried.
    fn try_all(&self, limit: Option<Instant>) -> Result<ClientConnection, ClientError> {
        let mut others = self.targets.len() as u32;
        let (last, before) = self.targets.split_last().expect("`new` lets no empty list in");
        for target in before {
            let limit = limit.map(|limit| {
                let now = Instant::now();
                now + limit.saturating_duration_since(now) / others
            });
            match self.try_one(target, limit) {
                Ok(link) => return Ok(link),
                Err(error) => log::debug!("the next address is tried: {error}"),
            }
            others -= 1;
        }
        self.try_one(last, limit)
    }

    fn try_one(
        &self,
        target: &ServerAddress,
        limit: Option<Instant>,
    ) -> Result<ClientConnection, ClientError> {
        let open = self.lookups.addresses(target, limit).and_then(|addresses| open(&addresses, limit));
        let stream = open.map_err(|error| target.failed(&error))?;
        self.greet(target, stream, limit)
    }

    fn greet(
        &self,
        target: &ServerAddress,
        stream: TcpStream,
        limit: Option<Instant>,
    ) -> Result<ClientConnection, ClientError> {
        let mut exchange = ClientProtocol::new(self.options.reply_bytes_max);
        let welcome = self.welcome(target, &stream, &mut exchange, limit)?;
        prepare(&stream, self.options.keepalive).map_err(|error| target.failed(&error))?;
        log::debug!("connected to {target} ({})", welcome.server);
        ClientConnection::new(stream, welcome, exchange, self.options.reply_bytes_max)
    }

    /// Says hello and waits for the answer.
    fn welcome(
        &self,
        target: &ServerAddress,
        mut stream: &TcpStream,
        exchange: &mut ClientProtocol,
        limit: Option<Instant>,
    ) -> Result<Welcome, ClientError> {
        let hello = client::greeting(&self.options.name);
        // A server that refuses has perhaps closed by now, and yet said why.
        let unsent = stream.set_nodelay(true).and_then(|()| stream.write_all(&hello)).err();
        loop {
            match exchange.next_event() {
                Ok(Some(Event::Welcome(welcome))) => return Ok(welcome),
                Ok(Some(Event::GoAway { status, fault })) => return Err(target.refused(status, fault)),
                Ok(Some(_)) => unreachable!("an exchange lets nothing else come first"),
                Ok(None) => {}
                Err(error) => return Err(target.failed(&stranger(&error, exchange.unread()))),
            }
            let read = read(stream, exchange.space(), limit);
            let read = read.map_err(|error| {
                let error = unsent.as_ref().unwrap_or(&error);
                target.failed(&unwelcome(error, exchange.unread()))
            })?;
            exchange.filled(read);
        }
    }
}

/// The addresses of a server, for who connects by other means than a client.
///
/// # Errors
/// [`ClientError::InvalidAddress`], [`ClientError::Connect`].
#[cfg(feature = "cli")]
pub(crate) fn addresses(text: &str) -> Result<Vec<SocketAddr>, ClientError> {
    let target = text.to_server_address()?;
    dns_lookup::shared().addresses(&target, None).map_err(|error| target.failed(&error))
}

/// What holds for a connection once it is greeted.
fn prepare(stream: &TcpStream, keepalive: Option<Duration>) -> io::Result<()> {
    stream.set_read_timeout(None)?;
    stream.set_write_timeout(Some(WRITE_SLICE))?;
    // The time for what is not acknowledged is also the one that the system's questions end with (`tcp(7)`).
    Silence::new(keepalive, keepalive).apply(stream)
}

/// Tries each address that a target has; the time left is shared among those still to be tried.
fn open(addresses: &[SocketAddr], limit: Option<Instant>) -> io::Result<TcpStream> {
    let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
    for (tried, address) in addresses.iter().enumerate() {
        let others = u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        let connected = match limit {
            None => TcpStream::connect(address),
            Some(limit) => {
                time_left(limit).and_then(|left| TcpStream::connect_timeout(address, (left / others).max(MS)))
            }
        };
        match connected.and_then(|stream| refuse_own_end(&stream).map(|()| stream)) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

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

/// What answered speaks another protocol, or ours wrongly.
fn stranger(error: &WireError, said: &[u8]) -> io::Error {
    let what = match error {
        WireError::UnsupportedVersion { .. } => error.to_string(),
        _ => format!("what answers there is not a Boneyard server: it said {} ({error})", quoted(said)),
    };
    io::Error::new(ErrorKind::InvalidData, what)
}

/// There was no Welcome, but perhaps something else.
fn unwelcome(error: &io::Error, said: &[u8]) -> io::Error {
    if said.is_empty() {
        return io::Error::new(error.kind(), error.to_string());
    }
    io::Error::new(error.kind(), format!("{error}; it said {}", quoted(said)))
}

/// The first line of foreign bytes, cut, as text that is safe to show.
fn quoted(said: &[u8]) -> String {
    let line = said.split(|byte| matches!(byte, b'\r' | b'\n')).find(|line| !line.is_empty());
    let line = line.unwrap_or_default();
    let cut = &line[..line.len().min(QUOTED_BYTES_MAX)];
    format!("\"{}{}\"", cut.escape_ascii(), if cut.len() < line.len() { "..." } else { "" })
}

impl ServerAddress {
    fn failed(&self, error: &io::Error) -> ClientError {
        ClientError::Connect { address: self.to_string(), kind: error.kind(), message: error.to_string() }
    }

    /// A GoAway came in place of the Welcome. Its status need not be one that is known, nor one that makes sense there.
    fn refused(&self, status: u16, fault: Fault) -> ClientError {
        let words = quoted(fault.message.as_bytes());
        // This client stood still before it said hello: that passes.
        let known = Status::from_code(status).filter(|status| *status != Status::TooSlow);
        match known.map(|status| ClientError::refused(status, fault, "")) {
            Some(
                error @ (ClientError::Draining { .. }
                | ClientError::Unavailable { .. }
                | ClientError::Rejected { .. }
                | ClientError::QueueFull { .. }
                | ClientError::Overloaded { .. }
                | ClientError::WouldBeLate { .. }
                | ClientError::SessionLimit { .. }),
            ) => error,
            _ => {
                let told = format!("the server takes no connection, with the status {status}: {words}");
                self.failed(&io::Error::new(ErrorKind::ConnectionRefused, told))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::SockRef;
    use std::net::TcpListener;

    #[test]
    fn what_a_stranger_said_is_cut_to_a_line_that_is_safe_to_show() {
        for (said, shown) in [
            (
                &b"HTTP/1.1 503 Service Unavailable\r\nServer: x\r\n"[..],
                r#""HTTP/1.1 503 Service Unavailable""#,
            ),
            (b"\r\n\x1b[2Jhello", r#""\x1b[2Jhello""#),
            (b"\x15\x03\x01\x00", r#""\x15\x03\x01\x00""#),
            (b"", r#""""#),
        ] {
            assert_eq!(quoted(said), shown);
        }
        assert_eq!(quoted(&[b'x'; 1000]), format!("\"{}...\"", "x".repeat(QUOTED_BYTES_MAX)));
    }

    #[test]
    fn a_goaway_of_any_status_says_that_nothing_was_started() {
        let target = "host".to_server_address().unwrap();
        for status in (0..100).chain([999, u16::MAX]) {
            let fault = Fault { code: 1, retry_after_ms: 2, message: "why".to_owned() };
            let error = target.refused(status, fault);
            assert!(error.never_started(), "{status}: {error:?}");
        }
        let fault = Fault { code: 0, retry_after_ms: 0, message: "later".to_owned() };
        let unknown = target.refused(999, fault);
        assert!(unknown.to_string().contains("status 999: \"later\""), "{unknown}");
    }

    /// Of a connection: whether the system asks, its time, interval and count, and the time for what is not
    /// acknowledged.
    fn prepared(keepalive: Option<Duration>) -> (bool, Option<(Duration, Duration, u32)>, Option<Duration>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        prepare(&stream, keepalive).unwrap();
        let socket = SockRef::from(&stream);
        let asks = socket.keepalive().unwrap();
        let times = asks.then(|| {
            let count = socket.tcp_keepalive_retries().unwrap();
            (socket.tcp_keepalive_time().unwrap(), socket.tcp_keepalive_interval().unwrap(), count)
        });
        (asks, times, socket.tcp_user_timeout().unwrap())
    }

    #[test]
    fn connections_have_the_times_of_their_options() {
        const S: Duration = Duration::from_secs(1);
        let usual = prepared(ClientOptions::default().keepalive);
        assert_eq!(usual, (true, Some((60 * S, 20 * S, 3)), Some(120 * S)));
        assert_eq!(prepared(Some(S)), (true, Some((S, S, 3)), Some(2 * S)));
        assert_eq!(prepared(Some(90 * S)), (true, Some((90 * S, 30 * S, 3)), Some(180 * S)));
        assert_eq!(prepared(None), (false, None, None));
    }
}
