//! Options of TCP sockets that std does not offer, for servers and clients.
//!
//! Knows options of sockets; knows no protocol.

use socket2::{SockRef, TcpKeepalive};
use std::io::Result;
#[cfg(any(feature = "client", feature = "admin"))]
use std::io::{Error, ErrorKind};
use std::os::fd::AsFd;
use std::time::Duration;

/// Keepalive probes to a silent peer before the system ends the connection.
pub(crate) const PROBES: u32 = 3;

/// Times after which the system itself ends the connection of a silent peer. `None` is never, or the system's default.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Silence {
    /// Time without data until the first probe.
    pub(crate) keepalive: Option<Duration>,
    /// Time for which sent data may stay unacknowledged, or find no room at the peer.
    pub(crate) unacknowledged: Option<Duration>,
}

impl Silence {
    /// `unread` is how long a peer may leave unread what was sent to it.
    pub(crate) fn new(keepalive: Option<Duration>, unread: Option<Duration>) -> Silence {
        // As long as the probes take. A peer that may leave bytes unread for longer must not lose its connection for
        // that, and this time is also that of a peer which has no room.
        let unacknowledged = keepalive.zip(unread).map(|(keepalive, unread)| 2 * keepalive.max(unread));
        Silence { keepalive, unacknowledged }
    }

    /// For a connection, or for a socket that listens: those accepted from it are the same.
    pub(crate) fn apply(self, socket: &impl AsFd) -> Result<()> {
        let socket = SockRef::from(socket);
        if let Some(time) = self.keepalive {
            let between = (time / PROBES).max(Duration::from_secs(1));
            let times = TcpKeepalive::new().with_time(time).with_interval(between);
            socket.set_tcp_keepalive(&times.with_retries(PROBES))?;
        }
        // Other systems keep times of their own.
        #[cfg(target_os = "linux")]
        if self.unacknowledged.is_some() {
            socket.set_tcp_user_timeout(self.unacknowledged)?;
        }
        Ok(())
    }
}

/// Host and port of `host:port` or `[IPv6]:port`, apart: as one text, the standard library takes no link-local address
/// with the name of its zone. `None` where there is no port.
#[cfg(feature = "admin")]
pub(crate) fn host_and_port(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(host) => host.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    Some((host, port.parse().ok()?))
}

/// Fails for a connection whose two ends are one socket. The system makes such a one when no socket listens at a port
/// that it also chooses for outgoing connections. It is reset when it is dropped: closed in order, it would keep the
/// server's port for a minute.
///
/// # Errors
/// [`ErrorKind::ConnectionRefused`], as without the coincidence.
#[cfg(any(feature = "client", feature = "admin"))]
pub(crate) fn refuse_own_end(stream: &impl AsFd) -> Result<()> {
    let socket = SockRef::from(stream);
    let (near, far) = (socket.local_addr()?, socket.peer_addr()?);
    if near.as_socket() != far.as_socket() || near.as_socket().is_none() {
        return Ok(());
    }
    socket.set_linger(Some(Duration::ZERO))?;
    Err(Error::new(ErrorKind::ConnectionRefused, "Connection refused (no listener there)"))
}

#[cfg(any(feature = "client", feature = "admin"))]
#[cfg(test)]
mod tests {
    use super::*;
    use socket2::{Domain, Socket, Type};
    use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

    /// A socket that is connected to itself, as a connect from the very port makes it.
    fn own_end(host: Ipv4Addr) -> (Socket, SocketAddr) {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((host, 0)).into()).unwrap();
        let address = socket.local_addr().unwrap();
        socket.connect(&address).unwrap();
        (socket, address.as_socket().unwrap())
    }

    #[test]
    fn a_connection_to_itself_counts_as_refused_and_leaves_the_port_free() {
        let (socket, address) = own_end(Ipv4Addr::new(127, 9, 1, 3));
        let error = refuse_own_end(&socket).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        drop(socket);
        // Without SO_REUSEADDR, which std sets: any state that is left of the connection is in the way.
        let server = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        server.bind(&address.into()).expect("nothing holds the port");
        server.listen(1).unwrap();
    }

    #[cfg(feature = "admin")]
    #[test]
    fn an_address_is_parted_at_its_last_colon() {
        for (text, expected) in [
            ("host:7", Some(("host", 7))),
            ("[fe80::1%eth0]:7", Some(("fe80::1%eth0", 7))),
            ("[::1]", None),
            ("[::1:7", None),
            ("1::2:7", None),
            ("host", None),
            ("host:x", None),
        ] {
            assert_eq!(host_and_port(text), expected, "{text}");
        }
    }

    #[test]
    fn a_connection_to_another_socket_is_let_be() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        refuse_own_end(&stream).unwrap();
        refuse_own_end(&listener.accept().unwrap().0).unwrap();
    }
}
