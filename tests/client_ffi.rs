//! Client calls as runtimes of other languages make them, against a scripted server: sent without blocking, with waits
//! that can be stopped.
#![cfg(all(feature = "client", feature = "server"))]

mod scripted_server;

use boneyard::Pending;
use boneyard::client::{ClientError, ClientOptions};
use boneyard::internal::client::{TrySend, UnsentCall};
use boneyard::service::{Fault, Status};
use scripted_server::{DOUBLE, PATIENCE, Peer, ScriptedServer, pair, pair_with, welcome};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

/// Answers so many calls with 42.
fn serve(mut peer: Peer, answers: usize) -> Peer {
    for _ in 0..answers {
        let call = peer.call();
        peer.answer(&call, &42u64);
    }
    peer
}

/// Refuses so many calls. Returns their arguments.
fn refuse(peer: &mut Peer, calls: usize, retry_after_ms: u32) -> Vec<u32> {
    let refused = (0..calls).map(|_| {
        let call = peer.call();
        peer.refuse(&call, Status::QueueFull, Fault { code: 0, retry_after_ms, message: String::new() });
        call.decode()
    });
    refused.collect()
}

fn sent(tried: Result<TrySend, ClientError>) -> Pending<String> {
    match tried {
        Ok(TrySend::Sent(pending)) => pending,
        other => panic!("{other:?}"),
    }
}

fn unsent(tried: Result<TrySend, ClientError>) -> UnsentCall {
    match tried {
        Ok(TrySend::Unsent(unsent)) => unsent,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_call_that_would_have_to_connect_is_not_sent_at_once() {
    let server = ScriptedServer::new();
    let client = server.client();
    let unsent = unsent(client.try_start_json("test.double", "21"));
    assert!(!server.is_called(), "nor has it connected");
    let peer = thread::spawn(move || serve(server.accept(), 3));
    assert_eq!(unsent.send().unwrap().wait().as_deref(), Ok("42"));
    assert_eq!(client.call(DOUBLE, &21), Ok(42));
    let pending = sent(client.try_start_json("test.double", "21"));
    assert_eq!(pending.wait().as_deref(), Ok("42"));
    peer.join().unwrap();
}

#[test]
fn an_invalid_call_fails_at_once() {
    let (_server, client, _peer) = pair();
    let unknown = client.try_start_json("test.dobule", "null").unwrap_err();
    assert!(matches!(unknown, ClientError::UnknownMethod { nearest: Some(_), .. }), "{unknown}");
    let large = " ".repeat(33 << 20);
    assert!(matches!(client.try_start_json("test.store", &large), Err(ClientError::TooLarge { .. })));
    let late = client.with_deadline(Duration::ZERO).try_start_json("test.double", "1").unwrap_err();
    assert!(matches!(late, ClientError::DeadlineExceeded { may_have_run: false, .. }), "{late}");
}

#[test]
fn a_call_of_a_session_is_not_sent_at_once_before_the_session_is_attached() {
    let server = ScriptedServer::new();
    let client = server.client();
    let methods =
        scripted_server::welcome_with([(1, "session.open"), (2, "session.close"), (7, "test.double")]);
    let first = thread::spawn(move || {
        let mut peer = server.accept_with(methods);
        let open = peer.call();
        peer.answer(&open, &(5u32, 1u64, [0u8; 16]));
        let call = peer.call();
        peer.answer_bytes(&call, Status::Ok.code(), b"42");
        drop(peer);
        let mut peer = server.accept_with(welcome());
        peer.greet();
        (peer, server)
    });
    let session = client.session().unwrap();
    let pending = sent(session.client().try_start_json("test.double", "21"));
    assert_eq!(pending.wait().as_deref(), Ok("42"));
    // The session is not attached to the next connection yet.
    scripted_server::wait_until("the client has connected anew", || {
        client.methods().is_ok_and(|all| all.len() == 2)
    });
    drop(unsent(session.client().try_start_json("test.double", "21")));
    first.join().unwrap();
}

#[test]
fn a_polled_call_has_its_times() {
    let (_server, client, mut peer) = pair();
    let mut pending = client.start_json("test.double", "21").unwrap();
    let mut context = Context::from_waker(Waker::noop());
    assert!(pending.poll_timed(&mut context).is_pending());
    assert!(pending.wait_for(Duration::ZERO).is_none());
    let call = peer.call();
    peer.answer(&call, &42u64);
    let reply = pending.wait_for(PATIENCE).expect("it is answered").unwrap();
    let times = [reply.times.queue_wait, reply.times.permit_wait, reply.times.run];
    assert_eq!(times, [1, 2, 3].map(Duration::from_micros));
    let mut pending = client.start_json("test.double", "21").unwrap();
    let call = peer.call();
    peer.answer(&call, &43u64);
    let reply = loop {
        match pending.poll_timed(&mut context) {
            Poll::Ready(reply) => break reply.unwrap(),
            Poll::Pending => thread::yield_now(),
        }
    };
    assert_eq!((reply.response.as_str(), reply.times.run), ("43", Duration::from_micros(3)));
}

#[test]
fn a_stopped_wait_cancels_the_call() {
    let (_server, client, mut peer) = pair();
    let mut asked = 0;
    let outcome = client.call_json_while("test.double", "21", || {
        asked += 1;
        asked < 3
    });
    assert!(matches!(outcome, Err(ClientError::Disconnected { may_have_run: true, .. })), "{outcome:?}");
    assert_eq!(asked, 3);
    let call = peer.call();
    assert_eq!(peer.cancel(), call.id);
    let peer = thread::spawn(move || serve(peer, 1));
    assert_eq!(client.call_json_while("test.double", "21", || true).unwrap().response, "42");
    peer.join().unwrap();
}

#[test]
fn a_refused_call_is_not_repeated_after_its_wait_was_stopped() {
    let (_server, client, mut peer) = pair_with(ClientOptions::default(), welcome());
    let refusing = thread::spawn(move || {
        refuse(&mut peer, 1, 10_000);
        peer
    });
    let mut asked = 0;
    let outcome = client.call_json_while("test.double", "21", || {
        // At the third check the refusal has been read too.
        asked += usize::from(refusing.is_finished());
        asked < 3
    });
    assert!(matches!(outcome, Err(ClientError::QueueFull { .. })), "{outcome:?}");
    assert_eq!(asked, 3);
    drop(client);
    refusing.join().unwrap().closed();
}

#[test]
fn a_call_that_was_not_sent_at_once_counts_once_for_the_budget() {
    let (_server, client, mut peer) =
        pair_with(ClientOptions::default().retries(1).throttle(false), welcome());
    let call = |number: u32| client.call_json("test.double", &number.to_string()).unwrap_err();
    // A new client has ten repetitions saved; eleven calls add another.
    let refusing = thread::spawn(move || (refuse(&mut peer, 22, 0), peer));
    (0..11).for_each(|number| drop(call(number)));
    let (_, peer) = refusing.join().unwrap();
    // Five calls that are not repeated: the server reads nothing, so three of them have no room.
    let large = " ".repeat(24 << 20) + "1";
    let first = [&large, &large].map(|json| client.start_json("test.double", json).unwrap());
    let others = [(); 3].map(|()| unsent(client.try_start_json("test.double", "1")));
    let serving = thread::spawn(move || serve(peer, 5));
    for pending in others.map(|unsent| unsent.send().unwrap()).into_iter().chain(first) {
        assert_eq!(pending.wait().as_deref(), Ok("42"));
    }
    let mut peer = serving.join().unwrap();
    let refusing = thread::spawn(move || refuse(&mut peer, 6, 0));
    (1..=5).for_each(|number| drop(call(number)));
    assert_eq!(refusing.join().unwrap(), [1, 2, 3, 4, 5, 5], "the tenth has paid for a repetition");
}
