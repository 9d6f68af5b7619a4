//! Frames that a listener answers itself, without a worker: they cost their connection its turn and its allowance, so
//! that who sends nothing else takes nothing from its neighbours and is told off in the end. Nobody is told off for
//! calls that the server's load has refused.
#![cfg(all(feature = "cli", feature = "server"))]

mod common;
mod process;

use boneyard::Method;
use boneyard::internal::metrics::CloseReason;
use boneyard::internal::wire::{Flags, FrameKind};
use boneyard::server::RunningServer;
use boneyard::service::Status;
use common::control_client::ControlClient;
use common::gate::Gate;
use common::*;
use process::{Directory, Running, command, on_free_port};
use rustix::process::Signal;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

const WAIT: Method<(), ()> = Method::new("test.wait");

/// Fits many of each frame into one send.
const BATCH: usize = 512;

fn start(lines: &str, gate: &Arc<Gate>) -> RunningServer {
    let gate = Arc::clone(gate);
    let server = server(lines).handle(WAIT, move |_, ()| {
        gate.pass();
        Ok(())
    });
    server.start().unwrap()
}

/// A call with a chain of one entry that is cut off in its midst.
fn with_broken_chain(method: u16) -> Vec<u8> {
    call_frame(1, method, Flags::NESTED, 0, &[1, 9, 9, 9])
}

/// Sends a frame again and again, and reads what comes, until the server closes. Returns what it said last.
fn flood(mut client: Raw, bytes: &[u8]) -> Option<Status> {
    let batch = bytes.repeat(BATCH);
    let mut sender = client.stream.try_clone().unwrap();
    let sending = std::thread::spawn(move || while sender.write_all(&batch).is_ok() {});
    let mut last = None;
    while let Some(frame) = client.read() {
        last = (frame.header.kind == FrameKind::GoAway).then(|| frame.status());
        if last.is_some() {
            break;
        }
    }
    // The sender is told by the end of the connection.
    client.stream.shutdown(std::net::Shutdown::Both).ok();
    sending.join().unwrap();
    last
}

/// One connection for each kind of frame that costs no worker. All at once, since each takes ten seconds.
#[test]
fn who_sends_only_what_the_listener_answers_is_put_off_and_told_off() {
    let gate = Arc::<Gate>::default();
    let server = start("Server_Session_Calls=1\nServer_Pool_Tasks=2", &gate);
    let address = server.ports()[0].address();
    let number = Raw::connect(address).number("test.wait");
    let floods: [(&str, Vec<u8>); 7] = [
        ("calls without a body", frame(FrameKind::Call, number, 1, b"")),
        ("calls of no method", call_frame(1, 9_999, Flags::NONE, 0, b"")),
        ("method 0", call_frame(1, 0, Flags::NONE, 0, b"")),
        ("broken chains", with_broken_chain(number)),
        ("Pings", frame(FrameKind::Ping, 0, 1, b"")),
        ("Cancels of nothing", frame(FrameKind::Cancel, 0, 1, b"")),
        ("calls over the limit of the session", call_frame(2, number, Flags::NONE, 0, b"")),
    ];
    let control = ControlClient::start(address, false);
    let threads = floods.map(|(name, bytes)| {
        let mut client = Raw::connect(address);
        if name.starts_with("calls over") {
            client.send("test.wait", &());
        }
        (name, std::thread::spawn(move || flood(client, &bytes)))
    });
    for (name, thread) in threads {
        assert_eq!(thread.join().unwrap(), Some(Status::ProtocolError), "{name}");
    }
    control.end();
    let stats = server.ports()[0].stats();
    wait_until("all are closed", || stats.closed_for(CloseReason::Abusive) == 7);
    assert!(stats.put_off.get() >= 7 * 10, "{}", stats.put_off.get());
    // A burst and ten seconds of the rate each, and not one more for sending more.
    let most = 7 * (1024 + 11 * 128 + 64);
    assert!(stats.answers.sum() - stats.answered(Status::Ok) <= most, "{:?}", stats.answers.counts());
    gate.open();
}

/// Nine of ten calls are refused, as in an overload: no reading is put off, however many there are.
#[test]
fn refusals_beside_calls_that_are_let_in_are_not_put_off() {
    let server = start("Server_Session_Calls=1", &Arc::default());
    let mut client = Raw::connect(server.ports()[0].address());
    for round in 0..2_000 {
        let bytes: Vec<u8> = (0..10).flat_map(|_| client.frame("server.ping", &(), 0).1).collect();
        client.stream.write_all(&bytes).unwrap();
        let statuses: Vec<_> = (0..10).map(|_| client.read().expect("a reply").status()).collect();
        let let_in = statuses.iter().filter(|status| **status == Status::Ok).count();
        assert!(let_in >= 1, "round {round}: {statuses:?}");
    }
    let stats = server.ports()[0].stats();
    assert!(stats.answered(Status::SessionLimit) > 1_000);
    assert_eq!((stats.put_off.get(), stats.closed_for(CloseReason::Abusive)), (0, 0));
}

/// Who calls a server whose queue is full for much longer than abuse is borne is refused each time and never told off;
/// but it is read no faster than some rate, so that it costs its neighbours little.
#[test]
fn who_is_refused_for_load_alone_is_put_off_and_never_told_off() {
    const CALLS: usize = 20_000;
    let gate = Arc::<Gate>::default();
    let server = start("Server_Queue_Limit=1\nServer_Pool_Tasks=1\nServer_Max_Concurrent_Trans=1", &gate);
    let mut client = Raw::connect(server.ports()[0].address());
    client.send("test.wait", &());
    wait_until("the worker is busy", || gate.inside() == 1);
    client.send("test.wait", &());
    wait_until("the queue is full", || server.ports()[0].queued() == 1);
    let number = client.number("test.wait");
    let mut sender = client.stream.try_clone().unwrap();
    let batch = call_frame(7, number, Flags::NONE, 0, b"").repeat(100);
    let sending = std::thread::spawn(move || {
        for _ in 0..CALLS / 100 {
            sender.write_all(&batch).unwrap();
        }
    });
    for n in 0..CALLS {
        let answer = client.read().expect("a refusal");
        assert_eq!((answer.header.kind, answer.status()), (FrameKind::Reply, Status::QueueFull), "{n}");
    }
    sending.join().unwrap();
    let stats = server.ports()[0].stats();
    assert!(stats.put_off.get() > 0);
    assert_eq!(stats.closed_for(CloseReason::Abusive), 0);
    gate.open();
    for _ in 0..2 {
        assert_eq!(client.read().expect("a reply").status(), Status::Ok);
    }
}

/// Connections that keep below what one read has answered, but are many, are read a few at a time: who sends little
/// comes before them. All is there at once, since the server is suspended meanwhile.
#[test]
fn many_that_ask_for_much_come_after_who_asks_for_little() {
    const PEERS: usize = 200;
    const PINGS: usize = 60;
    let directory = Directory::new();
    let file = directory.file("server.ini", &on_free_port("Server_Max_Connects_Per_Minute=0"));
    let running = Running::start(command(env!("CARGO_BIN_EXE_boneyard")).arg("serve").arg(&file));
    let address = running.address().parse().unwrap();
    let pings = frame(FrameKind::Ping, 0, 1, b"").repeat(PINGS);
    let pongs = |peer: &mut Raw| {
        (0..PINGS).for_each(|_| assert_eq!(peer.read().unwrap().header.kind, FrameKind::Pong))
    };
    // The answer comes before most of theirs; where the machine has not run this thread at the time, again.
    wait_until("who sends little comes first", || {
        let mut peers: Vec<Raw> = (0..PEERS).map(|_| Raw::connect(address)).collect();
        let mut quiet = Raw::connect(address);
        for peer in &mut peers {
            peer.stream.write_all(&pings).unwrap();
            pongs(peer);
        }
        running.signal(Signal::STOP);
        peers.iter_mut().for_each(|peer| peer.stream.write_all(&pings).unwrap());
        quiet.stream.write_all(&frame(FrameKind::Ping, 0, 1, b"")).unwrap();
        running.signal(Signal::CONT);
        assert_eq!(quiet.read().expect("a Pong").header.kind, FrameKind::Pong);
        let has_answers = |peer: &&Raw| {
            peer.stream.set_nonblocking(true).unwrap();
            let any = peer.stream.peek(&mut [0]).is_ok();
            peer.stream.set_nonblocking(false).unwrap();
            any
        };
        let answered = peers.iter().filter(has_answers).count();
        peers.iter_mut().for_each(pongs);
        answered < PEERS / 2
    });
}

/// What is put off is not the peer's time: a frame that it has sent half of meanwhile is not slow.
#[test]
fn who_is_put_off_loses_no_call_and_no_time() {
    let server = start("Server_Frame_Timeout=1", &Arc::default());
    let mut client = Raw::connect(server.ports()[0].address());
    let stats = server.ports()[0].stats();
    let pings = frame(FrameKind::Ping, 0, 1, b"").repeat(1_024 + 256);
    let (id, call) = client.frame("server.ping", &(), 0);
    let (first, rest) = call.split_at(20);
    client.stream.write_all(&[&pings, first].concat()).unwrap();
    for n in 0..1_024 + 256 {
        assert_eq!(client.read().expect("a Pong").header.kind, FrameKind::Pong, "{n}");
    }
    client.stream.write_all(rest).unwrap();
    let answer = client.read().expect("an answer");
    assert_eq!((answer.header.call, answer.status()), (id, Status::Ok));
    assert!(stats.put_off.get() > 0);
    assert_eq!(stats.closed_for(CloseReason::SlowFrame), 0);
}

/// Who leaves while it is put off is gone soon.
#[test]
fn who_leaves_while_it_is_put_off_is_gone() {
    let server = start("", &Arc::default());
    let address: SocketAddr = server.ports()[0].address();
    let stats = server.ports()[0].stats();
    for kind in ["closes", "resets"] {
        let mut client = Raw::connect(address);
        let before = stats.put_off.get();
        let pings = frame(FrameKind::Ping, 0, 1, b"").repeat(BATCH);
        client.stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        let (mut buffer, mut received) = (vec![0; 1 << 16], 0);
        while stats.put_off.get() == before {
            client.stream.write_all(&pings).unwrap();
            received += client.stream.read(&mut buffer).unwrap_or(0);
        }
        assert!(received > 0);
        if kind == "resets" {
            reset(client.stream);
        } else {
            drop(client);
        }
        wait_until(kind, || stats.open() == 0);
    }
}
