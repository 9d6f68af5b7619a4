//! A handler inside `blocking` holds no permit, and one outside of it always does, on a real server.
//!
//! Handlers count themselves while they run and wait at gates, so nothing here depends on how fast the machine is.
#![cfg(feature = "server")]

mod common;

use boneyard::internal::wire::FrameKind;
use boneyard::service::{Status, blocking};
use boneyard::{Method, Transaction};
use common::gate::{Gate, Inside, thread_names};
use common::*;
use std::io::Write;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

/// Waits at the gate inside `blocking` if the argument is not 0.
const WAIT: Method<u32, u32> = Method::new("test.wait");
/// Waits at the gate and keeps its permit.
const HOLD: Method<(), ()> = Method::new("test.hold");

/// A server whose two methods wait at a gate each: at the first inside `blocking`, at the second outside.
fn start(lines: &str) -> (boneyard::RunningServer, Arc<Gate>, Arc<Gate>) {
    let (waiting, holding) = (Arc::<Gate>::default(), Arc::<Gate>::default());
    let (wait, hold) = (Arc::clone(&waiting), Arc::clone(&holding));
    let server = server(lines)
        .handle(WAIT, move |tx, n| {
            if n > 0 {
                tx.blocking(|| wait.pass());
            }
            Ok(n)
        })
        .handle(HOLD, move |_, ()| {
            hold.pass();
            Ok(())
        });
    (server.start().unwrap(), waiting, holding)
}

/// A handler that runs, waits, waits within waits and panics at random, and counts itself while it runs.
fn at_random(tx: &Transaction<'_>, running: &Gate, seed: u64) {
    let mut random = Random(seed | 1);
    for _ in 0..random.below(5) {
        let run = Inside::new(running);
        match random.below(8) {
            0 => resume_unwind(Box::new("while it runs")),
            1 => std::thread::yield_now(),
            _ => {}
        }
        drop(run);
        tx.blocking(|| match random.below(8) {
            0 => resume_unwind(Box::new("while it waits")),
            1 => std::thread::sleep(Duration::from_millis(1)),
            2 => blocking(std::thread::yield_now),
            _ => {}
        });
        drop(Inside::new(running));
    }
}

#[test]
fn whatever_handlers_do_no_more_run_than_there_are_permits() {
    const MIX: Method<u64, ()> = Method::new("test.mix");
    for (permits, workers, seed) in [(1, 2, 1), (1, 6, 2), (2, 5, 3), (3, 3, 4)] {
        let running = Arc::<Gate>::default();
        let counted = Arc::clone(&running);
        let lines = format!(
            "Ports=A,B\nA_TCPIPAddress=127.0.0.1:1\nB_TCPIPAddress=127.0.0.1:2\n\
             Server_Max_Concurrent_Trans={permits}\nServer_Pool_Tasks={workers}"
        );
        let mix = move |tx: &Transaction<'_>, seed| {
            at_random(tx, &counted, seed);
            Ok(())
        };
        let server = server(&lines).handle(MIX, mix).start().unwrap();
        let mut random = Random(seed);
        for _ in 0..3 {
            let mut clients: Vec<Raw> =
                (0..6).map(|n| Raw::connect(server.ports()[n % 2].address())).collect();
            for client in &mut clients {
                let mut bytes = Vec::new();
                for _ in 0..60 {
                    let (call, frame) = client.frame("test.mix", &random.next(), 0);
                    bytes.extend(frame);
                    if random.below(8) == 0 {
                        bytes.extend(common::frame(FrameKind::Cancel, 0, call, b""));
                    }
                }
                client.stream.write_all(&bytes).unwrap();
            }
            // Two go without their answers.
            for client in &mut clients[2..] {
                for _ in 0..60 {
                    let status = client.read().expect("a reply").status();
                    assert!(
                        matches!(status, Status::Ok | Status::Panicked | Status::Cancelled),
                        "{status:?}"
                    );
                }
            }
        }
        wait_for_permits(&server);
        let place = format!("{permits} permits, 2 x {workers} workers");
        assert!(running.peak() <= permits, "{place}: {} ran at once", running.peak());
        assert!(server.permits_peak() as usize <= permits, "{place}");
        assert!(running.entered() > 1000, "{place}: {} runs were counted", running.entered());
        assert_eq!(server.stop().lost(), 0, "{place}");
    }
}

#[test]
fn those_that_wait_leave_their_permits_to_others() {
    for (permits, reloadable) in [("1", false), ("1", true), ("-1", true)] {
        let lines = format!("Server_Pool_Tasks=5\nServer_Max_Concurrent_Trans={permits}");
        let (server, waiting, _) = start(&lines);
        let mut client = Raw::connect(server.address());
        let frames: Vec<Vec<u8>> = (0..4).map(|_| client.frame("test.wait", &1u32, 0).1).collect();
        for bytes in if reloadable { vec![frames.concat()] } else { frames } {
            client.stream.write_all(&bytes).unwrap();
        }
        wait_until("all four wait inside", || waiting.inside() == 4);
        wait_until("no permit is out", || server.permits_out() == 0);
        assert_eq!(server.in_flight(), 4, "they are in progress all the same");
        let mut other = Raw::connect(server.address());
        assert_eq!(other.call::<_, u32>("test.wait", &0u32), Ok(0));
        waiting.open();
        for _ in 0..4 {
            assert_eq!(client.read().expect("a reply").status(), Status::Ok);
        }
        wait_for_permits(&server);
        assert!(permits == "-1" || server.permits_peak() == 1);
    }
}

#[test]
fn a_wait_within_a_wait_gives_the_permit_back_once() {
    const NEST: Method<(), ()> = Method::new("test.nest");
    let (inner, outer) = (Arc::<Gate>::default(), Arc::<Gate>::default());
    let (within, after) = (Arc::clone(&inner), Arc::clone(&outer));
    let nest = move |tx: &Transaction<'_>, ()| {
        tx.blocking(|| {
            blocking(|| within.pass());
            after.pass();
        });
        Ok(())
    };
    let server = server("Server_Pool_Tasks=2").handle(NEST, nest).start().unwrap();
    let mut client = Raw::connect(server.address());
    client.send("test.nest", &());
    for gate in [inner, outer] {
        wait_until("it waits", || gate.inside() == 1);
        wait_until("it has no permit", || server.permits_out() == 0);
        gate.open();
    }
    assert_eq!(client.read().expect("a reply").status(), Status::Ok);
    wait_for_permits(&server);
}

#[test]
fn a_thread_of_the_handler_has_no_permit_to_give() {
    const ELSEWHERE: Method<(), ()> = Method::new("test.elsewhere");
    let gate = Arc::<Gate>::default();
    let inside = Arc::clone(&gate);
    let elsewhere = move |tx: &Transaction<'_>, ()| {
        std::thread::scope(|scope| scope.spawn(|| tx.blocking(|| inside.pass())).join().unwrap());
        Ok(())
    };
    let lines = "Server_Pool_Tasks=2\nServer_Max_Concurrent_Trans=1";
    let server = server(lines).handle(ELSEWHERE, elsewhere).start().unwrap();
    let mut client = Raw::connect(server.address());
    client.send("test.elsewhere", &());
    wait_until("the other thread waits", || gate.inside() == 1);
    assert_eq!(server.permits_out(), 1, "its handler goes on");
    gate.open();
    assert_eq!(client.read().expect("a reply").status(), Status::Ok);
    wait_for_permits(&server);
}

#[test]
fn a_panic_while_it_waits_is_an_answer_and_its_permit_comes_home() {
    const UNWIND: Method<(), ()> = Method::new("test.unwind");
    let lines = "Server_Pool_Tasks=3\nServer_Max_Concurrent_Trans=1";
    let unwind = |tx: &Transaction<'_>, ()| tx.blocking(|| resume_unwind(Box::new("on purpose")));
    let server = server(lines).handle(UNWIND, unwind).start().unwrap();
    let mut client = Raw::connect(server.address());
    let bytes: Vec<u8> = (0..200).flat_map(|_| client.frame("test.unwind", &(), 0).1).collect();
    client.stream.write_all(&bytes).unwrap();
    for _ in 0..200 {
        assert_eq!(client.read().expect("a reply").status(), Status::Panicked);
    }
    wait_for_permits(&server);
    assert_eq!((client.call("server.ping", &()), server.permits_peak()), (Ok(()), 1));
}

#[test]
fn a_short_method_that_suddenly_waits_holds_nothing_back() {
    for workers in [2, 3] {
        let (server, waiting, _) =
            start(&format!("Server_Pool_Tasks={workers}\nServer_Max_Concurrent_Trans=1"));
        let mut client = Raw::connect(server.address());
        // So that the server takes the method for a short one.
        for _ in 0..300 {
            assert_eq!(client.call::<_, u32>("test.wait", &0u32), Ok(0));
        }
        let short = |client: &mut Raw, calls: usize| -> Vec<u8> {
            (0..calls).flat_map(|_| client.frame("test.wait", &0u32, 0).1).collect()
        };
        let mut bytes = short(&mut client, 10);
        let (slow, frame) = client.frame("test.wait", &1u32, 0);
        bytes.extend(frame);
        bytes.extend(short(&mut client, 100));
        client.stream.write_all(&bytes).unwrap();
        for _ in 0..110 {
            let frame = client.read().expect("a reply");
            assert_ne!(frame.header.call, slow);
            assert_eq!(frame.status(), Status::Ok);
        }
        wait_until("it waits", || waiting.inside() == 1);
        waiting.open();
        assert_eq!(client.read().expect("a reply").header.call, slow);
        wait_for_permits(&server);
    }
}

#[test]
fn a_stop_waits_for_those_that_wait() {
    let (server, waiting, _) =
        start("Ports=Emu\nEmu_TCPIPAddress=127.0.0.1\nServer_Pool_Tasks=4\nServer_Max_Concurrent_Trans=1");
    let mut client = Raw::connect(server.address());
    for _ in 0..6 {
        client.send("test.wait", &1u32);
    }
    wait_until("four wait and two are queued", || waiting.inside() == 4 && server.ports()[0].queued() == 2);
    let stopping = std::thread::spawn(move || server.stop());
    assert_eq!(client.read().expect("a GoAway").header.kind, FrameKind::GoAway);
    assert!(!stopping.is_finished(), "it waits for what was admitted");
    waiting.open();
    for _ in 0..6 {
        assert_eq!(client.read().expect("a reply").status(), Status::Ok);
    }
    assert!(client.read().is_none(), "and then the end");
    assert_eq!(stopping.join().unwrap().lost(), 0);
    wait_until("no thread is left", || !thread_names().iter().any(|name| name.starts_with("Emu")));
}

#[test]
fn those_that_wait_longer_than_a_stop_come_to_their_end_all_the_same() {
    let (server, waiting, holding) =
        start("Ports=Gnu\nGnu_TCPIPAddress=127.0.0.1\nServer_Pool_Tasks=4\nServer_Max_Concurrent_Trans=1");
    let mut client = Raw::connect(server.address());
    for _ in 0..3 {
        client.send("test.wait", &1u32);
    }
    wait_until("three wait", || waiting.inside() == 3);
    client.send("test.hold", &());
    wait_until("one has the permit", || holding.inside() == 1);
    assert_eq!(server.stop_within(Duration::ZERO).unfinished, 4);
    waiting.open();
    wait_until("the waits are over", || waiting.inside() == 0);
    let ours = || thread_names().iter().filter(|name| name.starts_with("Gnu")).count();
    assert_eq!(ours(), 4, "they stand in line for the permit");
    holding.open();
    wait_until("no thread is left", || ours() == 0);
}

#[cfg(feature = "client")]
mod client {
    use super::*;
    use boneyard::client::ClientOptions;
    use boneyard::{Client, ClientError};
    use std::sync::OnceLock;

    /// Calls itself through the network so many times.
    const RELAY: Method<u32, u32> = Method::new("test.relay");

    #[test]
    fn a_handler_may_call_its_own_server_for_which_its_worker_has_the_only_permit() {
        let own = Arc::<OnceLock<Client>>::default();
        let me = Arc::clone(&own);
        let relay = move |_: &Transaction<'_>, n| {
            let client = me.get().expect("set before the first call");
            Ok(if n == 0 { 0 } else { client.call(RELAY, &(n - 1))? + 1 })
        };
        let lines = "Server_Pool_Tasks=4\nServer_Max_Concurrent_Trans=1";
        let server = server(lines).handle(RELAY, relay).start().unwrap();
        let address = server.address().to_string();
        // Not connected yet: the first handler connects, while the server needs no permit to welcome it.
        own.set(Client::new(&address).unwrap().with_deadline(PATIENCE)).unwrap();
        let mut client = Raw::connect(server.address());
        for hops in [1u32, 3, 2] {
            assert_eq!(client.call::<_, u32>("test.relay", &hops), Ok(hops));
        }
        wait_for_permits(&server);
        assert_eq!(server.permits_peak(), 1);
    }

    #[test]
    fn connecting_counts_as_waiting() {
        const DIAL: Method<String, bool> = Method::new("test.dial");
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = silent.local_addr().unwrap().to_string();
        let dial = |_: &Transaction<'_>, address: String| {
            // One attempt, which ends with its connection: a call that tries again would do so until its deadline.
            let options = ClientOptions::default().deadline(PATIENCE).connect_timeout(PATIENCE).retries(0);
            let client = Client::with_options(&address, options)?;
            Ok(matches!(client.methods(), Err(ClientError::Connect { .. })))
        };
        let lines = "Server_Pool_Tasks=2\nServer_Max_Concurrent_Trans=1";
        let server = server(lines).handle(DIAL, dial).start().unwrap();
        let mut client = Raw::connect(server.address());
        client.send("test.dial", &address);
        // Its greeting is never answered; meanwhile the permit is another's.
        let (unanswered, _) = silent.accept().unwrap();
        let mut other = Raw::connect(server.address());
        assert_eq!(other.call("server.ping", &()), Ok(()));
        wait_until("the first alone is in flight", || server.in_flight() == 1);
        drop(unanswered);
        assert_eq!(client.read().expect("a reply").result::<bool>(), Ok(true));
        wait_for_permits(&server);
    }
}
