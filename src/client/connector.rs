//! One attempt to connect: name lookup, TCP connect to each address in turn, handshake.
//!
//! Knows sockets until their handshake is done; knows no calls. Invariant: nothing of a call has been sent by the time
//! an attempt fails, and each of its errors says so ([`ClientError::never_started`]).

use super::address::{ServerAddress, ToServerAddress};
use super::connection::ClientConnection;
use super::dns_lookup::{self, Lookups};
use super::options::{ADDRESSES_MAX, ClientOptions};
use crate::proto::client::{self, ClientProtocol, Event};
use crate::service::{ClientError, Fault, Status};
use crate::sync::Arc;
use crate::tcp::{Silence, refuse_own_end};
use crate::wire::WireError;
use crate::wire::body::Welcome;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

const MS: Duration = Duration::from_millis(1);

/// Most bytes of an unknown peer's answer that an error quotes.
const QUOTED_BYTES_MAX: usize = 80;

/// Makes a client's connections.
#[derive(Debug)]
pub(super) struct Connector {
    /// In the order in which they are tried; never empty.
    addresses: Vec<ServerAddress>,
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
        let addresses = addresses.iter().map(ToServerAddress::to_server_address);
        Ok(Connector {
            addresses: addresses.collect::<Result<_, _>>()?,
            options,
            lookups: dns_lookup::shared(),
        })
    }

    /// Makes one attempt: connects to the first address that succeeds. Blocks.
    ///
    /// # Errors
    /// Why there is no connection; [`ClientError::DeadlineExceeded`] when `deadline` was the limit.
    pub(super) fn connect(&self, deadline: Option<Instant>) -> Result<ClientConnection, ClientError> {
        let timeout = Instant::now().checked_add(self.options.connect_timeout);
        let limit = timeout.into_iter().chain(deadline).min();
        self.try_all(limit).map_err(|error| match error {
            // It was the call's own deadline: other calls may still have time.
            ClientError::Connect { kind: ErrorKind::TimedOut, .. }
                if deadline.is_some_and(|deadline| Instant::now() >= deadline) =>
            {
                ClientError::late(false)
            }
            error => error,
        })
    }

    /// Tries all addresses; the time left is shared among those still to be tried.
    fn try_all(&self, limit: Option<Instant>) -> Result<ClientConnection, ClientError> {
        let mut others = self.addresses.len() as u32;
        let (last, before) = self.addresses.split_last().expect("`new` refuses an empty list");
        for address in before {
            let limit = limit.map(|limit| {
                let now = Instant::now();
                now + limit.saturating_duration_since(now) / others
            });
            match self.try_one(address, limit) {
                Ok(connection) => return Ok(connection),
                Err(error) => log::debug!("trying the next address, error={error}"),
            }
            others -= 1;
        }
        self.try_one(last, limit)
    }

    fn try_one(
        &self,
        address: &ServerAddress,
        limit: Option<Instant>,
    ) -> Result<ClientConnection, ClientError> {
        let addresses = self.lookups.addresses(address, limit);
        let opened = addresses.and_then(|addresses| open(&addresses, limit));
        let stream = opened.map_err(|error| connect_error(address, &error))?;
        let mut protocol = ClientProtocol::new(self.options.reply_bytes_max);
        let welcome = self.handshake(address, &stream, &mut protocol, limit)?;
        configure(&stream, self.options.keepalive).map_err(|error| connect_error(address, &error))?;
        log::debug!("connected, address={address} server={:?}", welcome.server);
        ClientConnection::new(stream, welcome, protocol, self.options.reply_bytes_max)
    }

    /// Sends the Hello and waits for the Welcome.
    fn handshake(
        &self,
        address: &ServerAddress,
        mut stream: &TcpStream,
        protocol: &mut ClientProtocol,
        limit: Option<Instant>,
    ) -> Result<Welcome, ClientError> {
        let hello = client::greeting(&self.options.name);
        // A server that refuses may have closed by now, and yet have sent the reason.
        let unsent = stream.set_nodelay(true).and_then(|()| stream.write_all(&hello)).err();
        loop {
            match protocol.next_event() {
                Ok(Some(Event::Welcome(welcome))) => return Ok(welcome),
                Ok(Some(Event::GoAway { status, fault })) => return Err(refused(address, status, fault)),
                Ok(Some(_)) => unreachable!("the protocol allows nothing else first"),
                Ok(None) => {}
                Err(error) => return Err(connect_error(address, &not_boneyard(&error, protocol.unread()))),
            }
            let read = read(stream, protocol.space(), limit);
            let read = read.map_err(|error| {
                let error = unsent.as_ref().unwrap_or(&error);
                connect_error(address, &no_welcome(error, protocol.unread()))
            })?;
            protocol.filled(read);
        }
    }
}

/// Looks up the addresses of a server, for programs that connect without a client. Blocks.
///
/// # Errors
/// [`ClientError::InvalidAddress`], [`ClientError::Connect`].
#[cfg(feature = "cli")]
pub(crate) fn addresses(text: &str) -> Result<Vec<SocketAddr>, ClientError> {
    let address = text.to_server_address()?;
    dns_lookup::shared().addresses(&address, None).map_err(|error| connect_error(&address, &error))
}

/// Sets the socket options of a connection after its handshake.
fn configure(stream: &TcpStream, keepalive: Option<Duration>) -> io::Result<()> {
    // The time for unacknowledged data is also when keep-alive probing ends (`tcp(7)`).
    Silence::new(keepalive, keepalive).apply(stream)
}

/// Connects to the first address that accepts; the time left is shared among those still to be tried.
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

/// Reads at least one byte.
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

/// The error for a peer that speaks another protocol, or violates ours.
fn not_boneyard(error: &WireError, received: &[u8]) -> io::Error {
    let message = match error {
        WireError::UnsupportedVersion { .. } => error.to_string(),
        _ => format!("not a Boneyard server: it answered {} ({error})", quoted(received)),
    };
    io::Error::new(ErrorKind::InvalidData, message)
}

/// The error for a peer that sent no Welcome, but perhaps something else.
fn no_welcome(error: &io::Error, received: &[u8]) -> io::Error {
    if received.is_empty() {
        return io::Error::new(error.kind(), error.to_string());
    }
    io::Error::new(error.kind(), format!("{error}; it answered {}", quoted(received)))
}

/// The first line of foreign bytes, cut, as text that is safe to show.
fn quoted(received: &[u8]) -> String {
    let line = received.split(|byte| matches!(byte, b'\r' | b'\n')).find(|line| !line.is_empty());
    let line = line.unwrap_or_default();
    let cut = &line[..line.len().min(QUOTED_BYTES_MAX)];
    format!("\"{}{}\"", cut.escape_ascii(), if cut.len() < line.len() { "..." } else { "" })
}

fn connect_error(address: &ServerAddress, error: &io::Error) -> ClientError {
    ClientError::Connect { address: address.to_string(), kind: error.kind(), message: error.to_string() }
}

/// The error for a GoAway in place of the Welcome. Its status need be neither known nor one that makes sense there.
fn refused(address: &ServerAddress, status: u16, fault: Fault) -> ClientError {
    let words = quoted(fault.message.as_bytes());
    // TooSlow: this client was suspended before its Hello, which passes.
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
            let message = format!("the server refused the connection with status {status}: {words}");
            connect_error(address, &io::Error::new(ErrorKind::ConnectionRefused, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::SockRef;
    use std::net::TcpListener;

    #[test]
    fn foreign_bytes_are_cut_to_a_line_that_is_safe_to_show() {
        for (received, shown) in [
            (
                &b"HTTP/1.1 503 Service Unavailable\r\nServer: x\r\n"[..],
                r#""HTTP/1.1 503 Service Unavailable""#,
            ),
            (b"\r\n\x1b[2Jhello", r#""\x1b[2Jhello""#),
            (b"\x15\x03\x01\x00", r#""\x15\x03\x01\x00""#),
            (b"", r#""""#),
        ] {
            assert_eq!(quoted(received), shown);
        }
        assert_eq!(quoted(&[b'x'; 1000]), format!("\"{}...\"", "x".repeat(QUOTED_BYTES_MAX)));
    }

    #[test]
    fn a_goaway_of_any_status_says_that_nothing_was_started() {
        let address = "host".to_server_address().unwrap();
        for status in (0..100).chain([999, u16::MAX]) {
            let fault = Fault { code: 1, retry_after_ms: 2, message: "why".to_owned() };
            let error = refused(&address, status, fault);
            assert!(error.never_started(), "{status}: {error:?}");
        }
        let fault = Fault { code: 0, retry_after_ms: 0, message: "later".to_owned() };
        let unknown = refused(&address, 999, fault);
        assert!(unknown.to_string().contains("status 999: \"later\""), "{unknown}");
    }

    /// Options of a connection: whether keep-alive is on, its time, interval and count, and the time for
    /// unacknowledged data.
    fn configured(
        keepalive: Option<Duration>,
    ) -> (bool, Option<(Duration, Duration, u32)>, Option<Duration>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        configure(&stream, keepalive).unwrap();
        let socket = SockRef::from(&stream);
        let on = socket.keepalive().unwrap();
        let times = on.then(|| {
            let count = socket.tcp_keepalive_retries().unwrap();
            (socket.tcp_keepalive_time().unwrap(), socket.tcp_keepalive_interval().unwrap(), count)
        });
        (on, times, socket.tcp_user_timeout().unwrap())
    }

    #[test]
    fn connections_have_the_keepalive_of_their_options() {
        const S: Duration = Duration::from_secs(1);
        let usual = configured(ClientOptions::default().keepalive);
        assert_eq!(usual, (true, Some((60 * S, 20 * S, 3)), Some(120 * S)));
        assert_eq!(configured(Some(S)), (true, Some((S, S, 3)), Some(2 * S)));
        assert_eq!(configured(Some(90 * S)), (true, Some((90 * S, 30 * S, 3)), Some(180 * S)));
        assert_eq!(configured(None), (false, None, None));
    }
}
