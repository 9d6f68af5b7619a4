//! Sessions that outlive connections: real servers, real clients, and connections that are cut.
#![cfg(all(feature = "client", feature = "server"))]

mod common;

use boneyard::client::{ClientError, ClientOptions};
use boneyard::config::{Machine, Setting, advise};
use boneyard::internal::metrics::CloseReason;
use boneyard::internal::wire::{CallPrelude, Codec, Flags, FrameKind, Header};
use boneyard::server::{RunningServer, Server};
use boneyard::service::session::{Opened, SessionTicket};
use boneyard::service::{Status, builtin};
use boneyard::{Client, Method, Session};
use common::gate::Gate;
use common::logged::Lines;
use common::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// Counts its calls in this session.
const COUNT: Method<(), u64> = Method::new("test.count");
/// Panics in the middle of counting.
const STUMBLE: Method<(), u64> = Method::new("test.stumble");

/// A handler's state.
#[derive(Default)]
struct Count(u64);

fn counting(server: Server) -> RunningServer {
    let count = |count: &mut Count| {
        count.0 += 1;
        count.0
    };
    let server = server.handle(COUNT, move |tx, ()| Ok(tx.with_session(count)));
    let stumble = |tx: &boneyard::Transaction<'_>, ()| {
        tx.with_session(|count: &mut Count| std::panic::resume_unwind(Box::new(count.0)))
    };
    server.handle(STUMBLE, stumble).start().expect("starts")
}

fn start(lines: &str) -> RunningServer {
    counting(server(lines))
}

/// A server with times as short as a test needs.
fn start_with(lines: &str, change: impl FnOnce(&mut boneyard::config::Config)) -> RunningServer {
    let mut config = config(lines);
    change(&mut config);
    counting(Server::new(config))
}

fn client(address: SocketAddr) -> Client {
    let options = ClientOptions::default().deadline(PATIENCE).retries(0).throttle(false);
    Client::with_options(address, options).unwrap()
}

/// Calls in a session of this connection and waits for the reply.
fn call_in<T: Serialize, R: DeserializeOwned>(
    raw: &mut Raw,
    session: u32,
    method: &str,
    arguments: &T,
) -> Result<R, Status> {
    let mut body = CallPrelude { session, deadline_ms: 0 }.write().to_vec();
    Codec::Bincode.encode(arguments, &mut body).unwrap();
    let (code, call) = (raw.number(method), u64::from(session) + 1_000);
    let header =
        Header { body_bytes: body.len() as u32, kind: FrameKind::Call, flags: Flags::NONE, code, call };
    raw.stream.write_all(&[&header.write()[..], &body].concat()).unwrap();
    let frame = raw.read().expect("a reply");
    assert_eq!((frame.header.kind, frame.header.call), (FrameKind::Reply, call));
    frame.result().map_err(|(status, _)| status)
}

fn open(raw: &mut Raw) -> Result<Opened, Status> {
    call_in(raw, 0, "session.open", &())
}

fn attach(raw: &mut Raw, ticket: SessionTicket) -> Result<u32, Status> {
    call_in(raw, 0, "session.attach", &ticket)
}

fn count(raw: &mut Raw, session: u32) -> Result<u64, Status> {
    call_in(raw, session, "test.count", &())
}

#[test]
fn a_hundred_connections_serve_three_thousand_sessions() {
    const SESSIONS: usize = 3_000;
    const THREADS: usize = 4;
    let server = start("Server_Pool_Tasks=8");
    let clients: Vec<Client> = (0..100).map(|_| client(server.address())).collect();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (clients, mut random) = (&clients, Random(thread as u64 + 1));
                scope.spawn(move || {
                    let open = |n: usize| (clients[n % clients.len()].session().expect("opens"), 0u64);
                    let mut sessions: Vec<_> =
                        (0..SESSIONS / THREADS).map(|n| open(n * THREADS + thread)).collect();
                    for _ in 0..SESSIONS / THREADS * 3 {
                        let n = random.below(sessions.len());
                        let (mut session, calls) = sessions.swap_remove(n);
                        if random.below(4) == 0 {
                            let other = &clients[random.below(clients.len())];
                            session = other.attach(session.detach()).expect("moves");
                        }
                        assert_eq!(session.call(COUNT, &()), Ok(calls + 1));
                        sessions.push((session, calls + 1));
                    }
                    for (session, calls) in &sessions {
                        assert_eq!(session.call(COUNT, &()), Ok(calls + 1));
                    }
                    sessions
                })
            })
            .collect();
        let sessions: Vec<_> = workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect();
        let calls: u64 = sessions.iter().map(|(_, calls)| calls).sum();
        assert_eq!((sessions.len(), calls), (SESSIONS, 3 * SESSIONS as u64));
        assert_eq!(server.ports()[0].stats().open(), 100);
        assert_eq!(server.sessions(), SESSIONS + 100);
        let info = clients[0].call(builtin::INFO, &()).unwrap();
        assert_eq!((info.sessions, info.sessions_timed_out), (SESSIONS as u64 + 100, 0));
        drop(sessions);
    });
    wait_until("dropped handles have closed them all", || server.sessions() == 100);
}

#[test]
fn many_threads_share_a_session() {
    let server = start("Server_Pool_Tasks=8");
    let client = client(server.address());
    let session = client.session().unwrap();
    thread::scope(|scope| {
        for _ in 0..8 {
            let session = session.clone();
            scope.spawn(move || (0..200).for_each(|_| assert!(session.call(COUNT, &()).is_ok())));
        }
    });
    assert_eq!(session.client().call_json("test.count", "null").as_deref(), Ok("1601"));
    assert_eq!(session.client().with_deadline(PATIENCE).start(COUNT, &()).unwrap().wait(), Ok(1602));
    assert_eq!(client.call(COUNT, &()), Ok(1), "the connection's own is another");
}

/// A TCP relay between client and server, which can cut all connections.
struct Relay {
    address: SocketAddr,
    streams: Arc<Mutex<Vec<TcpStream>>>,
}

impl Relay {
    fn to(server: SocketAddr) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, streams) = (listener.local_addr().unwrap(), Arc::<Mutex<Vec<TcpStream>>>::default());
        let kept = Arc::clone(&streams);
        thread::spawn(move || {
            for near in listener.incoming() {
                let (near, far) = (near.unwrap(), connect(server));
                for (mut from, mut to) in [(&near, &far), (&far, &near)].map(|(from, to)| {
                    from.set_read_timeout(None).unwrap();
                    (from.try_clone().unwrap(), to.try_clone().unwrap())
                }) {
                    thread::spawn(move || {
                        std::io::copy(&mut from, &mut to).map(|_| to.shutdown(Shutdown::Both))
                    });
                }
                kept.lock().unwrap().extend([near, far]);
            }
        });
        Relay { address, streams }
    }

    fn cut(&self) {
        for stream in self.streams.lock().unwrap().drain(..) {
            stream.shutdown(Shutdown::Both).ok();
        }
    }
}

#[test]
fn a_session_outlives_its_connection() {
    let server = start("");
    let relay = Relay::to(server.address());
    let options = ClientOptions::default().deadline(PATIENCE).retries(20);
    let client = Client::with_options(relay.address, options).unwrap();
    let session = client.session().unwrap();
    for round in 0..3 {
        let calls = 3 * round;
        assert_eq!(session.call(COUNT, &()), Ok(calls + 1));
        assert_eq!(client.call(COUNT, &()), Ok(1), "the connection's own ends with it");
        assert_eq!(session.start(COUNT, &()).unwrap().wait(), Ok(calls + 2));
        relay.cut();
        let closed = || server.ports()[0].stats().closed.sum();
        wait_until("the connection is gone", || closed() == round + 1);
        // From many threads at once: each may have to attach the session.
        thread::scope(|scope| {
            let ping = || session.call(builtin::PING, &());
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(ping)).collect();
            threads.into_iter().for_each(|thread| assert_eq!(thread.join().unwrap(), Ok(())));
        });
        assert_eq!(session.call(COUNT, &()), Ok(calls + 3));
    }
    let ticket = session.ticket();
    session.close().unwrap();
    assert!(matches!(client.attach(ticket), Err(ClientError::UnknownSession)));
}

#[test]
fn only_the_right_token_attaches_and_attaching_moves() {
    let server = start("");
    let (mut here, mut there) = (Raw::connect(server.address()), Raw::connect(server.address()));
    let opened = open(&mut here).unwrap();
    let Opened { session, ticket } = opened;
    assert_ne!(ticket.token, open(&mut here).unwrap().ticket.token);
    assert_eq!((count(&mut here, session), count(&mut here, 0)), (Ok(1), Ok(1)));
    let wrong = SessionTicket { token: [0; 16], ..ticket };
    let nobody = SessionTicket { id: 999, ..ticket };
    for ticket in [wrong, nobody] {
        assert_eq!(attach(&mut there, ticket), Err(Status::UnknownSession));
    }
    assert_eq!(count(&mut there, session), Err(Status::UnknownSession), "a number is its connection's");
    assert_eq!(attach(&mut here, ticket), Ok(session), "it is there already");
    let moved = attach(&mut there, ticket).unwrap();
    assert_eq!((count(&mut there, moved), count(&mut here, session)), (Ok(2), Err(Status::UnknownSession)));
    assert_eq!(call_in::<_, ()>(&mut here, 0, "session.close", &session), Err(Status::UnknownSession));
    assert_eq!(call_in::<_, ()>(&mut there, 0, "session.close", &0u32), Err(Status::UnknownSession));
    let back = attach(&mut here, ticket).unwrap();
    assert_eq!(count(&mut here, back), Ok(3));
    // A client that lost its connection need not wait until the server knows.
    reset(here.stream);
    let moved = attach(&mut there, ticket).unwrap();
    assert_eq!(count(&mut there, moved), Ok(4));
    assert_eq!(call_in(&mut there, 0, "session.close", &moved), Ok(()));
    assert_eq!(count(&mut there, moved), Err(Status::UnknownSession));
    assert_eq!(attach(&mut there, ticket), Err(Status::UnknownSession));
    let stats = server.ports()[0].stats();
    assert_eq!(stats.answered(Status::UnknownSession), 8);
    assert_eq!(stats.calls.get(), stats.answers.sum());
}

#[test]
fn a_session_attached_by_two_connections_at_once_is_on_one_of_them() {
    let server = start("Server_Pool_Tasks=8");
    let ticket = open(&mut Raw::connect(server.address())).unwrap().ticket;
    let address = server.address();
    let counted: u64 = thread::scope(|scope| {
        let tear = |mut raw: Raw| {
            let counts = (0..300).filter(|_| {
                let number = attach(&mut raw, ticket).expect("it is there");
                match count(&mut raw, number) {
                    Ok(_) => true,
                    Err(status) => {
                        assert_eq!(status, Status::UnknownSession, "it was taken away again");
                        false
                    }
                }
            });
            counts.count() as u64
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(move || tear(Raw::connect(address)))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    let mut ends = [Raw::connect(server.address()), Raw::connect(server.address())];
    let numbers = [0, 1, 0].map(|n| (n, attach(&mut ends[n], ticket).unwrap()));
    assert_eq!(count(&mut ends[1], numbers[1].1), Err(Status::UnknownSession));
    assert_eq!(count(&mut ends[0], numbers[2].1), Ok(counted + 1), "each call that was taken counted once");
}

#[test]
fn a_dropped_handle_closes_its_session_unless_it_was_detached() {
    let server = start("");
    let client = client(server.address());
    let (kept, dropped): (Session, Session) = (client.session().unwrap(), client.session().unwrap());
    assert_eq!(server.sessions(), 3);
    let clone = dropped.clone();
    drop(dropped);
    assert_eq!(clone.call(COUNT, &()), Ok(1), "a clone keeps it");
    drop(clone);
    wait_until("it is closed", || server.sessions() == 2);
    let ticket = kept.detach();
    let other = Client::new(server.address()).unwrap();
    let attached = other.attach(ticket).unwrap();
    assert_eq!(attached.call(COUNT, &()), Ok(1));
    assert_eq!(server.sessions(), 3, "two connections and it");
    attached.close().unwrap();
    assert_eq!(server.sessions(), 2);
}

#[test]
fn a_session_unused_for_the_timeout_is_closed() {
    let server = start_with("", |config| {
        config.session_timeout = Setting::program(Duration::from_secs(2));
    });
    let client = client(server.address());
    let session = client.session().unwrap();
    assert_eq!(session.call(COUNT, &()), Ok(1));
    wait_until("it has timed out", || server.sessions_dropped() == (1, 0));
    assert_eq!(session.call(COUNT, &()), Err(ClientError::UnknownSession));
    assert_eq!(client.call(COUNT, &()), Ok(1), "the connection is left alone");
    assert_eq!(client.call(builtin::INFO, &()).unwrap().sessions_timed_out, 1);
    assert_eq!((server.sessions(), server.ports()[0].stats().closed.sum()), (1, 0));
}

/// Reads a GoAway.
fn read_goaway(raw: &mut Raw) -> Status {
    let frame = raw.read().expect("a GoAway");
    assert_eq!(frame.header.kind, FrameKind::GoAway);
    frame.status()
}

#[test]
fn over_the_soft_limit_the_longest_idle_session_is_closed_and_none_is_refused() {
    let server = start_with("Server_MaxSessions=3", |config| config.session_idle_min = Duration::ZERO);
    let mut early: Vec<Raw> = (0..3).map(|_| Raw::connect(server.address())).collect();
    // They were used last in the order 1, 2, 0.
    for n in [0, 1, 2, 0] {
        assert!(count(&mut early[n], 0).is_ok());
    }
    let mut fourth = Raw::connect(server.address());
    assert_eq!(read_goaway(&mut early[1]), Status::SessionClosed);
    assert_eq!(count(&mut early[1], 0), Err(Status::SessionClosed), "it is told, and can call elsewhere");
    early[1].stream.shutdown(Shutdown::Both).unwrap();
    wait_until("it is gone", || server.sessions() == 3);
    // An opened session is closed without a frame; its connection stays.
    let opened = open(&mut early[0]).unwrap();
    assert_eq!(read_goaway(&mut early[2]), Status::SessionClosed);
    wait_until("it is given up though it does not close", || server.sessions() == 3);
    assert_eq!((count(&mut early[0], opened.session), count(&mut fourth, 0)), (Ok(1), Ok(1)));
    let _fifth = Raw::connect(server.address());
    wait_until("it is closed", || count(&mut early[0], opened.session) == Err(Status::UnknownSession));
    let stats = server.ports()[0].stats();
    assert_eq!((stats.closed_for(CloseReason::Idle), stats.closed_for(CloseReason::MaxUsers)), (2, 0));
    assert_eq!(server.sessions_dropped(), (0, 3));
    assert_eq!(server.sessions(), 3);
}

#[test]
fn a_session_with_a_waiting_call_is_in_use() {
    const WAIT: Method<(), ()> = Method::new("test.wait");
    let (gate, mut settings) = (Arc::<Gate>::default(), config("Server_MaxSessions=4\nServer_Pool_Tasks=1"));
    settings.session_idle_min = Duration::ZERO;
    let pass = Arc::clone(&gate);
    let server = counting(Server::new(settings).handle(WAIT, move |_, ()| {
        pass.pass();
        Ok(())
    }));
    let mut asks = Raw::connect(server.address());
    let opened = open(&mut asks).unwrap();
    assert_eq!(count(&mut asks, opened.session), Ok(1));
    // Used after that session, but without a call in flight.
    let mut idle = Raw::connect(server.address());
    assert_eq!(count(&mut idle, 0), Ok(1));
    let address = server.address();
    let holds = thread::spawn(move || client(address).call(WAIT, &()));
    wait_until("the one worker is held", || gate.inside() == 1);
    let waits = thread::spawn(move || count(&mut asks, opened.session));
    wait_until("the call waits", || server.in_flight() == 2);
    let _one_too_many = Raw::connect(server.address());
    assert_eq!(read_goaway(&mut idle), Status::SessionClosed);
    gate.open();
    assert_eq!(waits.join().unwrap(), Ok(2));
    assert_eq!(holds.join().unwrap(), Ok(()));
}

#[test]
fn a_client_whose_connection_is_closed_for_room_reconnects_unnoticed() {
    let server = start_with("Server_MaxSessions=1", |config| config.session_idle_min = Duration::ZERO);
    let clients = [client(server.address()), client(server.address())];
    for _ in 0..3 {
        for client in &clients {
            assert!(client.with_deadline(PATIENCE).call(COUNT, &()).is_ok());
            wait_until("the other was dismissed", || server.sessions() == 1);
        }
    }
    assert_eq!(server.ports()[0].stats().closed_for(CloseReason::Idle), 5);
}

/// Sends a Hello that is refused. Returns the status of the GoAway.
fn refused(server: &RunningServer) -> Status {
    let mut stream = connect(server.address());
    stream.write_all(&greeting()).unwrap();
    let frame = read_frame(&mut stream).expect("a GoAway");
    assert_eq!(frame.header.kind, FrameKind::GoAway);
    frame.status()
}

#[test]
fn over_the_hard_limit_new_sessions_are_refused() {
    let server = start("Server_MaxUsers=2");
    let mut first = Raw::connect(server.address());
    let opened = open(&mut first).unwrap();
    open(&mut first).unwrap();
    assert_eq!(open(&mut first).unwrap_err(), Status::MaxUsers);
    let mut second = Raw::connect(server.address());
    assert_eq!(count(&mut second, 0), Ok(1), "connections have as many places of their own");
    assert_eq!(refused(&server), Status::MaxUsers);
    let told = client(server.address()).call(COUNT, &()).unwrap_err();
    assert!(matches!(told, ClientError::Unavailable { status: Status::MaxUsers, .. }), "{told:?}");
    let stats = server.ports()[0].stats();
    wait_until("they are closed", || stats.closed_for(CloseReason::MaxUsers) == 2);
    assert_eq!((stats.answered(Status::MaxUsers), server.sessions()), (1, 4));
    // Existing sessions continue, and a place that becomes free can be taken.
    assert_eq!(count(&mut first, opened.session), Ok(1));
    assert_eq!(call_in(&mut first, 0, "session.close", &opened.session), Ok(()));
    assert!(open(&mut first).is_ok());
    assert_eq!(refused(&server), Status::MaxUsers);
    drop(second);
    wait_until("it is gone", || server.sessions() == 3);
    Raw::connect(server.address());
}

#[test]
fn while_restricted_only_existing_sessions_are_served() {
    let server = start("");
    let (mut here, mut there) = (Raw::connect(server.address()), Raw::connect(server.address()));
    let opened = open(&mut here).unwrap();
    server.restrict(true);
    assert_eq!(open(&mut here).unwrap_err(), Status::Restricted);
    assert_eq!(refused(&server), Status::Restricted);
    let told = client(server.address()).call(COUNT, &()).unwrap_err();
    assert!(matches!(told, ClientError::Unavailable { status: Status::Restricted, .. }), "{told:?}");
    let moved = attach(&mut there, opened.ticket).expect("it is no new one");
    assert_eq!(count(&mut there, moved), Ok(1));
    let stats = server.ports()[0].stats();
    wait_until("they are closed", || stats.closed_for(CloseReason::Restricted) == 2);
    assert_eq!(stats.answered(Status::Restricted), 1);
    server.restrict(false);
    assert!(open(&mut here).is_ok());
    Raw::connect(server.address());
}

#[test]
fn server_restricted_2_holds_from_the_start_and_1_does_not() {
    assert_eq!(refused(&start("Server_Restricted=2")), Status::Restricted);
    Raw::connect(start("Server_Restricted=1").address());
    let said = |lines: &str| {
        let warnings = advise(&config(lines), &Machine::default());
        warnings.iter().any(|warning| warning.code == "restricted_once")
    };
    assert_eq!(
        ["0", "1", "2"].map(|value| said(&format!("Server_Restricted={value}"))),
        [false, true, false]
    );
}

#[test]
fn a_panic_while_the_state_is_locked_loses_no_session() {
    let server = start("");
    let client = client(server.address());
    let session = client.session().unwrap();
    for caller in [&client, session.client()] {
        assert_eq!(caller.call(COUNT, &()), Ok(1));
        assert!(matches!(caller.call(STUMBLE, &()), Err(ClientError::Panicked(_))));
        assert_eq!(caller.call(COUNT, &()), Ok(2));
    }
}

#[test]
fn sessions_are_logged_if_the_setting_says_so() {
    let lines = Lines::collect();
    for (setting, name) in [("0", "silent"), ("1", "talkative\nclient")] {
        let server = start(&format!("Log_Sessions={setting}"));
        let options = ClientOptions::default().name(name);
        let client = Client::with_options(server.address(), options).unwrap();
        let session = client.session().unwrap();
        (0..3).for_each(|_| assert!(session.call(COUNT, &()).is_ok()));
        session.close().unwrap();
        drop(client);
        wait_until("the connection is gone", || server.sessions() == 0);
        assert_eq!(server.stop().lost(), 0);
    }
    assert_eq!(lines.with("silent"), [""; 0]);
    let told = lines.with("talkative");
    let parts = [
        ["Opened session 1 for talkative\\nclient (127.0.0.1:", ")"],
        ["Opened session 2 for talkative\\nclient (127.0.0.1:", ")"],
        ["Closed session 2 of talkative\\nclient (127.0.0.1:", "): 3 calls, 0."],
        ["Closed session 1 of talkative\\nclient (127.0.0.1:", "): 5 calls, 0."],
    ];
    assert_eq!(told.len(), parts.len(), "{told:?}");
    for (line, parts) in told.iter().zip(parts) {
        assert!(line.starts_with(parts[0]) && line.contains(parts[1]), "{line}");
    }
    assert!(told[2].ends_with("closed by its client"), "{}", told[2]);
}
