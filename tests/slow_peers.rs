//! Peers that are too slow, read nothing, or call and cancel in vain: each is given up with a reason of its own, and a
//! client that behaves is served at the same port all along.
#![cfg(feature = "server")]

mod common;

use boneyard::Method;
use boneyard::config::{Config, Setting};
use boneyard::internal::metrics::{CloseReason, PortStats};
use boneyard::internal::wire::{Flags, FrameKind};
use boneyard::server::{RunningServer, Server};
use boneyard::service::{Bytes, Status};
use common::control_client::ControlClient;
use common::gate::Gate;
use common::*;
use socket2::SockRef;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

const WAIT: Method<(), ()> = Method::new("test.wait");
/// Gives so many bytes.
const GIVE: Method<u32, Bytes> = Method::new("test.give");

const MS: Duration = Duration::from_millis(1);
const MIB: usize = 1 << 20;

/// A server whose program sets limits, with a method that waits at the gate.
fn start(lines: &str, set: impl FnOnce(&mut Config)) -> (RunningServer, Arc<Gate>) {
    let gate = Arc::<Gate>::default();
    let pass = Arc::clone(&gate);
    let mut config = config(lines);
    set(&mut config);
    let server = Server::new(config)
        .handle(WAIT, move |_, ()| {
            pass.pass();
            Ok(())
        })
        .handle(GIVE, |_, bytes| Ok(Bytes::from(vec![7; bytes as usize])));
    (server.start().unwrap(), gate)
}

fn stats(server: &RunningServer) -> &PortStats {
    server.ports()[0].stats()
}

fn within(time: Duration) -> Setting<Option<Duration>> {
    Setting::program(Some(time))
}

/// What comes before the end, a Welcome left out. A peer that still sends may find its connection reset.
fn last_words(stream: &mut TcpStream) -> Vec<(FrameKind, Status)> {
    let mut words = Vec::new();
    while let Some(frame) = read_frame(stream) {
        if frame.header.kind != FrameKind::Welcome {
            words.push((frame.header.kind, frame.status()));
        }
    }
    words
}

/// All that was taken in is closed, all memory given back.
#[track_caller]
fn settled(server: &RunningServer) {
    wait_until("all connections are closed", || stats(server).open() == 0);
    wait_for_permits(server);
    wait_until("no buffer is held", || server.ports()[0].buffer_bytes() == 0);
}

/// Whoever means well has said Hello by then, on a busy machine too.
const HELLO: Duration = Duration::from_secs(2);

#[test]
fn who_does_not_say_hello_is_told_and_closed() {
    let (server, _) = start("", |config| config.hello_timeout = within(HELLO));
    let control = ControlClient::start(server.address(), false);
    let hello = greeting();
    let mut idle = Raw::connect(server.address());
    let begun = Instant::now();
    let mut silent: Vec<_> = [0, 1, 8, 9, hello.len() - 1]
        .map(|said| {
            let mut stream = connect(server.address());
            stream.write_all(&hello[..said]).unwrap();
            stream
        })
        .into();
    for stream in &mut silent {
        assert_eq!(last_words(stream), [(FrameKind::GoAway, Status::TooSlow)]);
    }
    assert!(begun.elapsed() >= HELLO, "not before its time");
    drop(silent);
    wait_until("all are closed", || stats(&server).closed_for(CloseReason::SlowHello) == 5);
    assert_eq!(idle.call::<_, ()>("server.ping", &()), Ok(()), "who has said Hello may be silent");
    assert_eq!(control.end(), 0);
    drop(idle);
    settled(&server);
}

#[test]
fn a_byte_now_and_then_does_not_make_a_frame() {
    let (server, _) = start("", |config| config.frame_timeout = within(200 * MS));
    let control = ControlClient::start(server.address(), false);
    let mut slow = Raw::connect(server.address());
    let (_, call) = slow.frame("server.echo", &Bytes::from(vec![7; 100_000]), 0);
    // Frames that come whole in between are no excuse for the one that does not.
    slow.stream.write_all(&[&frame(FrameKind::Ping, 0, 9, b"")[..], &call[..20]].concat()).unwrap();
    assert_eq!(slow.read().expect("a Pong").header.kind, FrameKind::Pong);
    let mut rest = call[20..].chunks(1);
    wait_until("it is given up", || {
        // It is told, and may be closed upon.
        let sent = rest.next().is_some_and(|byte| slow.stream.write_all(byte).is_ok());
        !sent || stats(&server).closed_for(CloseReason::SlowFrame) == 1
    });
    drop(slow);
    wait_until("it is closed", || stats(&server).closed_for(CloseReason::SlowFrame) == 1);
    let mut silent = Raw::connect(server.address());
    silent.stream.write_all(&call[..50_000]).unwrap();
    assert_eq!(last_words(&mut silent.stream), [(FrameKind::GoAway, Status::TooSlow)]);
    drop(silent);
    wait_until("so is that", || stats(&server).closed_for(CloseReason::SlowFrame) == 2);
    assert_eq!(control.end(), 0);
    settled(&server);
}

/// Waits until a peer that began a frame now is given up.
fn outlast_a_frame(server: &RunningServer) {
    let mut other = Raw::connect(server.address());
    other.stream.write_all(&frame(FrameKind::Ping, 0, 9, b"")[..5]).unwrap();
    assert_eq!(last_words(&mut other.stream), [(FrameKind::GoAway, Status::TooSlow)]);
}

#[test]
fn time_in_which_the_server_does_not_read_is_not_the_peers() {
    let lines = "Server_Pool_Tasks=1\nServer_Max_Concurrent_Trans=1";
    let (server, gate) = start(lines, |config| config.frame_timeout = within(100 * MS));
    let mut client = Raw::connect(server.address());
    let window = boneyard::internal::admission::WINDOW_CALLS_MAX;
    let calls: Vec<_> = (0..window + 1).flat_map(|_| client.frame("test.wait", &(), 0).1).collect();
    let (last, half) = calls.split_at(calls.len() - 10);
    let _ = half;
    client.stream.write_all(last).unwrap();
    wait_until("the window is full", || stats(&server).window_full.get() > 0 && gate.inside() == 1);
    outlast_a_frame(&server);
    outlast_a_frame(&server);
    client.stream.write_all(half).unwrap();
    gate.open();
    for _ in 0..window + 1 {
        assert_eq!(client.read().expect("a reply").status(), Status::Ok);
    }
    // Between two frames there is no limit.
    outlast_a_frame(&server);
    assert_eq!(client.call::<_, ()>("test.wait", &()), Ok(()));
    assert_eq!(stats(&server).closed_for(CloseReason::SlowFrame), 3);
    drop(client);
    settled(&server);
}

/// A client that asks for so many mebibytes, one a call, and reads nothing.
fn unread(server: &RunningServer, calls: usize) -> Raw {
    let mut client = Raw::connect(server.address());
    SockRef::from(&client.stream).set_recv_buffer_size(16 << 10).unwrap();
    let frames: Vec<u8> = (0..calls).flat_map(|_| client.frame("test.give", &(MIB as u32), 0).1).collect();
    client.stream.write_all(&frames).unwrap();
    client
}

#[test]
fn who_takes_none_of_its_replies_is_closed() {
    let (server, _) = start("", |config| config.send_timeout = within(200 * MS));
    let control = ControlClient::start(server.address(), false);
    let mut slow = unread(&server, 16);
    wait_until("it is given up", || stats(&server).closed_for(CloseReason::SlowReader) == 1);
    assert_eq!(control.end(), 0);
    let mut left = Vec::new();
    // What was on its way may still be there; then a reset or an end.
    let _ = slow.stream.read_to_end(&mut left);
    assert!(left.len() < 16 * MIB);
    drop(slow);
    settled(&server);
}

#[test]
fn who_takes_its_replies_slowly_is_borne() {
    // Longer than a busy machine keeps the reader from a piece.
    let limit = 2000 * MS;
    let (server, _) = start("", |config| config.send_timeout = within(limit));
    let mut slow = unread(&server, 12);
    wait_until("replies wait", || server.ports()[0].buffer_bytes() > MIB);
    let begun = Instant::now();
    let (mut taken, mut piece) = (0, vec![0; MIB / 4]);
    // Whoever reads on at such a pace takes much longer than the limit for all of it.
    while taken < 12 * MIB {
        slow.stream.read_exact(&mut piece).unwrap();
        taken += piece.len();
        std::thread::sleep(100 * MS);
    }
    assert!(begun.elapsed() > 2 * limit);
    assert_eq!(stats(&server).closed.sum(), 0);
    drop(slow);
    settled(&server);
}

#[test]
fn who_leaves_too_much_unread_is_closed() {
    let (server, _) = start("", |config| config.send_buffer_bytes = Setting::program(MIB / 2));
    let control = ControlClient::start(server.address(), false);
    let slow = unread(&server, 32);
    wait_until("it is given up", || stats(&server).closed_for(CloseReason::OutboundFull) == 1);
    assert_eq!(control.end(), 0);
    drop(slow);
    settled(&server);
}

/// Calls and cancels of one read each, with such a deadline.
fn flood_of_cancels(client: &mut Raw, pairs: usize, deadline_ms: u32) -> Vec<u8> {
    let method = client.number("server.ping");
    let pair = |_| {
        let (id, _) = client.frame("server.ping", &(), 0);
        [call_frame(id, method, Flags::NONE, deadline_ms, b""), frame(FrameKind::Cancel, 0, id, b"")].concat()
    };
    (0..pairs).flat_map(pair).collect()
}

#[test]
fn who_calls_and_cancels_without_end_is_told_off() {
    let (server, _) = start("", |_| {});
    let control = ControlClient::start(server.address(), false);
    for (floods, deadline_ms) in (1..).zip([0, 30_000]) {
        let mut client = Raw::connect(server.address());
        let bytes = flood_of_cancels(&mut client, 5_000, deadline_ms);
        let mut stream = client.stream.try_clone().unwrap();
        let sending = std::thread::spawn(move || stream.write_all(&bytes));
        let words = last_words(&mut client.stream);
        assert!(
            words.contains(&(FrameKind::GoAway, Status::ProtocolError)),
            "{deadline_ms}: {} words",
            words.len()
        );
        drop(client);
        // What it still sends is thrown away, or finds the connection closed.
        let _ = sending.join().unwrap();
        wait_until("it is closed", || stats(&server).closed_for(CloseReason::Abusive) == floods);
    }
    assert_eq!(control.end(), 0);
    settled(&server);
}

/// Calls that pass their deadlines while the server does not read, and are cancelled for that.
#[test]
fn who_cancels_what_timed_out_is_not() {
    const PAIRS: usize = 3_000;
    let lines = "Server_Pool_Tasks=1\nServer_Max_Concurrent_Trans=1";
    let (server, gate) = start(lines, |_| {});
    let mut client = Raw::connect(server.address());
    let window = boneyard::internal::admission::WINDOW_CALLS_MAX;
    let calls: Vec<u8> = (0..window).flat_map(|_| client.frame("test.wait", &(), 0).1).collect();
    let pairs = flood_of_cancels(&mut client, PAIRS, 10);
    client.stream.write_all(&calls).unwrap();
    wait_until("the window is full", || server.in_flight() == window);
    client.stream.write_all(&pairs).unwrap();
    let sent = Instant::now();
    wait_until("their deadlines are past", || sent.elapsed() > 20 * MS);
    gate.open();
    for _ in 0..window + PAIRS {
        assert_eq!(client.read().expect("a reply").header.kind, FrameKind::Reply);
    }
    wait_until("all cancels are heard", || stats(&server).cancels.get() == PAIRS as u64);
    assert_eq!(stats(&server).closed.sum(), 0);
    drop(client);
    settled(&server);
}
