//! Ports with several addresses, as a host name gives them: no test can choose what a name resolves to. Also what
//! the tests of this module share.

use super::bind::{self, Purpose, Silence};
use super::builder::Server;
use super::control::AdminHooks;
use super::error::StartError;
use super::running::RunningServer;
use super::start::PreparedServer;
use crate::config::Config;
use crate::service::ServicesBuilder;
use crate::service::builtin::Info;
use std::fmt::Debug;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// Both ends of a connection: the client's, and the accepted one.
pub(super) fn connected() -> (TcpStream, mio::net::TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (stream, _) = listener.accept().unwrap();
    stream.set_nonblocking(true).unwrap();
    (client, mio::net::TcpStream::from_std(stream))
}

/// Checks which transitions are legal: a row for each state it begins in, a column for each it leads to.
pub(super) fn assert_transitions<S: Copy + Debug + PartialEq, const STATES: usize>(
    states: [S; STATES],
    table: [&str; STATES],
    may_become: fn(S, S) -> bool,
    to: fn(&mut S, S),
) {
    for (from, row) in states.into_iter().zip(table) {
        for (next, legal) in states.into_iter().zip(row.chars()) {
            assert_eq!(may_become(from, next), legal == 'x', "{from:?} to {next:?}");
            if legal == 'x' {
                let mut state = from;
                to(&mut state, next);
                assert_eq!(state, next);
            }
        }
    }
}

fn open(addresses: &[SocketAddr]) -> RunningServer {
    let lines = "TCPIP_TCPIPAddress=localhost:0\nServer_Pool_Tasks=2\nAdmin_Address=\n";
    let config = Config::from_text(lines, None, 2).unwrap();
    let bound = bind::bind(&config.ports[0], addresses, Silence::of(&config), Purpose::Serve).unwrap();
    let services = ServicesBuilder::default();
    let prepared =
        PreparedServer::new("Test 1", &config, services, Info::default, Some(1000), vec![bound]).unwrap();
    let mut running = prepared.serve(&config);
    running.start_sampler(&config, AdminHooks::default()).unwrap();
    running
}

#[test]
fn a_port_listens_on_every_address_and_starts_again_on_all() {
    let addresses: Vec<SocketAddr> =
        [[127, 0, 0, 1], [127, 0, 0, 2], [127, 0, 0, 3]].map(|ip| SocketAddr::from((ip, 0))).to_vec();
    let server = open(&addresses);
    let port = &server.ports()[0];
    let found = port.addresses().to_vec();
    assert_eq!(
        found.iter().map(SocketAddr::ip).collect::<Vec<_>>(),
        addresses.iter().map(SocketAddr::ip).collect::<Vec<_>>()
    );
    assert!(found.iter().all(|one| one.port() == found[0].port() && one.port() != 0), "{found:?}");
    assert_eq!(server.connections_max(), 1000 - 64 - 4 - 2, "two more sockets");
    // With more connections than the listener accepts in one turn.
    let all_accept_clients = || {
        let before = port.stats().accepted.get();
        let connect = |n: usize| TcpStream::connect(found[n % found.len()]).unwrap();
        let clients: Vec<_> = (0..99).map(connect).collect();
        let end = Instant::now() + Duration::from_secs(60);
        while port.stats().accepted.get() < before + 99 {
            assert!(Instant::now() < end, "{} of 99", port.stats().accepted.get() - before);
            std::thread::sleep(Duration::from_millis(1));
        }
        drop(clients);
    };
    all_accept_clients();
    let control = server.monitor().control();
    control.stop_port("TCPIP").unwrap();
    for address in &found {
        TcpListener::bind(address).expect("the port listens on none of them");
    }
    control.start_port("TCPIP").unwrap();
    all_accept_clients();
    assert_eq!(server.stop().lost(), 0);
}

#[test]
fn an_address_of_another_machine_is_left_out_if_there_is_another() {
    let (here, elsewhere) = (SocketAddr::from(([127, 0, 0, 1], 0)), SocketAddr::from(([203, 0, 113, 1], 0)));
    let server = open(&[elsewhere, here]);
    assert_eq!(server.ports()[0].addresses().iter().map(SocketAddr::ip).collect::<Vec<_>>(), [here.ip()]);
    let config = Config::default_with(2);
    let none = bind::bind(&config.ports[0], &[elsewhere], Silence::of(&config), Purpose::Serve);
    assert!(matches!(none, Err(StartError::Bind { .. })), "{none:?}");
}

#[test]
fn an_ipv6_port_and_an_ipv4_port_have_one_number() {
    let lines =
        "Ports=A,B\nA_TCPIPAddress=0.0.0.0:0\nB_TCPIPAddress=[::]:0\nServer_Pool_Tasks=1\nAdmin_Address=\n";
    let config = Config::from_text(lines, None, 2).unwrap();
    let bind = |at: usize, address: SocketAddr| {
        bind::bind(&config.ports[at], &[address], Silence::of(&config), Purpose::Serve)
    };
    let any_v4 = bind(0, SocketAddr::from(([0, 0, 0, 0], 0))).unwrap();
    let number = any_v4.addresses[0].port();
    // A machine without IPv6 has nothing to show.
    match bind(1, SocketAddr::from(([0_u16; 8], number))) {
        Ok(any_v6) => assert_eq!(any_v6.addresses[0].port(), number),
        Err(StartError::Bind { error, .. }) => {
            assert_ne!(error.kind(), std::io::ErrorKind::AddrInUse, "{error}")
        }
        Err(error) => panic!("{error}"),
    }
}

/// Returns the link-local address of an interface of this machine, if it has one.
fn link_local() -> Option<String> {
    let interfaces = std::fs::read_to_string("/proc/net/if_inet6").ok()?;
    let line = interfaces.lines().find(|line| line.starts_with("fe80"))?;
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let groups: Vec<&str> = (0..8).map(|n| &fields[0][4 * n..4 * n + 4]).collect();
    Some(format!("{}%{}", groups.join(":"), fields[5]))
}

#[test]
fn a_port_listens_on_a_link_local_address_with_its_zone() {
    // A machine without one has nothing to listen on.
    let Some(host) = link_local() else { return };
    let lines = format!("TCPIP_TCPIPAddress=[{host}]:0\nServer_Pool_Tasks=1\nAdmin_Address=\n");
    let server = Server::new(Config::from_text(&lines, None, 2).unwrap()).start().unwrap();
    let address = server.address();
    assert!(matches!(address, SocketAddr::V6(address) if address.scope_id() > 0), "{address}");
    TcpStream::connect(address).unwrap();
    assert_eq!(server.stop().lost(), 0);
}
