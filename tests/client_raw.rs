//! Client calls as bindings of other languages make them, against a scripted server: encoded arguments and results,
//! polls and short waits, cancels, several addresses.
#![cfg(all(feature = "client", feature = "server"))]

mod scripted_server;

use boneyard::Client;
use boneyard::client::{ClientError, ClientOptions};
use boneyard::internal::client::RawMethod;
use boneyard::internal::wire::Codec;
use boneyard::service::Status;
use scripted_server::{PATIENCE, ScriptedServer, pair, pair_with, wait_until, welcome};
use std::thread;
use std::time::Duration;

const RAW: RawMethod<'_> = RawMethod::new("test.double", Codec::Bincode);
const JSON: RawMethod<'_> = RawMethod::new("test.double", Codec::Json);

#[test]
fn bytes_are_sent_and_returned_unchanged_with_their_times() {
    let (_server, client, mut peer) = pair();
    let caller = thread::spawn(move || client.call_bytes(RAW, &[1, 0, 0, 0xff]));
    let call = peer.call();
    assert_eq!((call.codec, &call.arguments[..]), (Codec::Bincode, &[1, 0, 0, 0xff][..]));
    peer.answer_bytes(&call, 0, &[9, 9, 9]);
    let reply = caller.join().unwrap().unwrap();
    assert_eq!(reply.response, [9, 9, 9]);
    let times = [reply.times.queue_wait, reply.times.permit_wait, reply.times.run];
    assert_eq!(times, [1, 2, 3].map(Duration::from_micros));
}

#[test]
fn a_result_in_json_is_json() {
    let (_server, client, mut peer) = pair();
    for (answer, fits) in [("[1, 2]", true), ("[1,", false), ("1 2", false)] {
        let pending = client.start_bytes(JSON, b"21").unwrap();
        let call = peer.call();
        assert_eq!((call.codec, call.decode::<u32>()), (Codec::Json, 21));
        peer.answer_bytes(&call, 0, answer.as_bytes());
        match pending.wait() {
            Ok(result) => assert!(fits && result == answer.as_bytes()),
            Err(error) => assert!(!fits && matches!(error, ClientError::BadResponse(_)), "{error:?}"),
        }
    }
}

#[test]
fn an_idempotent_call_of_bytes_is_repeated_where_it_may_have_run() {
    let (server, client, mut peer) = pair_with(ClientOptions::default(), welcome());
    let caller = thread::spawn(move || client.call_bytes(RAW.idempotent(), &[1]));
    peer.call();
    drop(peer);
    let mut peer = server.accept();
    let call = peer.call();
    peer.answer_bytes(&call, 0, &[2]);
    assert_eq!(caller.join().unwrap().unwrap().response, [2]);
}

#[test]
fn a_poll_and_a_short_wait_leave_the_call_in_flight() {
    let (_server, client, mut peer) = pair();
    let mut pending = client.start_bytes(RAW, &[1]).unwrap();
    let call = peer.call();
    assert!(pending.wait_for(Duration::ZERO).is_none());
    assert!(pending.wait_for(Duration::from_millis(1)).is_none());
    peer.answer_bytes(&call, 0, &[2]);
    assert_eq!(pending.wait_for(Duration::MAX).unwrap().unwrap().response, [2]);

    let mut late = client.with_deadline(Duration::from_millis(1)).start_bytes(RAW, &[1]).unwrap();
    assert!(matches!(late.wait_for(PATIENCE), Some(Err(ClientError::DeadlineExceeded { .. }))));
}

#[test]
fn a_poll_finds_the_answer_that_is_there() {
    let (_server, client, mut peer) = pair();
    let mut pending = client.start_bytes(RAW, &[1]).unwrap();
    let call = peer.call();
    peer.answer_bytes(&call, 0, &[2]);
    let mut outcome = None;
    wait_until("the answer is there", || {
        outcome = pending.wait_for(Duration::ZERO);
        outcome.is_some()
    });
    assert_eq!(outcome.unwrap().unwrap().response, [2]);
}

#[test]
fn a_call_is_cancelled_once_and_its_waiter_gets_the_outcome() {
    let (_server, client, mut peer) = pair();
    let pending = client.start_bytes(RAW, &[1]).unwrap();
    let canceller = pending.canceller();
    let waiter = thread::spawn(move || pending.wait());
    let call = peer.call();
    canceller.cancel();
    canceller.cancel();
    assert_eq!(peer.cancel(), call.id);
    let fault = boneyard::service::Fault { code: 0, retry_after_ms: 0, message: String::new() };
    peer.refuse(&call, Status::Cancelled, fault);
    assert_eq!(waiter.join().unwrap(), Err(ClientError::Cancelled));
    canceller.cancel();
    // Only one Cancel was sent: the next thing is a call.
    let _pending = client.start_bytes(RAW, &[3]).unwrap();
    assert_eq!(peer.call().arguments, [3]);
}

#[test]
fn an_answered_call_is_not_cancelled() {
    let (_server, client, mut peer) = pair();
    let pending = client.start_bytes(RAW, &[1]).unwrap();
    let canceller = pending.canceller();
    let call = peer.call();
    peer.answer_bytes(&call, 0, &[2]);
    assert_eq!(pending.wait().unwrap(), [2]);
    canceller.cancel();
    drop(client);
    canceller.cancel();
    peer.closed();
}

#[test]
fn addresses_are_tried_in_their_order_at_each_connect() {
    let (first, second) = (ScriptedServer::new(), ScriptedServer::new());
    let refusing = {
        // Bound and released: no process listens there.
        let gone = ScriptedServer::new();
        gone.address()
    };
    let addresses = [refusing, first.address(), second.address()];
    let options = ClientOptions::default().deadline(PATIENCE).retries(0);
    let client = Client::with_servers(&addresses, options).unwrap();
    let caller = client.clone();
    let names = thread::spawn(move || caller.methods());
    let mut peer = first.accept();
    peer.greet();
    assert!(names.join().unwrap().is_ok());
    assert!(!second.is_called(), "the one before it was good");

    // The first server stops: the next connect reaches the second.
    drop((first, peer));
    let caller = client.clone();
    let answer = thread::spawn(move || {
        loop {
            match caller.call_bytes(RAW, &[1]) {
                // It was sent on the connection while that was being closed.
                Err(ClientError::Disconnected { .. }) => {}
                other => return other,
            }
        }
    });
    let mut peer = second.accept();
    let call = peer.call();
    peer.answer_bytes(&call, 0, &[2]);
    assert_eq!(answer.join().unwrap().unwrap().response, [2]);
}

#[test]
fn a_server_that_refuses_connections_is_skipped() {
    let (full, good) = (ScriptedServer::new(), ScriptedServer::new());
    let addresses = [full.address(), good.address()];
    let options = ClientOptions::default().deadline(PATIENCE).retries(0);
    let client = Client::with_servers(&addresses, options).unwrap();
    let caller = thread::spawn(move || client.call_bytes(RAW, &[1]));
    let mut refusing = full.accept();
    refusing.goaway(Status::NoDescriptors);
    let mut peer = good.accept();
    let call = peer.call();
    peer.answer_bytes(&call, 0, &[2]);
    assert_eq!(caller.join().unwrap().unwrap().response, [2]);
}

#[test]
fn a_client_has_1_to_64_addresses() {
    let connect = |addresses: &[&str]| Client::with_servers(addresses, ClientOptions::default()).map(drop);
    assert!(matches!(connect(&[]), Err(ClientError::InvalidOption(_))));
    assert!(matches!(connect(&["a"; 65]), Err(ClientError::InvalidOption(_))));
    assert_eq!(connect(&["a"; 64]), Ok(()));
    assert!(matches!(connect(&["a", "a b"]), Err(ClientError::InvalidAddress { .. })));
}
