//! A port's socket, poll and doorbell: all that can fail for one port before it has a thread.

use super::StartError;
use super::doorbell::Doorbell;
use super::listener::{ACCEPT, DOORBELL};
use crate::config::PortConfig;
use crate::sync::Arc;
use mio::net::TcpListener;
use mio::{Interest, Poll, Waker};
use socket2::{Domain, Protocol, Socket, Type};
use std::net::{SocketAddr, ToSocketAddrs};

/// Clients that may wait to be accepted; the system may allow fewer.
const BACKLOG: i32 = 4096;

#[derive(Debug)]
pub(super) struct Bound {
    pub(super) poll: Poll,
    pub(super) socket: TcpListener,
    pub(super) address: SocketAddr,
    pub(super) doorbell: Arc<Doorbell>,
}

/// Binds a port to the first of its host's addresses that can be had.
pub(super) fn bind(port: &PortConfig) -> Result<Bound, StartError> {
    listen(port).map_err(|error| StartError::Bind {
        port: port.name.clone(),
        address: port.address.to_string(),
        error,
    })
}

fn listen(port: &PortConfig) -> std::io::Result<Bound> {
    let mut refusal = std::io::Error::new(std::io::ErrorKind::NotFound, "the host has no address");
    for address in (port.address.host.as_str(), port.address.port).to_socket_addrs()? {
        match open(address) {
            Ok(socket) => return watch(TcpListener::from_std(socket.into())),
            Err(error) => refusal = error,
        }
    }
    Err(refusal)
}

fn open(address: SocketAddr) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for the TIME_WAIT of the connections before it.
    socket.set_reuse_address(true)?;
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
