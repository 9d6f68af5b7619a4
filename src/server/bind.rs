//! Binds a port's sockets and makes its poll and mailbox: all that can fail for one port before it has a thread. Also
//! binds the sockets of the admin server's address.
//!
//! A port listens on every address of its host; `[::]` is IPv6 alone. Two ports of one server with the same address are
//! found by what their hosts resolve to.

use super::error::StartError;
use super::listener::{ACCEPT, ListenerHandle, MAILBOX};
use crate::config::{Config, ListenAddress, PortConfig};
use crate::sync::Arc;
use mio::net::TcpListener;
use mio::{Interest, Poll, Waker};
use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{Error, ErrorKind};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

pub(super) use crate::tcp::Silence;

/// Connections that may wait to be accepted; the system may allow fewer.
const BACKLOG: i32 = 4096;

/// The same for the admin server.
#[cfg(feature = "admin")]
const ADMIN_BACKLOG: i32 = 128;

/// Port numbers tried, of the system's choice, until one is free at all addresses of a name.
const NUMBERS_MAX: u32 = 16;

impl Silence {
    pub(super) fn of(config: &Config) -> Silence {
        Silence::new(config.keepalive.value, config.send_timeout.value)
    }
}

/// A port's sockets, before it has threads.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) poll: Poll,
    /// One for each of its addresses.
    pub(super) sockets: Vec<TcpListener>,
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) listener: Arc<ListenerHandle>,
}

/// The purpose of a bound socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// It listens.
    Serve,
    /// It shows whether the address can be had, and never listens.
    Rehearse,
}

impl Purpose {
    fn backlog(self, backlog: i32) -> Option<i32> {
        (self == Purpose::Serve).then_some(backlog)
    }
}

/// Resolves the addresses of each port, in their order.
///
/// # Errors
/// A host has no address; or two ports, or a port and the admin server, would have the same.
pub(super) fn resolve(config: &Config) -> Result<Vec<Vec<SocketAddr>>, StartError> {
    let ports = &config.ports;
    let mut all: Vec<Vec<SocketAddr>> = Vec::new();
    for port in ports {
        let found = addresses_of(&port.address).map_err(|error| wrong(port, error))?;
        for (other, theirs) in ports.iter().zip(&all) {
            if let Some(address) = first_collision(&found, theirs) {
                let text = format!("{address} belongs to port {}, at {}", other.name, other.address);
                return Err(wrong(port, Error::other(text)));
            }
        }
        all.push(found);
    }
    keep_from_admin(config, &all)?;
    Ok(all)
}

/// Checks that the admin server has no address of a port, if a line gives its address; else it starts without one.
fn keep_from_admin(config: &Config, all: &[Vec<SocketAddr>]) -> Result<(), StartError> {
    let admin = config.admin_address.value.as_ref().filter(|_| config.admin_address.source.is_given());
    // The admin server reports an address that cannot be resolved.
    let Some((admin, found)) = admin.and_then(|admin| Some((admin, addresses_of(admin).ok()?))) else {
        return Ok(());
    };
    for (port, theirs) in config.ports.iter().zip(all) {
        if let Some(one) = first_collision(&found, theirs) {
            let error = Error::other(format!("{one} belongs to port {}, at {}", port.name, port.address));
            return Err(StartError::Admin { address: admin.to_string(), error });
        }
    }
    Ok(())
}

/// Resolves a host to all its addresses, each once.
fn addresses_of(address: &ListenAddress) -> std::io::Result<Vec<SocketAddr>> {
    let mut found: Vec<SocketAddr> = Vec::new();
    for mut one in (address.host.as_str(), address.port).to_socket_addrs()? {
        // Sockets of IPv6 accept no IPv4 here.
        if let IpAddr::V4(ip) = one.ip().to_canonical() {
            one = SocketAddr::from((ip, one.port()));
        }
        if !found.contains(&one) {
            found.push(one);
        }
    }
    if found.is_empty() {
        return Err(Error::new(ErrorKind::NotFound, "the host has no address"));
    }
    Ok(found)
}

/// Returns the first of these addresses that collides with one of the others.
fn first_collision<'a>(addresses: &'a [SocketAddr], others: &[SocketAddr]) -> Option<&'a SocketAddr> {
    addresses.iter().find(|one| others.iter().any(|two| collide(**one, *two)))
}

/// Returns whether two sockets cannot listen on these at once.
fn collide(one: SocketAddr, two: SocketAddr) -> bool {
    let covers = |a: SocketAddr, b: SocketAddr| a.ip().is_unspecified() && a.is_ipv4() == b.is_ipv4();
    one.port() == two.port() && one.port() != 0 && (one == two || covers(one, two) || covers(two, one))
}

pub(super) fn bind(
    port: &PortConfig,
    addresses: &[SocketAddr],
    silence: Silence,
    purpose: Purpose,
) -> Result<Bound, StartError> {
    let what = format!("port {}", port.name);
    let sockets = open_all(&what, addresses, silence, purpose.backlog(BACKLOG));
    let listeners = |sockets: Vec<Socket>| sockets.into_iter().map(to_listener).collect();
    sockets.map(listeners).and_then(register).map_err(|error| wrong(port, error))
}

fn to_listener(socket: Socket) -> TcpListener {
    TcpListener::from_std(socket.into())
}

/// Binds the admin server to every address of its host.
///
/// # Errors
/// One of them cannot be had, or is a port's; or other machines reach it, and there is no token (`PermissionDenied`).
#[cfg(feature = "admin")]
pub(super) fn bind_admin(
    admin: &ListenAddress,
    guarded: bool,
    ports: &[SocketAddr],
    purpose: Purpose,
) -> std::io::Result<Vec<std::net::TcpListener>> {
    let addresses = addresses_of(admin)?;
    if let Some(open) = addresses.iter().find(|address| !guarded && !address.ip().is_loopback()) {
        let wrong = format!("other machines reach {}, which needs Admin_Token_File", open.ip());
        return Err(Error::new(ErrorKind::PermissionDenied, wrong));
    }
    if let Some(one) = first_collision(&addresses, ports) {
        return Err(Error::other(format!("{one} belongs to a port of this server")));
    }
    let backlog = purpose.backlog(ADMIN_BACKLOG);
    let sockets = open_all("Admin_Address", &addresses, Silence::new(None, None), backlog)?;
    Ok(sockets.into_iter().map(Into::into).collect())
}

fn wrong(port: &PortConfig, error: Error) -> StartError {
    StartError::Bind { port: port.name.clone(), address: port.address.to_string(), error }
}

/// Binds a port again that was stopped, to the addresses it had.
pub(super) fn bind_again(addresses: &[SocketAddr], silence: Silence) -> std::io::Result<Vec<TcpListener>> {
    let open = |address: &SocketAddr| open(*address, silence, Some(BACKLOG));
    addresses.iter().map(|address| open(address).map(to_listener)).collect()
}

/// Opens all sockets of a port or of the admin server. An address of a name is left out if this machine does not have
/// it: names often have one of IPv6 where the machine has none. Where the system chooses the port number, all have the
/// same.
fn open_all(
    what: &str,
    addresses: &[SocketAddr],
    silence: Silence,
    backlog: Option<i32>,
) -> std::io::Result<Vec<Socket>> {
    let mut tries = 0;
    'again: loop {
        let (mut sockets, mut number, mut refusal) = (Vec::new(), None, None);
        for mut address in addresses.iter().copied() {
            if let (0, Some(chosen)) = (address.port(), number) {
                address.set_port(chosen);
            }
            match open(address, silence, backlog) {
                Ok(socket) => {
                    number = socket.local_addr()?.as_socket().map(|address| address.port());
                    sockets.push(socket);
                }
                Err(error) if is_not_of_this_machine(&error) => refusal = Some((address, error)),
                Err(error) if chosen_is_taken(&error, addresses, number) && tries < NUMBERS_MAX => {
                    tries += 1;
                    continue 'again;
                }
                Err(error) => return Err(error),
            }
        }
        match refusal {
            Some((_, error)) if sockets.is_empty() => return Err(error),
            Some((address, error)) => {
                log::info!("{what}: address left out, address={address} error={error}")
            }
            None => {}
        }
        return Ok(sockets);
    }
}

fn is_not_of_this_machine(error: &Error) -> bool {
    error.kind() == ErrorKind::AddrNotAvailable
        || matches!(Errno::from_io_error(error), Some(Errno::AFNOSUPPORT))
}

/// Returns whether the number that the system chose for the first address is taken at one of the others.
fn chosen_is_taken(error: &Error, addresses: &[SocketAddr], number: Option<u16>) -> bool {
    error.kind() == ErrorKind::AddrInUse
        && number.is_some()
        && addresses.first().is_some_and(|address| address.port() == 0)
}

/// Opens a socket, and listens if there is a backlog.
fn open(address: SocketAddr, silence: Silence, backlog: Option<i32>) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for the TIME_WAIT of the connections before it.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // Not left to the system's default: another port may have the IPv4 addresses.
        socket.set_only_v6(true)?;
    }
    silence.apply(&socket)?;
    socket.bind(&address.into())?;
    if let Some(backlog) = backlog {
        socket.listen(backlog)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Makes the poll and the mailbox of a port.
fn register(mut sockets: Vec<TcpListener>) -> std::io::Result<Bound> {
    let poll = Poll::new()?;
    let mut addresses = Vec::new();
    for socket in &mut sockets {
        poll.registry().register(socket, ACCEPT, Interest::READABLE)?;
        addresses.push(socket.local_addr()?);
    }
    let listener = Arc::new(ListenerHandle::new(Waker::new(poll.registry(), MAILBOX)?));
    Ok(Bound { poll, sockets, addresses, listener })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tcp::PROBES;
    use std::time::Duration;

    const S: Duration = Duration::from_secs(1);

    /// The socket options of a connection with these settings: keep-alive, its time, interval and count, and the
    /// user time-out.
    fn accepted(keepalive: u64, send: u64) -> (bool, Duration, Duration, u32, Option<Duration>) {
        let lines = format!("Server_Keepalive={keepalive}\nServer_Send_Timeout={send}");
        let config = Config::from_text(&lines, None, 1).unwrap();
        let listener =
            open(SocketAddr::from(([127, 0, 0, 1], 0)), Silence::of(&config), Some(BACKLOG)).unwrap();
        listener.set_nonblocking(false).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let _peer = std::net::TcpStream::connect(address).unwrap();
        let (socket, _) = listener.accept().unwrap();
        let times = (socket.tcp_keepalive_time().unwrap(), socket.tcp_keepalive_interval().unwrap());
        let probes = socket.tcp_keepalive_retries().unwrap();
        (socket.keepalive().unwrap(), times.0, times.1, probes, socket.tcp_user_timeout().unwrap())
    }

    #[test]
    fn connections_have_the_socket_options_of_their_port() {
        assert_eq!(accepted(60, 60), (true, 60 * S, 20 * S, PROBES, Some(120 * S)));
        assert_eq!(accepted(1, 90), (true, S, S, PROBES, Some(180 * S)));
        let (asks, .., unacknowledged) = accepted(0, 60);
        assert_eq!((asks, unacknowledged), (false, None), "silence is allowed");
        assert_eq!(accepted(30, 0), (true, 30 * S, 10 * S, PROBES, None), "unread replies are allowed");
    }

    fn resolved(lines: &str) -> Result<Vec<Vec<SocketAddr>>, String> {
        let config = Config::from_text(lines, None, 1).unwrap_or_else(|errors| panic!("{errors}"));
        resolve(&config).map_err(|error| error.to_string())
    }

    #[cfg(feature = "admin")]
    #[test]
    fn the_admin_server_binds_every_address_of_its_host_but_those_of_the_ports() {
        let of = |host, ports: &[&str], guarded| {
            let ports: Vec<SocketAddr> = ports.iter().map(|port| port.parse().unwrap()).collect();
            bind_admin(&ListenAddress::new(host, 4787), guarded, &ports, Purpose::Rehearse)
        };
        let names = addresses_of(&ListenAddress::new("localhost", 4787)).unwrap();
        assert_eq!(of("localhost", &[], false).unwrap().len(), names.len());
        // Both at once: a socket of IPv6 takes no IPv4.
        let (six, four) = (of("::", &[], true), of("0.0.0.0", &["[::]:4787"], true));
        assert!(six.is_ok() && four.is_ok(), "{six:?} {four:?}");
        let error = of("127.0.0.1", &["0.0.0.0:4787"], false).unwrap_err();
        assert_eq!(error.to_string(), "127.0.0.1:4787 belongs to a port of this server");
        assert_eq!(of("::", &[], false).unwrap_err().kind(), ErrorKind::PermissionDenied);
    }

    #[test]
    fn two_ports_of_one_address_are_found_by_what_their_hosts_resolve_to() {
        // The interface `lo` is the first.
        let lines = "Ports=A,B\nA_TCPIPAddress=[fe80::1%lo]:7\nB_TCPIPAddress=[fe80::1%1]:7";
        let error = resolved(lines).unwrap_err();
        assert!(error.starts_with("port B cannot listen on "), "{error}");
        assert!(error.contains(" belongs to port A, at "), "{error}");
        for (a, b) in [("[::]:7", "0.0.0.0:7"), ("[::1]:7", "127.0.0.1:7"), ("localhost:0", "127.0.0.1:0")] {
            let found = resolved(&format!("Ports=A,B\nA_TCPIPAddress={a}\nB_TCPIPAddress={b}"));
            assert_eq!(found.map(|ports| ports.len()), Ok(2), "{a} {b}");
        }
    }
}
