//! The end of a server: a stop that does not come to one, and a restart that loses or repeats what is under way.

use super::common::*;
use super::{Client, ClientOptions, RunningServer, start};
use boneyard::Method;
use boneyard::internal::wire::FrameKind;
use boneyard::server::Server;
use boneyard::service::Status;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

#[test]
fn a_shutdown_hangs() {
    let lines = format!(
        "{}Server_Pool_Tasks=1\nServer_Max_Concurrent_Trans=2\nServer_Shutdown_Timeout=1",
        ports(&["A", "B"])
    );
    let (server, gate) = start(&lines);
    let mut clients: Vec<Raw> = server.ports().iter().map(|port| Raw::connect(port.address())).collect();
    let calls = [clients[0].send("test.wait", &()), clients[1].send("test.block", &())];
    wait_until("both workers are stuck", || gate.inside() == 2);
    for client in &mut clients {
        client.send("test.wait", &());
    }
    wait_until("a call waits at each port", || server.ports().iter().all(|port| port.queued() == 1));
    let stopped = server.stop();
    assert_eq!((stopped.unfinished, stopped.refused, gate.inside()), (2, 2, 2), "nobody opened the gate");
    let expected = [("A", "test.wait"), ("B", "test.block")];
    assert_eq!(stopped.held_by.len(), 2, "{stopped:?}");
    for (held, ((port, method), (client, call))) in
        stopped.held_by.iter().zip(expected.into_iter().zip(clients.iter().zip(calls)))
    {
        assert_eq!(
            (held.port.as_str(), held.method.as_str(), held.call, held.worker),
            (port, method, call, 1)
        );
        assert_eq!(held.peer, client.stream.local_addr().unwrap());
        let words = format!("port {port}: {method} of {} (call {call}) has run for ", held.peer);
        assert!(held.to_string().starts_with(&words), "{held}");
    }
    for client in &mut clients {
        assert_eq!(client.read().expect("a GoAway").header.kind, FrameKind::GoAway);
        assert_eq!(client.read().expect("a refusal").status(), Status::Draining);
        assert!(client.read().is_none(), "the connection does not outlive the server");
    }
    gate.open();
    wait_until("the handlers end all the same", || gate.inside() == 0);
}

/// What handlers were asked to do, by number, over all servers of a test.
type Log = Arc<Mutex<HashMap<u64, usize>>>;

/// Logs its number.
const ONCE: Method<u64, ()> = Method::new("test.once");
/// As [`ONCE`], and may run twice.
const AGAIN: Method<u64, ()> = Method::new("test.again").idempotent();

/// A server on this address, on one that the system chooses where it is `None`.
fn logging(address: Option<SocketAddr>, log: &Log) -> RunningServer {
    let mut config = config("Server_Pool_Tasks=4\nServer_Max_Concurrent_Trans=4");
    config.ports[0].address.port = address.map_or(0, |address| address.port());
    let note = |log: &Log| {
        let log = Arc::clone(log);
        move |number| *log.lock().unwrap().entry(number).or_default() += 1
    };
    let (once, again) = (note(log), note(log));
    Server::new(config)
        .handle(ONCE, move |_, number| {
            once(number);
            Ok(())
        })
        .handle(AGAIN, move |_, number| {
            again(number);
            Ok(())
        })
        .start()
        .expect("the address is free")
}

/// What is promised: a restart under load loses no call of a client that makes refused ones again, and runs none twice,
/// whether or not its method is idempotent. What a stopping server has taken it answers; what it has not it refuses, or
/// its client knows that it was not sent.
#[test]
fn a_drain_race_loses_a_call_or_runs_it_twice() {
    const CALLERS: u64 = 4;
    const RESTARTS: u64 = 5;
    let log = Log::default();
    let mut server = logging(None, &log);
    let address = server.address();
    let (over, next) = (AtomicBool::new(false), AtomicU64::new(0));
    let failed = Mutex::new(Vec::new());
    // The last server goes when the callers have gone.
    drop(thread::scope(|scope| {
        for caller in 0..CALLERS {
            let options = ClientOptions::default().deadline(PATIENCE).retries(20);
            let client = Client::with_options(address, options).unwrap();
            let (over, next, failed) = (&over, &next, &failed);
            scope.spawn(move || {
                while !over.load(Ordering::SeqCst) {
                    let number = next.fetch_add(1, Ordering::SeqCst);
                    let method = if caller % 2 == 0 { ONCE } else { AGAIN };
                    if let Err(error) = client.call(method, &number) {
                        failed.lock().unwrap().push((number, error));
                    }
                }
            });
        }
        for _ in 0..RESTARTS {
            wait_until("calls come", || server.ports()[0].stats().answers.sum() > 500);
            assert_eq!(server.stop().lost(), 0);
            server = logging(Some(address), &log);
        }
        wait_until("calls come", || server.ports()[0].stats().answers.sum() > 500);
        over.store(true, Ordering::SeqCst);
        server
    }));
    let (failed, calls) = (failed.into_inner().unwrap(), next.into_inner());
    assert!(failed.is_empty(), "{} of {calls} calls failed: {failed:?}", failed.len());
    let log = log.lock().unwrap();
    let twice: Vec<_> = log.iter().filter(|(_, times)| **times != 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    assert_eq!(log.len() as u64, calls, "each ran");
}
