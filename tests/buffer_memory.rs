//! `Server_Buffer_Memory_MB` holds whatever peers do: half-read frames, calls that queue, replies that are not read.
//! What is counted is exact, and comes back to 0.
#![cfg(feature = "server")]

mod common;

use boneyard::Method;
use boneyard::config::Setting;
use boneyard::internal::metrics::CloseReason;
use boneyard::internal::wire::limits::HEADER_BYTES;
use boneyard::server::{RunningServer, Server};
use boneyard::service::{Bytes, Status};
use common::control_client::ControlClient;
use common::gate::{Gate, resident_bytes};
use common::*;
use socket2::SockRef;
use std::collections::HashSet;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

/// Takes so many bytes and waits.
const WAIT: Method<Bytes, ()> = Method::new("test.wait");
/// Gives so many bytes.
const GIVE: Method<u32, Bytes> = Method::new("test.give");

const MIB: usize = 1 << 20;

/// What these servers may hold, and by how much the count may be above: what a listener reads at once, a step of the
/// count, and a reply for each of two workers.
const BOUND: usize = 16 * MIB;
const SLACK: usize = MIB + MIB / 4;

/// These tests look at the memory of the whole process, so they run one after another.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn start(lines: &str) -> (RunningServer, Arc<Gate>) {
    let gate = Arc::<Gate>::default();
    let pass = Arc::clone(&gate);
    let mut config = config(&format!("Server_Pool_Tasks=2\nServer_Max_Concurrent_Trans=2\n{lines}"));
    config.buffer_memory_bytes = Setting::program(BOUND);
    let server = Server::new(config)
        .handle(WAIT, move |_, _| {
            pass.pass();
            Ok(())
        })
        .handle(GIVE, |_, bytes| Ok(Bytes::from(vec![7; bytes as usize])));
    (server.start().unwrap(), gate)
}

fn held(server: &RunningServer) -> usize {
    server.ports().iter().map(|port| port.buffer_bytes()).sum()
}

fn closed_for(server: &RunningServer, reason: CloseReason) -> u64 {
    server.ports().iter().map(|port| port.stats().closed_for(reason)).sum()
}

/// Runs `press` while the memory held is looked at all the time: how much it was at most.
fn at_most(server: &RunningServer, press: impl FnOnce()) -> usize {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let looking = scope.spawn(|| {
            let mut most = 0;
            while !over.load(Ordering::SeqCst) {
                most = most.max(held(server));
                std::thread::yield_now();
            }
            most
        });
        let pressed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(press));
        over.store(true, Ordering::SeqCst);
        let most = looking.join().unwrap();
        pressed.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        most
    })
}

#[track_caller]
fn settled(server: &RunningServer, ports: u64) {
    let open = || server.ports().iter().map(|port| port.stats().open()).sum::<u64>();
    wait_until("all connections are closed", || open() == 0);
    wait_for_permits(server);
    wait_until("no buffer is held", || held(server) == 0);
    assert_eq!(server.ports().len() as u64, ports);
    let mut client = Raw::connect(server.address());
    assert_eq!(client.call::<_, ()>("server.ping", &()), Ok(()), "there is room again");
}

/// Connections that send three quarters of a call of 4 MiB.
fn half_read(server: &RunningServer, count: usize) -> Vec<Raw> {
    let payload = Bytes::from(vec![9; 4 * MIB - 100]);
    let peers = (0..count).map(|n| {
        let mut peer = Raw::connect(server.ports()[n % server.ports().len()].address());
        let (_, call) = peer.frame("test.wait", &payload, 0);
        let mut stream = peer.stream.try_clone().unwrap();
        // It ends when all is taken or the connection is closed.
        std::thread::spawn(move || stream.write_all(&call[..3 * MIB]));
        peer
    });
    peers.collect()
}

#[test]
fn half_read_frames_do_not_exceed_it() {
    let _alone = alone();
    for names in [&["A"][..], &["A", "B"]] {
        let (server, _) = start(&ports(names));
        let control = ControlClient::start(server.address(), true);
        let before = resident_bytes();
        let mut peers = Vec::new();
        let most = at_most(&server, || {
            peers = half_read(&server, 30);
            // No more than four of them find room, or nearly so.
            wait_until("most are closed", || closed_for(&server, CloseReason::BuffersFull) >= 24);
        });
        assert!((BOUND / 2..BOUND + names.len() * SLACK).contains(&most), "{most} bytes");
        let grown = resident_bytes().saturating_sub(before);
        // The peers' ends are in this process too: 30 messages, and what their threads have of them.
        assert!(grown < BOUND + 30 * 8 * MIB, "{} MiB", grown / MIB);
        let mut told = 0;
        for peer in &mut peers {
            peer.stream.set_nonblocking(true).unwrap();
            let mut head = [0; HEADER_BYTES];
            let goaway = peer.stream.peek(&mut head).is_ok_and(|n| n == HEADER_BYTES && head[4] == 8);
            assert!(!goaway || u16::from_le_bytes([head[6], head[7]]) == Status::BuffersFull.code());
            told += usize::from(goaway);
        }
        assert!(told > 0, "they are told why");
        control.end();
        drop(peers);
        settled(&server, names.len() as u64);
    }
}

#[test]
fn queued_calls_do_not_exceed_it() {
    let _alone = alone();
    const CALLS: usize = 100;
    let (server, gate) = start("");
    let mut client = Raw::connect(server.address());
    let payload = Bytes::from(vec![9; MIB]);
    let frames: Vec<_> = (0..CALLS).map(|_| client.frame("test.wait", &payload, 0).1).collect();
    let mut stream = client.stream.try_clone().unwrap();
    let stats = server.ports()[0].stats();
    let mut control = Raw::connect(server.address());
    let mut sending = None;
    let most = at_most(&server, || {
        sending = Some(std::thread::spawn(move || {
            frames.iter().try_for_each(|frame| stream.write_all(frame)).unwrap();
        }));
        wait_until("it is not read on", || stats.buffers_full.get() > 0);
        // A worker that comes late for its call makes room once more. What is let in then takes that room, so that it
        // ends, and is answered in the end.
        let (mut sent, small) = (0, Bytes::from(vec![9; MIB / 64]));
        control.stream.set_nonblocking(true).unwrap();
        wait_until("what would come on top is refused", || {
            control.send("test.wait", &small);
            sent += 1;
            control.stream.peek(&mut [0]).is_ok()
        });
        control.stream.set_nonblocking(false).unwrap();
        let refused = control.read().expect("a refusal").result::<()>().unwrap_err();
        assert_eq!(refused.0, Status::BuffersFull);
        assert!(refused.1.retry_after_ms >= 100);
        gate.open();
        for _ in 1..sent {
            let status = control.read().expect("a reply").status();
            assert!(matches!(status, Status::Ok | Status::BuffersFull), "{status:?}");
        }
        let mut answered = HashSet::new();
        for _ in 0..CALLS {
            let reply = client.read().expect("a reply");
            assert!(matches!(reply.status(), Status::Ok | Status::BuffersFull));
            assert!(answered.insert(reply.header.call), "each once");
        }
    });
    assert!((BOUND / 2..BOUND + SLACK).contains(&most), "{most} bytes");
    sending.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(
        (closed_for(&server, CloseReason::BuffersFull), stats.open()),
        (0, 2),
        "nobody is closed for that"
    );
    assert_eq!(control.call::<_, ()>("server.ping", &()), Ok(()));
    drop((client, control));
    settled(&server, 1);
}

#[test]
fn unread_replies_do_not_exceed_it() {
    let _alone = alone();
    let (server, _) = start("");
    let control = ControlClient::start(server.address(), true);
    let mut peers = Vec::new();
    // The thread that looks may have no turn in time.
    let mut here = 0;
    let most = at_most(&server, || {
        for _ in 0..20 {
            let mut peer = Raw::connect(server.address());
            SockRef::from(&peer.stream).set_recv_buffer_size(16 << 10).unwrap();
            let calls: Vec<u8> = (0..16).flat_map(|_| peer.frame("test.give", &(MIB as u32), 0).1).collect();
            peer.stream.write_all(&calls).unwrap();
            peers.push(peer);
        }
        wait_until("some are closed", || {
            here = held(&server).max(here);
            closed_for(&server, CloseReason::BuffersFull) > 0
        });
        wait_until("what was admitted is answered", || server.ports()[0].queued() == 0);
    });
    let most = most.max(here);
    assert!((BOUND / 2..BOUND + SLACK).contains(&most), "{most} bytes");
    control.end();
    drop(peers);
    settled(&server, 1);
}

/// A connection whose calls are small holds little, however many it has out.
#[test]
fn many_small_calls_leave_nothing() {
    let _alone = alone();
    let (server, gate) = start("");
    let payload = Bytes::from(vec![9; 3000]);
    let mut clients: Vec<Raw> = (0..20).map(|_| Raw::connect(server.address())).collect();
    for client in &mut clients {
        let calls: Vec<u8> = (0..100).flat_map(|_| client.frame("test.wait", &payload, 0).1).collect();
        client.stream.write_all(&calls).unwrap();
    }
    wait_until("all wait", || server.in_flight() == 2000);
    assert!(held(&server) >= 20 * 100 * 3000, "all of it is counted");
    clients.drain(..5).for_each(|client| reset(client.stream));
    gate.open();
    for client in &mut clients {
        (0..100).for_each(|_| assert_eq!(client.read().expect("a reply").status(), Status::Ok));
    }
    wait_until("no buffer is held", || held(&server) == 0);
    drop(clients);
    settled(&server, 1);
}
