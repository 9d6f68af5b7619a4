//! Peers that claim much, send much or read nothing: memory follows what was really sent, within bounds, and not
//! what was claimed; others are served meanwhile; and a slow peer still gets every answer once.
#![cfg(feature = "server")]

mod common;

use boneyard::Method;
use boneyard::internal::wire::{Flags, FrameKind, Header};
use boneyard::service::{Bytes, Status};
use common::gate::{Gate, resident_bytes};
use common::*;
use socket2::SockRef;
use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;

const WAIT: Method<Bytes, ()> = Method::new("test.wait");
const MIB: usize = 1 << 20;

/// These tests look at the memory of the whole process, so they run one after another.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

#[test]
fn a_claimed_length_costs_no_memory() {
    let _alone = alone();
    let server = load_server("Server_Max_Frame_KB=65536");
    let mut clients: Vec<Raw> = (0..200).map(|_| Raw::connect(server.address())).collect();
    let before = resident_bytes();
    let claim = Header { body_bytes: 60 << 20, kind: FrameKind::Call, flags: Flags::NONE, code: 1, call: 1 };
    for client in &mut clients {
        // The Pong tells that the server has seen the header behind the Ping.
        let bytes = [&frame(FrameKind::Ping, 0, 5, b"")[..], &claim.write(), b"a few bytes"].concat();
        client.stream.write_all(&bytes).unwrap();
    }
    for client in &mut clients {
        assert_eq!(client.read().expect("a Pong").header.kind, FrameKind::Pong);
    }
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 16 * MIB, "{} MiB for 12,000 MiB claimed", grown / MIB);
    let mut control = Raw::connect(server.address());
    assert_eq!(control.call::<_, ()>("server.ping", &()), Ok(()));
    drop(clients);
    wait_until("all are gone", || server.ports()[0].stats().open() == 1);
}

#[test]
fn twenty_megabytes_pass_both_ways_past_a_slow_reader() {
    let _alone = alone();
    let server = load_server("Server_Max_Frame_KB=32768");
    let mut client = Raw::connect(server.address());
    SockRef::from(&client.stream).set_recv_buffer_size(16 << 10).unwrap();
    let payload: Vec<u8> = (0..20 * MIB as u32).map(|n| (n ^ n >> 9) as u8).collect();
    let bytes = Bytes::from(payload);
    let id = client.send("server.echo", &bytes);
    let stats = server.ports()[0].stats();
    wait_until("the answer is made", || stats.answered(Status::Ok) == 1);
    // Much of it waits in the server now, and goes out in the small pieces that this reader takes.
    let mut head = [0; 16];
    client.stream.read_exact(&mut head).unwrap();
    let header = Header::read(&head).unwrap();
    assert_eq!((header.call, header.code), (id, 0));
    let mut body = vec![0; header.body_bytes as usize];
    body.chunks_mut(10_000).for_each(|piece| client.stream.read_exact(piece).unwrap());
    assert!(body[20..] == bytes[..], "byte for byte, behind the times and the length");
    assert_eq!(client.call::<_, ()>("server.ping", &()), Ok(()), "the connection goes on");
}

/// Writes as fast as it is let.
struct Flood {
    written: Arc<AtomicUsize>,
    done: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Flood {
    fn start(mut stream: TcpStream, frames: Vec<Vec<u8>>) -> Flood {
        let (written, done) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let (count, end) = (Arc::clone(&written), Arc::clone(&done));
        let thread = std::thread::spawn(move || {
            for frame in frames {
                stream.write_all(&frame).unwrap();
                count.fetch_add(frame.len(), Ordering::SeqCst);
            }
            end.store(true, Ordering::SeqCst);
        });
        Flood { written, done, thread }
    }

    /// Waits until nothing more is taken from it, or all was.
    fn settle(&self) {
        let (mut last, mut still) = (0, 0);
        wait_until("the flood is held or over", || {
            let now = self.written.load(Ordering::SeqCst);
            still = if now == last { still + 1 } else { 0 };
            last = now;
            still > 200 || self.done.load(Ordering::SeqCst)
        });
    }

    fn is_done(&self) -> bool {
        self.done.load(Ordering::SeqCst)
    }
}

/// Reads the answers to calls 1 to `calls`, each of which must come once and be `Ok`.
fn read_each_once(client: &mut Raw, calls: usize) {
    let mut seen = HashSet::new();
    for _ in 0..calls {
        let frame = client.read().expect("a reply");
        assert_eq!(frame.status(), Status::Ok);
        assert!((1..=calls as u64).contains(&frame.header.call) && seen.insert(frame.header.call));
    }
}

#[test]
fn a_peer_that_never_reads_is_no_longer_read_and_gets_all_answers_once_it_does() {
    let _alone = alone();
    const CALLS: usize = 100_000;
    let server = load_server("");
    let mut client = Raw::connect(server.address());
    SockRef::from(&client.stream).set_recv_buffer_size(64 << 10).unwrap();
    let payload = Bytes::from(vec![9; 400]);
    let frames: Vec<_> = (0..CALLS / 100)
        .map(|_| (0..100).flat_map(|_| client.frame("server.echo", &payload, 0).1).collect())
        .collect();
    let before = resident_bytes();
    let flood = Flood::start(client.stream.try_clone().unwrap(), frames);
    let stats = server.ports()[0].stats();
    wait_until("the server stops reading", || stats.outbound_full.get() > 0);
    flood.settle();
    assert!(!flood.is_done(), "the rest of the calls waits on the client's side");
    wait_until("what was admitted is answered", || server.in_flight() == 0);
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 16 * MIB, "{} MiB for a peer that does not read", grown / MIB);
    let mut control = Raw::connect(server.address());
    for _ in 0..100 {
        assert_eq!(control.call::<_, ()>("server.ping", &()), Ok(()));
    }
    read_each_once(&mut client, CALLS);
    flood.thread.join().unwrap();
    assert_eq!((stats.calls.get(), stats.answered(Status::Ok)), (CALLS as u64 + 100, CALLS as u64 + 100));
}

/// A listener that went on reading whenever the poll had news kept what it could not admit, twice as much each time.
#[test]
fn a_peer_that_sends_beyond_its_window_is_no_longer_read() {
    let _alone = alone();
    const CALLS: usize = 40_000;
    let gate = Arc::new(Gate::default());
    let pass = Arc::clone(&gate);
    let lines = "Ports=A,B\nB_TCPIPAddress=127.0.0.1:1\nServer_Pool_Tasks=2\nServer_Max_Concurrent_Trans=4";
    let server = server(lines).handle(WAIT, move |_, _| {
        pass.pass();
        Ok(())
    });
    let server = server.start().unwrap();
    let mut client = Raw::connect(server.address());
    let payload = Bytes::from(vec![9; 1000]);
    let frames: Vec<_> = (0..CALLS / 100)
        .map(|_| (0..100).flat_map(|_| client.frame("test.wait", &payload, 0).1).collect())
        .collect();
    let before = resident_bytes();
    let flood = Flood::start(client.stream.try_clone().unwrap(), frames);
    let port = &server.ports()[0];
    wait_until("the window is full", || port.stats().window_full.get() > 0 && gate.inside() == 2);
    flood.settle();
    assert!(!flood.is_done(), "the rest of the calls waits on the client's side");
    assert_eq!(server.in_flight(), boneyard::internal::admission::WINDOW_CALLS_MAX);
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 12 * MIB, "{} MiB of calls that cannot be admitted", grown / MIB);
    let mut control = Raw::connect(server.ports()[1].address());
    assert_eq!(control.call::<_, ()>("server.ping", &()), Ok(()), "another port is served");
    gate.open();
    read_each_once(&mut client, CALLS);
    flood.thread.join().unwrap();
    assert_eq!(port.stats().calls.get(), CALLS as u64);
}
