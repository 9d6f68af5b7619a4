//! A port's socket, poll and doorbell: all that can fail for one port before it has a thread.

use super::StartError;
use super::doorbell::Doorbell;
use super::listener::{ACCEPT, DOORBELL};
use crate::config::{Config, PortConfig};
use crate::sync::Arc;
use mio::net::TcpListener;
use mio::{Interest, Poll, Waker};
use socket2::{Domain, Protocol, Socket, Type};
use std::net::{SocketAddr, ToSocketAddrs};

pub(super) use crate::net::Silence;

/// Clients that may wait to be accepted; the system may allow fewer.
const BACKLOG: i32 = 4096;

impl Silence {
    pub(super) fn of(config: &Config) -> Silence {
        Silence::new(config.keepalive.value, config.send_timeout.value)
    }
}

#[derive(Debug)]
pub(super) struct Bound {
    pub(super) poll: Poll,
    pub(super) socket: TcpListener,
    pub(super) address: SocketAddr,
    pub(super) doorbell: Arc<Doorbell>,
}

/// Binds a port to the first of its host's addresses that can be had.
pub(super) fn bind(port: &PortConfig, silence: Silence) -> Result<Bound, StartError> {
    listen(port, silence).map_err(|error| StartError::Bind {
        port: port.name.clone(),
        address: port.address.to_string(),
        error,
    })
}

/// Binds a port that was stopped to the address it had.
pub(super) fn bind_again(address: SocketAddr, silence: Silence) -> std::io::Result<TcpListener> {
    open(address, silence).map(|socket| TcpListener::from_std(socket.into()))
}

fn listen(port: &PortConfig, silence: Silence) -> std::io::Result<Bound> {
    let mut refusal = std::io::Error::new(std::io::ErrorKind::NotFound, "the host has no address");
    for address in (port.address.host.as_str(), port.address.port).to_socket_addrs()? {
        match open(address, silence) {
            Ok(socket) => return watch(TcpListener::from_std(socket.into())),
            Err(error) => refusal = error,
        }
    }
    Err(refusal)
}

fn open(address: SocketAddr, silence: Silence) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for the TIME_WAIT of the connections before it.
    socket.set_reuse_address(true)?;
    silence.apply(&socket)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn watch(mut socket: TcpListener) -> std::io::Result<Bound> {
    let poll = Poll::new()?;
    poll.registry().register(&mut socket, ACCEPT, Interest::READABLE)?;
    let doorbell = Arc::new(Doorbell::new(Waker::new(poll.registry(), DOORBELL)?));
    let address = socket.local_addr()?;
    Ok(Bound { poll, socket, address, doorbell })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::PROBES;
    use std::time::Duration;

    const S: Duration = Duration::from_secs(1);

    /// What holds for a connection of a port with these settings: keep-alive, its time, interval and count, and the
    /// time for what is not acknowledged.
    fn accepted(keepalive: u64, send: u64) -> (bool, Duration, Duration, u32, Option<Duration>) {
        let lines = format!("Server_Keepalive={keepalive}\nServer_Send_Timeout={send}");
        let config = Config::from_text(&lines, None, 1).unwrap();
        let listener = open(SocketAddr::from(([127, 0, 0, 1], 0)), Silence::of(&config)).unwrap();
        listener.set_nonblocking(false).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let _peer = std::net::TcpStream::connect(address).unwrap();
        let (socket, _) = listener.accept().unwrap();
        let times = (socket.tcp_keepalive_time().unwrap(), socket.tcp_keepalive_interval().unwrap());
        let probes = socket.tcp_keepalive_retries().unwrap();
        (socket.keepalive().unwrap(), times.0, times.1, probes, socket.tcp_user_timeout().unwrap())
    }

    #[test]
    fn connections_have_the_times_of_their_port() {
        assert_eq!(accepted(60, 60), (true, 60 * S, 20 * S, PROBES, Some(120 * S)));
        assert_eq!(accepted(1, 90), (true, S, S, PROBES, Some(180 * S)));
        let (asks, .., unacknowledged) = accepted(0, 60);
        assert_eq!((asks, unacknowledged), (false, None), "silence is borne");
        assert_eq!(accepted(30, 0), (true, 30 * S, 10 * S, PROBES, None), "unread replies are");
    }
}
