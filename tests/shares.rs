//! What one client can take from all: real servers, and clients of different addresses.
#![cfg(all(feature = "client", feature = "server"))]

mod common;

use boneyard::internal::metrics::CloseReason;
use boneyard::internal::monitor::ConnectionFilter;
use boneyard::internal::monitor::statistics::StatisticValue;
use boneyard::internal::wire::FrameKind;
use boneyard::internal::wire::body::Hello;
use boneyard::internal::wire::limits::HEADER_BYTES;
use boneyard::internal::wire::{Codec, Preface};
use boneyard::service::Status;
use boneyard::service::session::Opened;
use common::logged::Lines;
use common::*;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};

/// A client at 127.0.0.`last`.
fn client(last: u8, address: SocketAddr) -> Raw {
    Raw::greet(connect_from(Ipv4Addr::new(127, 0, 0, last), address))
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
        let mut connection = client(last, server.address());
        for _ in 0..20 {
            open(&mut connection).expect("a flood makes room");
        }
        assert_eq!(connection.call("server.ping", &()), Ok(()));
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

/// Calls each session once that a connection opened. All at once, so that they are queued and answered in any order.
fn call_each(raw: &mut Raw, sessions: &[u32]) {
    let calls: Vec<u8> = sessions
        .iter()
        .flat_map(|session| {
            let mut frame = raw.frame("server.ping", &(), 0).1;
            // The prelude begins with the session.
            frame[HEADER_BYTES..HEADER_BYTES + 4].copy_from_slice(&session.to_le_bytes());
            frame
        })
        .collect();
    raw.stream.write_all(&calls).unwrap();
    sessions.iter().for_each(|_| assert_eq!(raw.read().expect("an answer").status(), Status::Ok));
}

#[test]
fn a_gateway_whose_sessions_were_called_comes_back_and_shuts_nobody_out() {
    let server = load_server("Server_MaxUsers=500");
    let mut gateway = client(1, server.address());
    let sessions: Vec<u32> =
        std::iter::from_fn(|| open(&mut gateway).ok()).map(|opened| opened.session).collect();
    assert_eq!(sessions.len(), 493);
    sessions.chunks(100).for_each(|some| call_each(&mut gateway, some));
    drop(gateway);
    wait_until("it is gone", || server.ports()[0].stats().open() == 0);
    let (mut again, mut other) = (client(1, server.address()), client(2, server.address()));
    for n in 0..200 {
        open(&mut again).unwrap_or_else(|status| panic!("its own, {n}: {status:?}"));
        open(&mut other).unwrap_or_else(|status| panic!("another's, {n}: {status:?}"));
    }
}

#[test]
fn dropping_a_client_closes_what_it_opened() {
    let server = load_server("Server_MaxUsers=500");
    let house = server.monitor().control();
    let (mut one, mut other) = (client(1, server.address()), client(2, server.address()));
    let numbers: Vec<u32> = (0..3).map(|_| open(&mut one).unwrap().session).collect();
    (0..3).for_each(|_| _ = open(&mut other).unwrap());
    let id = house.sessions()[0].id;
    assert_eq!(
        (
            house.drop_sessions(&ConnectionFilter::Session(id)),
            house.drop_sessions(&ConnectionFilter::Session(id))
        ),
        (1, 0)
    );
    assert_eq!(one.call::<_, ()>("session.close", &numbers[0]).unwrap_err().0, Status::UnknownSession);
    let meant = ConnectionFilter::Peer(Ipv4Addr::new(127, 0, 0, 2).into());
    assert_eq!((house.close_connections(&meant), house.drop_sessions(&meant)), (1, 3));
    wait_until("the other is gone", || server.sessions() == 3);
    drop(one);
    wait_until("its sessions wait for it", || server.sessions() == 2);
    assert_eq!(
        (house.close_connections(&ConnectionFilter::All), house.drop_sessions(&ConnectionFilter::All)),
        (0, 2)
    );
    assert_eq!(server.sessions(), 0);
}

/// What a client hears that says Hello.
fn hears(own: Ipv4Addr, address: SocketAddr) -> FrameKind {
    let mut stream = connect_from(own, address);
    stream.write_all(&greeting()).ok();
    read_frame(&mut stream).expect("an answer").header.kind
}

#[test]
fn who_connects_too_often_is_refused_however_many_others_connect() {
    let server = load_server("Server_Max_Connects_Per_Minute=2");
    let guilty = Ipv4Addr::new(127, 0, 1, 1);
    let heard = [(); 3].map(|()| hears(guilty, server.address()));
    assert_eq!(heard, [FrameKind::Welcome, FrameKind::Welcome, FrameKind::GoAway]);
    for n in 0..6_000 {
        let [.., high, low] = u32::to_be_bytes(n);
        drop(connect_from(Ipv4Addr::new(127, 2, high, low), server.address()));
    }
    assert_eq!(hears(Ipv4Addr::new(127, 0, 1, 2), server.address()), FrameKind::Welcome, "it may come");
    assert_eq!(hears(guilty, server.address()), FrameKind::GoAway);
    let stats = server.ports()[0].stats();
    assert_eq!(stats.refused_connects.get(), 2);
}

#[test]
fn many_connections_that_are_used_are_not_told_of_and_many_brief_ones_are() {
    let (lines, server) = (Lines::collect(), load_server(""));
    let told = || lines.with("connects too often").into_iter().filter(|line| line.starts_with("127.0.2."));
    let (user, brief) = (Ipv4Addr::new(127, 0, 2, 1), Ipv4Addr::new(127, 0, 2, 2));
    for _ in 0..2 {
        let mut clients: Vec<Raw> =
            (0..70).map(|_| Raw::greet(connect_from(user, server.address()))).collect();
        for client in &mut clients {
            (0..10).for_each(|_| client.call("server.ping", &()).unwrap());
        }
    }
    (0..70).for_each(|_| _ = hears(brief, server.address()));
    wait_until("all are gone", || server.ports()[0].stats().open() == 0);
    let told: Vec<_> = told().collect();
    assert!(told.len() == 1 && told[0].starts_with("127.0.2.2 connects too often: connects=61 "), "{told:?}");
}

/// A server without a session for it tells a client to come again: that it does is nothing to tell of.
#[test]
fn who_is_refused_a_session_again_and_again_does_not_connect_too_often() {
    let (lines, server) = (Lines::collect(), load_server("Server_MaxUsers=2"));
    let _taken = [client(1, server.address()), client(1, server.address())];
    let refused = |own| (0..70).for_each(|_| assert_eq!(hears(own, server.address()), FrameKind::GoAway));
    refused(Ipv4Addr::new(127, 0, 4, 1));
    server.restrict(true);
    refused(Ipv4Addr::new(127, 0, 4, 2));
    let stats = server.ports()[0].stats();
    wait_until("all are closed", || stats.open() == 2);
    assert_eq!(
        (stats.closed_for(CloseReason::MaxUsers), stats.closed_for(CloseReason::Restricted)),
        (70, 70)
    );
    let told: Vec<_> = lines.with("connects too often");
    assert!(!told.iter().any(|line| line.starts_with("127.0.4.")), "{told:?}");
}

/// Greets with a name of its own.
fn client_called(name: &str, own: Ipv4Addr, address: SocketAddr) -> Raw {
    let (mut stream, mut body) = (connect_from(own, address), Vec::new());
    Codec::Bincode.encode(&Hello { client: name.to_owned() }, &mut body).unwrap();
    stream
        .write_all(&[Preface::OURS.write().to_vec(), frame(FrameKind::Hello, 0, 0, &body)].concat())
        .unwrap();
    Raw::hear_welcome(stream)
}

#[test]
fn no_client_fills_the_log_and_what_is_left_out_is_counted() {
    let (lines, server) = (Lines::collect(), load_server("Log_Sessions=1"));
    let (flood, connection) = (Ipv4Addr::new(127, 0, 3, 1), Ipv4Addr::new(127, 0, 3, 2));
    let name = format!("left-out\n{}", "x".repeat(990));
    let mut raw = client_called(&name, flood, server.address());
    for _ in 0..1_000 {
        let opened = open(&mut raw).unwrap();
        raw.call::<_, ()>("session.close", &opened.session).unwrap();
    }
    drop(client_called("left-out guest", connection, server.address()));
    wait_until("its end is told", || lines.with("of left-out guest").len() == 1);
    let about = lines.with("left-out\\nxxx");
    // Within two periods, should the machine be so slow.
    assert!((250..=500).contains(&about.len()), "{} lines", about.len());
    assert!(about.iter().all(|line| line.len() < 200), "names are cut: {}", about[0]);
    let left_out = |statistics: Vec<boneyard::internal::monitor::Statistic>| {
        statistics.iter().any(|one| one.name == "Server.Log.LeftOut" && one.value != StatisticValue::Count(0))
    };
    assert!(left_out(server.monitor().statistics()));
    server.monitor().control().drop_sessions(&ConnectionFilter::All);
    server.stop();
    let told = lines.with("lines about clients suppressed");
    assert!(told.iter().any(|line| line.ends_with("client=127.0.3.1")), "{told:?}");
}
