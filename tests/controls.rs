//! What an administrator does to a server that serves: looks at its connections and sessions, closes some, stops and
//! starts a port, changes settings, gives orders.
#![cfg(all(feature = "client", feature = "server"))]

mod common;
#[path = "controls/ports.rs"]
mod ports_stop_and_start;
mod process;
#[path = "controls/settings.rs"]
mod settings;

use boneyard::internal::metrics::CloseReason;
use boneyard::internal::monitor::{ConnectionFilter, ControlError, ServerControl};
use boneyard::internal::wire::FrameKind;
use boneyard::server::Server;
use boneyard::service::Status;
use boneyard::{Client, RunningServer};
use common::*;
use std::sync::mpsc;
use std::time::Duration;

fn control(server: &RunningServer) -> &dyn ServerControl {
    server.monitor().control()
}

#[test]
fn guests_are_listed_with_what_they_do() {
    let server = load_server(&ports(&["A", "B"]));
    let mut raw: Vec<Raw> = server.ports().iter().map(|port| Raw::connect(port.address())).collect();
    for _ in 0..3 {
        raw[0].call::<_, Vec<u8>>("load.echo", &vec![1_u8]).unwrap();
    }
    let stuck = raw[1].send("load.sleep", &60_000_u64);
    wait_until("the call is in", || server.in_flight() == 1);
    let connections = control(&server).connections();
    let seen: Vec<_> =
        connections.iter().map(|g| (&*g.port, g.id, g.calls, g.in_flight, g.sessions)).collect();
    assert_eq!(seen, [("A", 1, 3, 0, 1), ("B", 1, 1, 1, 1)]);
    for (connection, raw) in connections.iter().zip(&raw) {
        assert_eq!(connection.peer, raw.stream.local_addr().unwrap());
        assert!(connection.idle < PATIENCE && connection.age < PATIENCE);
    }
    drop(raw.remove(0));
    wait_until("the first has gone", || control(&server).connections().len() == 1);
    let next = Raw::connect(server.address());
    assert_eq!(control(&server).connections()[0].id, 2, "nobody has had this number");
    drop(next);
    assert!(stuck > 0);
    server.stop_within(Duration::ZERO);
    let _ = raw;
}

#[test]
fn those_who_are_meant_are_dropped_and_told_and_counted() {
    let server = load_server(&ports(&["A", "B"]));
    let connect = |port: usize| Raw::connect(server.ports()[port].address());
    let (mut one, mut other, mut third) = (connect(0), connect(0), connect(1));
    let closed = |port: usize| server.ports()[port].stats().closed_for(CloseReason::Dropped);
    assert_eq!(control(&server).close_connections(&ConnectionFilter::One("a".to_owned(), 2)), 1);
    let goaway = other.read().expect("it is told");
    assert_eq!((goaway.header.kind, goaway.status()), (FrameKind::GoAway, Status::SessionClosed));
    assert!(other.read().is_none(), "and closed");
    drop(other);
    wait_until("it is gone", || closed(0) == 1);
    assert_eq!(
        control(&server).close_connections(&ConnectionFilter::One("A".to_owned(), 2)),
        0,
        "nobody has that number now"
    );
    one.call::<_, Vec<u8>>("load.echo", &vec![1_u8]).expect("the others go on");
    assert_eq!(control(&server).close_connections(&ConnectionFilter::Peer("10.0.0.1".parse().unwrap())), 0);
    assert_eq!(
        control(&server).close_connections(&ConnectionFilter::Peer("::ffff:127.0.0.1".parse().unwrap())),
        2
    );
    for raw in [&mut one, &mut third] {
        assert_eq!(raw.read().expect("it is told").header.kind, FrameKind::GoAway);
        assert!(raw.read().is_none());
    }
    drop((one, third));
    wait_until("all are gone", || control(&server).connections().is_empty());
    assert_eq!((closed(0), closed(1)), (2, 1));
    assert_eq!(control(&server).close_connections(&ConnectionFilter::All), 0);
}

#[test]
fn a_client_that_is_dropped_comes_back_by_itself() {
    let server = load_server("");
    let client = Client::new(server.address()).unwrap();
    let echo = boneyard::Method::<Vec<u8>, Vec<u8>>::new("load.echo").idempotent();
    for _ in 0..5 {
        assert_eq!(client.call(echo, &vec![7]).unwrap(), [7]);
        assert_eq!(control(&server).close_connections(&ConnectionFilter::All), 1);
    }
    assert_eq!(client.call(echo, &vec![7]).unwrap(), [7]);
}

#[test]
fn sessions_are_listed() {
    let server = load_server("Log_Sessions=1");
    let client = Client::new(server.address()).unwrap();
    let session = client.session().unwrap();
    let sessions = control(&server).sessions();
    assert_eq!(sessions.iter().map(|s| (s.id, s.attached)).collect::<Vec<_>>(), [(1, true), (2, true)]);
    assert!(!sessions[0].client.is_empty() && sessions[0].client == sessions[1].client);
    assert_eq!(control(&server).close_connections(&ConnectionFilter::All), 1);
    wait_until("the connection is gone, and its own session", || {
        control(&server).sessions().iter().all(|s| s.id == 2 && !s.attached)
    });
    drop(session);
}

#[test]
fn hundreds_of_guests_are_listed_at_once() {
    let server = load_server("");
    let connections: Vec<_> = (0..300).map(|_| Raw::connect(server.address())).collect();
    // All or none: a listener is waited for a quarter of a second and no longer.
    wait_until("all are listed within the bound of an answer", || {
        control(&server).connections().len() == connections.len()
    });
}

#[test]
fn services_are_told_and_the_program_hears_of_a_quit() {
    let (asked, quits) = mpsc::channel();
    let server = Server::new(config(""))
        .on_tell(
            "notes",
            |order| if order == "compact" { Ok("compacted".to_owned()) } else { Err("?".to_owned()) },
        )
        .on_quit(move || asked.send(()).unwrap())
        .start()
        .unwrap();
    assert_eq!(control(&server).tell("Notes", "compact"), Ok("compacted".to_owned()));
    assert_eq!(control(&server).tell("notes", "").unwrap_err().to_string(), "?");
    assert!(control(&server).tell("mail", "compact").is_err());
    assert_eq!((control(&server).quit(), quits.try_recv()), (Ok(()), Ok(())));
    let deaf = load_server("");
    assert!(control(&deaf).quit().is_err());
}
