//! Clients that connect often: which side keeps the TIME_WAIT, which connects are refused and with what GoAway.
#![cfg(all(feature = "server", feature = "client"))]

mod common;

use boneyard::Client;
use boneyard::client::{ClientError, ClientOptions};
use boneyard::server::{RunningServer, Server};
use boneyard::service::Status;
use boneyard::service::builtin::PING;
use common::*;
use rustix::process::{Resource, getrlimit};
use std::net::SocketAddr;
use std::time::Duration;

fn client(address: SocketAddr) -> Client {
    Client::with_options(address, ClientOptions::default().retries(0)).unwrap()
}

/// Calls once on a new connection.
fn round(address: SocketAddr) -> Result<(), ClientError> {
    client(address).call(PING, &())
}

fn open(server: &RunningServer) -> u64 {
    server.ports().iter().map(|port| port.stats().open()).sum()
}

fn refused_connects(server: &RunningServer) -> Vec<u64> {
    server.ports().iter().map(|port| port.stats().refused_connects.get()).collect()
}

/// Every TCP socket of this machine: its state, its local and its remote address.
#[cfg(target_os = "linux")]
fn sockets() -> Vec<(String, String, String)> {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let socket = |line: &str| {
        let mut row = line.split_whitespace().skip(1).map(str::to_owned);
        let mut next = || row.next().unwrap();
        let (near, far) = (next(), next());
        (next(), near, far)
    };
    table.lines().skip(1).map(socket).collect()
}

#[cfg(target_os = "linux")]
#[test]
fn the_client_closes_first_so_that_the_server_gathers_no_time_wait() {
    const ROUNDS: u64 = 50;
    const REFUSED: u64 = 20;
    const LISTEN: &str = "0A";
    const TIME_WAIT: &str = "06";
    // A separate address: at the usual one, clients of other tests may have had the same port before.
    let [.., high, low] = std::process::id().to_be_bytes();
    let host = std::net::Ipv4Addr::new(127, 1 + high % 250, low, 77);
    let lines = format!("TCPIP_TCPIPAddress=0,{host}:1\nServer_Max_Connects_Per_Minute={}", ROUNDS + REFUSED);
    let server = load_server(&lines);
    let address = server.address();
    (0..ROUNDS).for_each(|_| assert_eq!(round(address), Ok(())));
    let refused = |expected: Status| {
        for _ in 0..REFUSED {
            let told = round(address);
            assert!(
                matches!(told, Err(ClientError::Unavailable { status, .. }) if status == expected),
                "{told:?}"
            );
        }
    };
    // Refused for want of a session, and by the connection limit.
    server.restrict(true);
    refused(Status::Restricted);
    refused(Status::ConnectLimit);
    assert_eq!(refused_connects(&server), [REFUSED]);
    let end = format!("{:08X}:{:04X}", u32::from_ne_bytes(host.octets()), address.port());
    let near = |state: &str| sockets().iter().filter(|it| it.0 == state && it.1 == end).count();
    wait_until("all of the server's are closed", || {
        open(&server) == 0 && sockets().iter().all(|it| it.1 != end || it.0 == LISTEN || it.0 == TIME_WAIT)
    });
    assert_eq!((near(LISTEN), near(TIME_WAIT)), (1, 0));
    let clients = sockets().iter().filter(|it| it.0 == TIME_WAIT && it.2 == end).count();
    assert!(clients > 0, "none at all: the table does not show them");
}

#[test]
fn a_program_can_read_how_many_connections_its_descriptors_allow() {
    let mut settings = config("Server_Descriptor_Reserve=100");
    settings.descriptors_per_session.value = 3;
    let server = Server::new(settings).start().unwrap();
    let descriptors = getrlimit(Resource::Nofile).current.expect("there is a limit on this system");
    assert_eq!(server.connections_max() as u64, (descriptors - 100 - 4) / 3);
}

#[test]
fn the_connect_rate_of_an_address_is_limited_over_all_ports_together() {
    let lines = format!("{}Server_Max_Connects_Per_Minute=6", ports(&["A", "B"]));
    let server = load_server(&lines);
    let addresses: Vec<SocketAddr> = server.ports().iter().map(|port| port.address()).collect();
    let mut clients: Vec<Raw> = (0..6).map(|n| Raw::connect(addresses[n % 2])).collect();
    for address in addresses {
        let error = round(address).expect_err("the limit is reached");
        let ClientError::Unavailable { status, retry_after: Some(after), .. } = error else {
            panic!("{error:?}")
        };
        assert_eq!(status, Status::ConnectLimit);
        assert!(after > Duration::ZERO && after <= Duration::from_secs(60), "{after:?}");
    }
    assert_eq!(refused_connects(&server), [1, 1]);
    assert_eq!((open(&server), server.ports()[0].stats().refused_descriptors.get()), (6, 0));
    for client in &mut clients {
        assert_eq!(client.call::<_, ()>("server.ping", &()), Ok(()), "who is there is served");
    }
}

#[test]
fn a_refused_peer_that_does_not_close_is_closed_by_the_server() {
    let server = load_server("Server_Max_Connects_Per_Minute=1");
    let mut client = Raw::connect(server.address());
    // More than the lingering close waits for.
    let mut refused: Vec<_> = (0..100).map(|_| connect(server.address())).collect();
    for stream in &mut refused {
        assert_eq!(read_frame(stream).expect("a GoAway").status(), Status::ConnectLimit);
        assert!(read_frame(stream).is_none(), "and then its end");
    }
    assert_eq!(refused_connects(&server), [100]);
    assert_eq!(client.call::<_, ()>("server.ping", &()), Ok(()));
}
