//! Each failure ends each call, with an error that says whose fault it is and whether the call may have run.
#![cfg(all(feature = "client", feature = "server"))]

mod scripted_server;

use boneyard::client::{Blame, Client, ClientError, ClientOptions, DeadlineSource};
use boneyard::internal::proto;
use boneyard::internal::wire::limits::BODY_BYTES_MAX;
use boneyard::internal::wire::{FrameKind, WireError};
use boneyard::service::{Bytes, Fault, Refusal, Status};
use scripted_server::{
    BODY_BYTES_MAX as CALL_BYTES_MAX, DOUBLE, PATIENCE, STORE, ScriptedServer, header, pair, pair_with,
    welcome,
};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

fn fault() -> Fault {
    Fault { code: 7, retry_after_ms: 250, message: "why".to_owned() }
}

#[test]
fn text_that_is_no_address_is_refused_before_any_call() {
    for text in ["", "host:", "host:0", "a b:1", "[::1", "::1:2:x"] {
        let error = Client::new(text).unwrap_err();
        assert!(matches!(error, ClientError::InvalidAddress { .. }), "{text}");
        assert_eq!(error.blame(), Blame::Caller);
    }
    let options = ClientOptions::default().name("x".repeat(257));
    assert!(matches!(Client::with_options("host", options), Err(ClientError::InvalidOption(_))));
}

#[test]
fn a_server_that_is_not_there_is_an_error_of_the_environment() {
    // No other test listens on this address, so the port stays free.
    let address = TcpListener::bind("127.0.0.3:0").unwrap().local_addr().unwrap().to_string();
    let client = Client::with_options(&address, ClientOptions::default().wait_for_server(false)).unwrap();
    let error = client.call(DOUBLE, &1).unwrap_err();
    let refused = matches!(&error, ClientError::Connect { kind: ErrorKind::ConnectionRefused, .. });
    assert!(refused, "{error:?}");
    assert!(error.never_started() && error.blame() == Blame::Environment);
    assert!(error.to_string().contains(&address), "{error}");
}

#[test]
fn new_does_not_connect_and_connect_does_or_fails() {
    let server = ScriptedServer::new();
    let address = server.listener_address();
    let lazy = Client::new(address).unwrap();
    assert!(!server.is_called(), "no call was made");
    let greets = thread::spawn(move || {
        let mut peers = [(); 2].map(|()| server.accept());
        peers.iter_mut().for_each(|peer| peer.greet());
        (server, peers)
    });
    let connecting = thread::spawn(move || Client::connect(address).unwrap());
    lazy.ensure_connected().unwrap();
    let connected = connecting.join().unwrap();
    let (server, _peers) = greets.join().unwrap();
    [lazy, connected].iter().for_each(|client| client.ensure_connected().unwrap());
    assert!(!server.is_called(), "each has a connection already");
    let gone = TcpListener::bind("127.0.0.3:0").unwrap().local_addr().unwrap();
    let error = Client::connect(gone).unwrap_err();
    assert!(matches!(error, ClientError::Connect { kind: ErrorKind::ConnectionRefused, .. }), "{error:?}");
}

#[test]
fn a_server_that_does_not_greet_costs_the_deadline_or_the_connect_timeout() {
    let server = ScriptedServer::new();
    let begin = Instant::now();
    let client = server.client().with_deadline(Duration::from_millis(60));
    let never = ClientError::DeadlineExceeded { detected_by: DeadlineSource::Client, may_have_run: false };
    assert_eq!(client.call(DOUBLE, &1), Err(never));
    let options = ClientOptions::default().retries(0).connect_timeout(Duration::from_millis(60));
    let client = server.client_with(options);
    let error = client.call(DOUBLE, &1).unwrap_err();
    assert!(matches!(error, ClientError::Connect { kind: ErrorKind::TimedOut, .. }), "{error:?}");
    assert!(begin.elapsed() < PATIENCE);
}

#[test]
fn a_short_deadline_that_fails_to_connect_does_not_fail_the_others() {
    let server = ScriptedServer::new();
    let client = server.client();
    let short = client.with_deadline(Duration::from_millis(60));
    let first = thread::spawn(move || short.call(DOUBLE, &1));
    let mut silent = server.accept_raw();
    let second = thread::spawn(move || client.call(DOUBLE, &2));
    assert!(matches!(first.join().unwrap(), Err(ClientError::DeadlineExceeded { .. })));
    let thread = thread::spawn(move || server.accept().serve());
    assert_eq!(second.join().unwrap(), Ok(4));
    assert_eq!(thread.join().unwrap(), 1);
    assert!(silent.read_to_end(&mut Vec::new()).is_ok(), "the first attempt's socket is closed");
}

/// Error of the first call when a server answers the greeting with `bytes` and closes.
fn greeted_by(bytes: Vec<u8>) -> ClientError {
    let server = ScriptedServer::new();
    let client = server.client();
    let thread = thread::spawn(move || {
        let mut stream = server.accept_raw();
        // Reads all of the Hello, since unread bytes would reset the connection.
        assert!(stream.read(&mut [0; 1024]).unwrap() > 0);
        stream.write_all(&bytes).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        stream.read_to_end(&mut Vec::new()).unwrap();
    });
    let error = client.call(DOUBLE, &1).unwrap_err();
    thread.join().unwrap();
    error
}

fn goaway(status: Status) -> Vec<u8> {
    let mut bytes = Vec::new();
    proto::goaway(&Refusal { status, fault: fault() }, &mut bytes);
    bytes
}

#[test]
fn a_goaway_in_place_of_the_welcome_is_the_error() {
    let rejected = ClientError::Rejected { status: Status::UnsupportedVersion, message: "why".to_owned() };
    assert_eq!(greeted_by(goaway(Status::UnsupportedVersion)), rejected);
    let retry_after = Some(Duration::from_millis(250));
    assert_eq!(greeted_by(goaway(Status::Draining)), ClientError::Draining { retry_after });
}

#[test]
fn a_peer_that_is_no_boneyard_server_is_recognized_at_its_first_frame() {
    let web = greeted_by(b"HTTP/1.1 400 Bad Request\r\nServer: some\r\n\r\n".to_vec());
    assert!(matches!(web, ClientError::Connect { kind: ErrorKind::InvalidData, .. }), "{web:?}");
    assert_eq!(web.blame(), Blame::Environment);
    let call = greeted_by(header(FrameKind::Call, 0, 1));
    assert!(matches!(call, ClientError::Connect { kind: ErrorKind::InvalidData, .. }), "{call:?}");
    let nothing = greeted_by(Vec::new());
    assert!(matches!(nothing, ClientError::Connect { kind: ErrorKind::UnexpectedEof, .. }), "{nothing:?}");
    let half = greeted_by(welcome()[..20].to_vec());
    assert!(matches!(half, ClientError::Connect { kind: ErrorKind::UnexpectedEof, .. }), "{half:?}");
}

#[test]
fn each_status_is_its_error_and_costs_only_its_call() {
    // Without throttling: most of these are refusals for load.
    let options = ClientOptions::default().retries(0).throttle(false);
    let (_server, client, mut peer) = pair_with(options, welcome());
    for status in Status::ALL.into_iter().skip(1) {
        for json in [false, true] {
            let wait: Box<dyn FnOnce() -> ClientError> = if json {
                let pending = client.start_json("test.double", "1").unwrap();
                Box::new(move || pending.wait().unwrap_err())
            } else {
                let pending = client.start(DOUBLE, &1).unwrap();
                Box::new(move || pending.wait().unwrap_err())
            };
            let call = peer.call();
            peer.refuse(&call, status, fault());
            let error = wait();
            assert_eq!(error.never_started(), status.never_started(), "{status:?}: {error:?}");
        }
    }
    let pending = client.start(DOUBLE, &1).unwrap();
    let call = peer.call();
    peer.refuse(&call, Status::Application, fault());
    assert_eq!(pending.wait(), Err(ClientError::Application { code: 7, message: "why".to_owned() }));
}

#[test]
fn an_unknown_status_or_an_undecodable_body_costs_only_its_call() {
    let (_server, client, mut peer) = pair();
    let pending = client.start(DOUBLE, &1).unwrap();
    let call = peer.call();
    peer.answer_bytes(&call, 999, b"whatever");
    assert_eq!(pending.wait(), Err(ClientError::UnknownStatus(999)));
    for (status, body) in [(Status::Ok, &b"123"[..]), (Status::Ok, &[0; 9]), (Status::Panicked, &[255; 20])] {
        let pending = client.start(DOUBLE, &1).unwrap();
        let call = peer.call();
        peer.answer_bytes(&call, status.code(), body);
        let error = pending.wait().unwrap_err();
        assert!(matches!(error, ClientError::BadResponse(_)), "{error:?}");
    }
    let pending = client.start(DOUBLE, &1).unwrap();
    let call = peer.call();
    peer.answer(&call, &2u64);
    assert_eq!(pending.wait(), Ok(2));
}

#[test]
fn a_reply_over_the_clients_limit_costs_only_its_call() {
    let options = ClientOptions::default().reply_bytes_max(1000);
    let (_server, client, mut peer) = pair_with(options, welcome());
    let (large, small) = (client.start(DOUBLE, &1).unwrap(), client.start(DOUBLE, &2).unwrap());
    let calls = [peer.call(), peer.call()];
    peer.answer_bytes(&calls[0], 0, &vec![0; 1 << 20]);
    peer.answer(&calls[1], &4u64);
    let bytes = (1 << 20) + 12;
    assert_eq!(large.wait(), Err(ClientError::ReplyTooLarge { bytes, limit: 1000 }));
    assert_eq!(small.wait(), Ok(4));
}

#[test]
fn garbage_fails_every_call_in_flight_and_the_next_call_reconnects() {
    let flags = [&header(FrameKind::Pong, 0, 1)[..5], &[0x80; 11]].concat();
    for (garbage, error) in [
        (vec![0xee; 16], WireError::ReservedFlags(0xee)),
        (flags, WireError::ReservedFlags(0x80)),
        (header(FrameKind::Welcome, 0, 0), WireError::UnexpectedKind(FrameKind::Welcome)),
        (header(FrameKind::Reply, 0, 1), WireError::Truncated),
        (
            header(FrameKind::Reply, u32::MAX, 1),
            WireError::TooLarge { bytes: u32::MAX.into(), limit: BODY_BYTES_MAX as u64 },
        ),
    ] {
        let (server, client, mut peer) = pair();
        let pending: Vec<_> = (0..10).map(|n| client.start(DOUBLE, &n).unwrap()).collect();
        let calls: Vec<_> = pending.iter().map(|_| peer.call()).collect();
        peer.answer(&calls[0], &0u64);
        peer.raw(&garbage);
        let mut ends = pending.into_iter().map(|pending| pending.wait());
        assert_eq!(ends.next(), Some(Ok(0)), "what came whole before the garbage is delivered");
        assert!(ends.all(|end| end == Err(ClientError::Protocol(error.clone()))), "{error:?}");
        peer.closed();
        let thread = thread::spawn(move || server.accept().serve());
        assert_eq!(client.call(DOUBLE, &4), Ok(8));
        drop(client);
        assert_eq!(thread.join().unwrap(), 1);
    }
}

#[test]
fn every_call_ends_with_its_connection_however_it_is_waited_for() {
    let (_server, client, mut peer) = pair();
    let client = client.with_deadline(None);
    let callers: Vec<_> = (0..8)
        .map(|n| {
            let client = client.clone();
            thread::spawn(move || client.call(DOUBLE, &n))
        })
        .collect();
    callers.iter().for_each(|_| drop(peer.call()));
    peer.goaway(Status::ProtocolError);
    drop(peer);
    for caller in callers {
        let error = caller.join().unwrap().unwrap_err();
        let ClientError::Disconnected { may_have_run: true, reason } = &error else { panic!("{error:?}") };
        assert!(reason.contains("bye") || reason.contains("reset"), "{reason}");
    }
}

#[test]
fn arguments_over_the_servers_limit_are_not_sent() {
    let (_server, client, mut peer) = pair();
    let limit = u64::from(CALL_BYTES_MAX);
    // 8 bytes are the prelude and 8 the length.
    let most = CALL_BYTES_MAX as usize - 16;
    let over = client.call(STORE, &Bytes::from(vec![1; most + 1]));
    assert_eq!(over, Err(ClientError::TooLarge { bytes: limit + 1, limit }));
    let fits = client.start(STORE, &Bytes::from(vec![1; most]));
    let call = peer.call();
    assert_eq!(call.arguments.len(), most + 8);
    peer.answer(&call, &());
    assert_eq!(fits.unwrap().wait(), Ok(()));
}

#[test]
fn a_full_socket_blocks_no_caller_beyond_its_deadline() {
    let (_server, client, mut peer) = pair();
    let soon = client.with_deadline(Duration::from_millis(100));
    let large = Bytes::from(vec![1; CALL_BYTES_MAX as usize - 16]);
    // The server reads nothing. The first call fills the socket, the second the queue, the third finds no room.
    let begin = Instant::now();
    let first = client.start(STORE, &large).unwrap();
    let second = client.start(STORE, &large).unwrap();
    let third = soon.start(STORE, &large).err();
    let never = ClientError::DeadlineExceeded { detected_by: DeadlineSource::Client, may_have_run: false };
    assert_eq!(third, Some(never));
    assert!(begin.elapsed() < PATIENCE / 2);
    // Once it reads, the accepted calls arrive whole.
    for pending in [first, second] {
        let call = peer.call();
        assert_eq!(call.arguments.len(), large.len() + 8);
        peer.answer(&call, &());
        assert_eq!(pending.wait(), Ok(()));
    }
}

#[test]
fn a_call_whose_bytes_were_never_written_is_safe_to_repeat() {
    let (_server, client, peer) = pair();
    let large = Bytes::from(vec![1; CALL_BYTES_MAX as usize - 16]);
    let first = client.start(STORE, &large).unwrap();
    let second = client.start(DOUBLE, &1).unwrap();
    drop(peer);
    let [first, second] = [first.wait().unwrap_err(), second.wait().unwrap_err()];
    assert!(matches!(first, ClientError::Disconnected { .. }), "{first:?}");
    assert!(matches!(second, ClientError::Disconnected { may_have_run: false, .. }), "{second:?}");
    assert!(second.never_started());
}

#[test]
fn a_silent_connection_is_retired() {
    let server = ScriptedServer::new();
    let client = server.client();
    // Sends the Welcome and reads no more, as a peer whose machine has crashed.
    let silent = thread::scope(|scope| {
        let greeted = scope.spawn(|| client.methods().unwrap());
        let mut stream = server.accept_raw();
        stream.write_all(&welcome()).unwrap();
        greeted.join().unwrap();
        stream
    });
    let soon = client.with_deadline(Duration::from_millis(200));
    let begin = Instant::now();
    while !server.is_called() {
        assert!(soon.call(DOUBLE, &1).is_err());
        assert!(begin.elapsed() < PATIENCE, "no new connection is tried");
    }
    drop(silent);
}
