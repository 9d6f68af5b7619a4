//! A full queue is shared out: of who has the most there, calls make room for those of who has less. Between clients by
//! their addresses, and between connections of one client.
#![cfg(all(feature = "server", feature = "client"))]

mod common;

use boneyard::client::ClientOptions;
use boneyard::server::RunningServer;
use boneyard::service::{ApplicationError, Status};
use boneyard::{Client, Method};
use common::gate::Gate;
use common::*;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

const WAIT: Method<(), ()> = Method::new("test.wait");
const QUICK: Method<(), ()> = Method::new("test.quick");

const WORKERS: usize = 2;

fn start(lines: &str, gate: &Arc<Gate>) -> RunningServer {
    let gate = Arc::clone(gate);
    let lines = format!("Server_Pool_Tasks={WORKERS}\nServer_Max_Concurrent_Trans={WORKERS}\n{lines}");
    let server = server(&lines).handle(QUICK, |_, ()| Ok(())).handle(WAIT, move |_, ()| {
        gate.pass();
        Ok(())
    });
    server.start().unwrap()
}

/// A client at another address of this machine.
fn connect_from(source: [u8; 4], address: SocketAddr) -> Raw {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::from(source), 0)).into()).unwrap();
    socket.connect(&address.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    Raw::greet(stream)
}

/// Sends so many calls at once.
fn send(client: &mut Raw, method: &str, calls: usize) {
    let bytes: Vec<u8> = (0..calls).flat_map(|_| client.frame(method, &(), 0).1).collect();
    client.stream.write_all(&bytes).unwrap();
}

/// The answers to so many calls, each of which has one: how many were run, and how many found the queue full. Who is
/// refused is told when to come again.
fn answers(client: &mut Raw, calls: usize) -> (usize, usize) {
    let (mut ran, mut refused) = (0, 0);
    for _ in 0..calls {
        match client.read().expect("a reply").result::<()>() {
            Ok(()) => ran += 1,
            Err((Status::QueueFull, fault)) => {
                assert!(fault.retry_after_ms > 0, "{fault:?}");
                refused += 1;
            }
            Err(error) => panic!("{error:?}"),
        }
    }
    (ran, refused)
}

/// A caller that has all workers.
fn occupy(server: &RunningServer, gate: &Gate) -> Raw {
    let mut caller = Raw::connect(server.ports()[0].address());
    send(&mut caller, "test.wait", WORKERS);
    wait_until("all workers are busy", || gate.inside() == WORKERS);
    caller
}

/// The shortest time between two counts of the calls that each client has in the queue: `PAUSE` in
/// `src/server/connection/queue_shares.rs`.
const SURVEY_PAUSE: Duration = Duration::from_millis(1);

/// Waits until all that was sent has been read, the queue is as full as it may be, and the next read counts the calls
/// of each client anew: an older count lacks those that found room since.
fn full(server: &RunningServer, calls: usize, limit: usize) {
    let port = &server.ports()[0];
    wait_until("all calls have come", || port.stats().calls.get() == (calls + WORKERS) as u64);
    wait_until("the queue is full", || port.in_flight() == limit + WORKERS && port.queued() == limit);
    let filled = Instant::now();
    wait_until("the next count is due", || filled.elapsed() > SURVEY_PAUSE);
}

#[test]
fn who_has_less_in_a_full_queue_gets_in_from_the_same_address_and_from_another() {
    const LIMIT: usize = 10_000;
    const QUIET: usize = 206;
    let gate = Arc::<Gate>::default();
    let server = start(&format!("Server_Queue_Limit={LIMIT}"), &gate);
    let port = &server.ports()[0];
    let mut holder = occupy(&server, &gate);
    let mut floods: Vec<Raw> = (0..24).map(|_| Raw::connect(port.address())).collect();
    floods.iter_mut().for_each(|flood| send(flood, "test.wait", 512));
    let mut sent = 24 * 512;
    full(&server, sent, LIMIT);
    let mut same = Raw::connect(port.address());
    let mut other = connect_from([127, 0, 0, 2], port.address());
    for quiet in [&mut same, &mut other] {
        send(quiet, "test.quick", QUIET);
        sent += QUIET;
        full(&server, sent, LIMIT);
    }
    let refused = port.stats().answered(Status::QueueFull);
    assert_eq!(refused as usize, sent - LIMIT, "each that is not in is answered");
    assert!(port.stats().displaced.get() as usize >= 2 * QUIET);
    gate.open();
    assert_eq!(answers(&mut holder, WORKERS), (WORKERS, 0));
    for quiet in [&mut same, &mut other] {
        assert_eq!(answers(quiet, QUIET), (QUIET, 0));
    }
    let floods: Vec<_> = floods.iter_mut().map(|flood| answers(flood, 512)).collect();
    let ran: usize = floods.iter().map(|flood| flood.0).sum();
    assert_eq!(ran, LIMIT - 2 * QUIET);
    // Those that flood have the same, whoever came first: a 24th of the queue, less what a read and a survey are off.
    let (least, most) =
        (floods.iter().map(|f| f.0).min().unwrap(), floods.iter().map(|f| f.0).max().unwrap());
    assert!(least >= 390 && most <= 420, "{floods:?}");
    wait_for_permits(&server);
    assert_eq!(port.stats().calls.get(), port.stats().answers.sum());
}

/// A client with a call on each of many connections has no more of the queue than one with one connection.
#[test]
fn many_connections_of_one_address_are_one_client() {
    const LIMIT: usize = 60;
    let gate = Arc::<Gate>::default();
    let server = start(&format!("Server_Queue_Limit={LIMIT}"), &gate);
    let port = &server.ports()[0];
    let mut holder = occupy(&server, &gate);
    let mut many: Vec<Raw> = (0..LIMIT).map(|_| Raw::connect(port.address())).collect();
    many.iter_mut().for_each(|one| send(one, "test.wait", 1));
    full(&server, LIMIT, LIMIT);
    // From an address more: as much of the queue as the other has, and no more.
    let mut other = connect_from([127, 0, 0, 2], port.address());
    send(&mut other, "test.quick", 100);
    full(&server, LIMIT + 100, LIMIT);
    // And from a third.
    let mut third = connect_from([127, 0, 0, 3], port.address());
    send(&mut third, "test.quick", 5);
    full(&server, LIMIT + 105, LIMIT);
    gate.open();
    assert_eq!(answers(&mut holder, WORKERS), (WORKERS, 0));
    assert_eq!(answers(&mut third, 5), (5, 0));
    let (ran, refused) = answers(&mut other, 100);
    assert!((LIMIT / 2 - 4..=LIMIT / 2).contains(&ran), "{ran} ran, {refused} refused");
    let left: usize = many.iter_mut().map(|one| answers(one, 1).0).sum();
    assert_eq!(left + ran + 5, LIMIT);
    wait_for_permits(&server);
    // Those whose calls were displaced are served as ever.
    for one in &mut many {
        send(one, "test.quick", 1);
        assert_eq!(answers(one, 1), (1, 0));
    }
}

/// Calls come, are taken and are displaced at once; each has one answer.
#[test]
fn every_call_has_one_answer_while_calls_are_displaced() {
    let gate = Arc::<Gate>::default();
    gate.open();
    let server = start("Server_Queue_Limit=16", &gate);
    let port = &server.ports()[0];
    let address = port.address();
    let threads: Vec<_> = (0..8u64)
        .map(|n| {
            std::thread::spawn(move || {
                let mut random = Random(n + 1);
                let mut client = connect_from([127, 0, 0, 1 + (n % 3) as u8], address);
                let mut ran = 0;
                for _ in 0..300 {
                    let calls = 1 + random.below(if n < 4 { 60 } else { 4 });
                    send(&mut client, "test.quick", calls);
                    ran += answers(&mut client, calls).0;
                }
                ran
            })
        })
        .collect();
    let ran: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    wait_for_permits(&server);
    let stats = port.stats();
    assert_eq!(stats.calls.get(), stats.answers.sum());
    assert_eq!(stats.answered(Status::Ok) as usize, ran);
    assert!(stats.displaced.get() > 0 && stats.displaced.get() <= stats.answered(Status::QueueFull));
    assert_eq!(port.queued(), 0);
}

/// A client whose connections have a call each does not get more of the queue than one with many calls.
#[test]
fn many_connections_displace_no_more_than_their_part() {
    const LIMIT: usize = 60;
    let gate = Arc::<Gate>::default();
    let server = start(&format!("Server_Queue_Limit={LIMIT}"), &gate);
    let port = &server.ports()[0];
    let mut holder = occupy(&server, &gate);
    let mut one = connect_from([127, 0, 0, 2], port.address());
    send(&mut one, "test.wait", LIMIT);
    full(&server, LIMIT, LIMIT);
    let mut many: Vec<Raw> = (0..3 * LIMIT).map(|_| Raw::connect(port.address())).collect();
    many.iter_mut().for_each(|one| send(one, "test.wait", 1));
    full(&server, 4 * LIMIT, LIMIT);
    gate.open();
    assert_eq!(answers(&mut holder, WORKERS), (WORKERS, 0));
    let ran = answers(&mut one, LIMIT).0;
    assert!(ran >= LIMIT / 2 - 1, "{ran} ran");
    assert_eq!(many.iter_mut().map(|one| answers(one, 1).0).sum::<usize>() + ran, LIMIT);
}

/// A call that a handler of the server makes gets in, though a flood has filled the queue: of one connection, or of
/// many with a call each.
#[test]
fn a_nested_call_gets_into_a_full_queue() {
    nested_beside(&[30], 20);
    nested_beside(&[1; 30], 20);
}

fn nested_beside(flood: &[usize], limit: usize) {
    const OUTER: Method<(), ()> = Method::new("test.outer");
    let (gate, next) = (Arc::<Gate>::default(), Arc::<OnceLock<Client>>::default());
    let (inner_gate, inner_next) = (Arc::clone(&gate), Arc::clone(&next));
    let lines = format!(
        "Server_Queue_Limit={limit}\nServer_Pool_Tasks=2\nServer_Max_Concurrent_Trans=2\nServer_Nested_Reserve=1"
    );
    let server = server(&lines)
        .handle(QUICK, |_, ()| Ok(()))
        .handle(OUTER, move |tx, ()| {
            tx.blocking(|| inner_gate.pass());
            let client = inner_next.get().expect("the test sets it before it calls");
            client.call(QUICK, &()).map_err(|error| ApplicationError::new(1, error.to_string()).into())
        })
        .start()
        .unwrap();
    let port = &server.ports()[0];
    let options = ClientOptions::default().deadline(Duration::from_secs(600)).retries(0);
    next.set(Client::with_options(port.address(), options).unwrap()).unwrap();
    let mut outer = Raw::connect(port.address());
    send(&mut outer, "test.outer", 1);
    wait_until("the handler waits", || gate.inside() == 1);
    let sent: usize = flood.iter().sum();
    let mut flooding: Vec<Raw> =
        (2..).take(flood.len()).map(|last| connect_from([127, 0, 0, last], port.address())).collect();
    flooding.iter_mut().zip(flood).for_each(|(one, calls)| send(one, "test.quick", *calls));
    let calls = (sent + 1) as u64;
    wait_until("the queue is full", || port.queued() == limit && port.stats().calls.get() == calls);
    gate.open();
    assert_eq!(answers(&mut outer, 1), (1, 0));
    let ran: usize = flooding.iter_mut().zip(flood).map(|(one, calls)| answers(one, *calls).0).sum();
    assert_eq!(ran, limit - 1);
}
