//! What one client can take from all: real servers, and clients of different addresses.
#![cfg(all(feature = "client", feature = "server"))]

mod common;

use boneyard::insight::Whose;
use boneyard::service::Status;
use boneyard::service::session::Opened;
use common::*;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

/// A connection from 127.0.0.`last`.
fn connect_from(last: u8, address: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0)).into()).unwrap();
    socket.connect(&address.into()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.into()
}

fn client(last: u8, address: SocketAddr) -> Raw {
    Raw::greet(connect_from(last, address))
}

fn open(raw: &mut Raw) -> Result<Opened, Status> {
    raw.call("session.open", &()).map_err(|(status, _)| status)
}

/// Opens sessions until it is refused: how many.
fn flood(raw: &mut Raw) -> usize {
    (0..).take_while(|_| open(raw).is_ok()).count()
}

#[test]
fn a_flood_of_sessions_keeps_nobody_out_whether_it_stays_or_leaves() {
    let server = load_server("Server_MaxUsers=500");
    let mut floods = [client(1, server.address()), client(1, server.address())];
    assert_eq!(flood(&mut floods[0]), 493, "the last places are kept for others");
    // Each takes from the other what is more than its half.
    flood(&mut floods[1]);
    for last in [2, 3, 1] {
        let mut guest = client(last, server.address());
        for _ in 0..20 {
            open(&mut guest).expect("a flood makes room");
        }
        assert_eq!(guest.call("server.ping", &()), Ok(()));
    }
    drop(floods);
    wait_until("they are gone", || server.ports()[0].stats().open() == 0);
    let mut later = client(4, server.address());
    for _ in 0..100 {
        open(&mut later).expect("nobody came back to those of the flood");
    }
    assert!(server.sessions_dropped().1 > 100, "it is counted");
    assert!(server.sessions() <= 501);
}

#[test]
fn dropping_a_client_closes_what_it_opened() {
    let server = load_server("Server_MaxUsers=500");
    let house = server.insight().house();
    let (mut one, mut other) = (client(1, server.address()), client(2, server.address()));
    let numbers: Vec<u32> = (0..3).map(|_| open(&mut one).unwrap().session).collect();
    (0..3).for_each(|_| _ = open(&mut other).unwrap());
    let id = house.sessions()[0].id;
    assert_eq!((house.drop_sessions(&Whose::Session(id)), house.drop_sessions(&Whose::Session(id))), (1, 0));
    assert_eq!(one.call::<_, ()>("session.close", &numbers[0]).unwrap_err().0, Status::UnknownSession);
    let meant = Whose::Peer(Ipv4Addr::new(127, 0, 0, 2).into());
    assert_eq!((house.drop_guests(&meant), house.drop_sessions(&meant)), (1, 3));
    wait_until("the other is gone", || server.sessions() == 3);
    drop(one);
    wait_until("its sessions wait for it", || server.sessions() == 2);
    assert_eq!((house.drop_guests(&Whose::All), house.drop_sessions(&Whose::All)), (0, 2));
    assert_eq!(server.sessions(), 0);
}
