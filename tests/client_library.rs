//! Client library against a scripted server: connections, deadlines, futures, JSON, method tables.
#![cfg(all(feature = "client", feature = "server"))]

mod scripted_server;

use boneyard::client::{ClientError, DeadlineSource};
use boneyard::service::Status;
use boneyard::{Client, Pending};
use scripted_server::{DOUBLE, MISSING, Peer, ScriptedServer, pair, wait_until, welcome, welcome_with};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// The smallest executor: polls, and parks between polls.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

/// A deadline that is missed on purpose. A call must be sent within it on a busy machine too.
const SOON: Duration = Duration::from_secs(2);

const LATE: ClientError =
    ClientError::DeadlineExceeded { detected_by: DeadlineSource::Client, may_have_run: true };

fn assert_shareable<T: Send + Sync + 'static>() {}

#[test]
fn clients_and_pending_calls_can_be_sent_and_shared() {
    assert_shareable::<Client>();
    assert_shareable::<Pending<u64>>();
    assert_shareable::<ClientError>();
}

#[test]
fn a_new_client_connects_at_the_first_call() {
    let server = ScriptedServer::new();
    let client = server.client();
    assert!(!server.is_called(), "no call, no connection");
    let thread = thread::spawn(move || server.accept().serve());
    assert_eq!(client.call(DOUBLE, &21), Ok(42));
    drop(client);
    assert_eq!(thread.join().unwrap(), 1, "the last client closes the connection");
}

#[test]
fn eight_threads_share_one_connection_and_answers_come_in_any_order() {
    const THREADS: u32 = 8;
    const CALLS: u32 = 100;
    let server = ScriptedServer::new();
    let client = server.client();
    let callers: Vec<_> = (0..THREADS)
        .map(|thread| {
            let client = client.clone();
            thread::spawn(move || {
                for n in thread * CALLS..(thread + 1) * CALLS {
                    assert_eq!(client.call(DOUBLE, &n), Ok(u64::from(n) * 2));
                }
            })
        })
        .collect();
    let mut peer = server.accept();
    let mut seen = std::collections::HashSet::new();
    for _ in 0..CALLS {
        // Every thread has one call in flight: receives all, answers the last first.
        let mut calls: Vec<_> = (0..THREADS).map(|_| peer.call()).collect();
        while let Some(call) = calls.pop() {
            assert!(seen.insert(call.id), "a call's number is used once");
            peer.answer(&call, &(u64::from(call.decode::<u32>()) * 2));
        }
    }
    callers.into_iter().for_each(|caller| caller.join().unwrap());
    assert!(!server.is_called(), "all went over one connection");
}

#[test]
fn many_calls_at_once_make_one_connection() {
    let server = ScriptedServer::new();
    let client = server.client();
    let callers: Vec<_> = (0..16)
        .map(|n| {
            let client = client.clone();
            thread::spawn(move || client.call(DOUBLE, &n))
        })
        .collect();
    let mut peer = server.accept();
    for _ in 0..16 {
        let call = peer.call();
        peer.answer(&call, &0u64);
    }
    for caller in callers {
        assert_eq!(caller.join().unwrap(), Ok(0));
    }
    assert!(!server.is_called());
}

#[test]
fn a_lost_connection_is_replaced_and_has_the_new_servers_method_numbers() {
    let (server, client, mut peer) = pair();
    let first = client.start(DOUBLE, &1).unwrap();
    let call = peer.call();
    assert_eq!(call.method, 7);
    peer.answer(&call, &2u64);
    assert_eq!(first.wait(), Ok(2));
    let lost = client.start(DOUBLE, &1).unwrap();
    peer.call();
    drop(peer);
    let error = lost.wait().unwrap_err();
    assert!(matches!(error, ClientError::Disconnected { may_have_run: true, .. }), "{error:?}");
    assert!(!error.never_started());
    // The error is returned after the connection was marked closed, so the next call makes another.
    let second = thread::spawn(move || client.call(DOUBLE, &2));
    let mut peer = server.accept_with(welcome_with([(2, "test.double")]));
    let again = peer.call();
    assert_eq!(again.method, 2, "numbers of methods are good for one connection");
    assert!(again.id > call.id, "numbers of calls are not used again");
    peer.answer(&again, &4u64);
    assert_eq!(second.join().unwrap(), Ok(4));
    peer.closed();
}

#[test]
fn a_deadline_is_sent_and_kept_by_wait() {
    let (_server, client, mut peer) = pair();
    let begin = Instant::now();
    let late = client.with_deadline(SOON).call(DOUBLE, &1);
    assert!(begin.elapsed() >= SOON);
    assert_eq!(late, Err(LATE));
    let call = peer.call();
    let left = call.left.unwrap();
    assert!(left > Duration::ZERO && left <= SOON, "{left:?}");
    assert_eq!(peer.cancel(), call.id, "a call that is late is cancelled");
}

#[test]
fn futures_keep_deadlines_and_get_their_answers() {
    let (_server, client, mut peer) = pair();
    let soon = client.with_deadline(SOON);
    let (late, answered) = (soon.start(DOUBLE, &1).unwrap(), client.start(DOUBLE, &2).unwrap());
    let calls = [peer.call(), peer.call()];
    assert_eq!(block_on(late), Err(LATE));
    assert_eq!(peer.cancel(), calls[0].id);
    let answering = thread::spawn(move || {
        peer.answer(&calls[1], &4u64);
        peer
    });
    assert_eq!(block_on(answered), Ok(4));
    // With the timer's thread running, deadlines in any order.
    let mut peer = answering.join().unwrap();
    let times = [1.5, 1.0, 1.25].map(|of| SOON.mul_f64(of));
    let pending = times.map(|time| client.with_deadline(time).start(DOUBLE, &1).unwrap());
    for pending in pending {
        assert_eq!(block_on(pending), Err(LATE));
        peer.call();
    }
}

#[test]
fn no_deadline_waits_without_end_and_a_zero_deadline_fails_at_once() {
    let (_server, client, mut peer) = pair();
    let never = ClientError::DeadlineExceeded { detected_by: DeadlineSource::Client, may_have_run: false };
    assert_eq!(client.with_deadline(Duration::ZERO).call(DOUBLE, &1), Err(never.clone()));
    assert!(never.never_started());
    let pending = client.with_deadline(None).start(DOUBLE, &1).unwrap();
    let call = peer.call();
    assert_eq!((call.arguments.len(), call.left), (4, None), "the first call that was sent has no deadline");
    peer.answer(&call, &2u64);
    assert_eq!(pending.wait(), Ok(2));
    let pending = client.with_deadline(Duration::MAX).start(DOUBLE, &1).unwrap();
    assert_eq!(peer.call().left, None, "beyond the clock's end");
    drop(pending);
}

#[test]
fn a_dropped_pending_call_is_cancelled_and_its_answer_dropped() {
    let (_server, client, mut peer) = pair();
    let dropped = client.start(DOUBLE, &1).unwrap();
    let call = peer.call();
    drop(dropped);
    assert_eq!(peer.cancel(), call.id);
    peer.answer(&call, &2u64);
    let kept = client.start(DOUBLE, &2).unwrap();
    let call = peer.call();
    peer.answer(&call, &4u64);
    assert_eq!(kept.wait(), Ok(4));
    // An answered call is not cancelled.
    drop(client);
    peer.closed();
}

#[test]
fn a_pending_call_outlives_its_client() {
    let (_server, client, mut peer) = pair();
    let pending = client.start(DOUBLE, &1).unwrap();
    drop(client);
    let call = peer.call();
    peer.answer(&call, &2u64);
    assert_eq!(pending.wait(), Ok(2));
    peer.closed();
}

#[test]
fn an_answer_has_the_times_of_its_transaction() {
    let (_server, client, mut peer) = pair();
    let pending = client.start(DOUBLE, &1).unwrap();
    let call = peer.call();
    peer.answer(&call, &2u64);
    let reply = pending.wait_timed().unwrap();
    assert_eq!(reply.response, 2);
    let times = [reply.times.queue_wait, reply.times.permit_wait, reply.times.run];
    assert_eq!(times, [1, 2, 3].map(Duration::from_micros));
}

#[test]
fn any_method_can_be_called_in_json() {
    let (_server, client, mut peer) = pair();
    let pending = client.start_json("test.double", " 21 ").unwrap();
    let call = peer.call();
    assert_eq!(call.decode::<u32>(), 21);
    peer.answer(&call, &42u64);
    assert_eq!(pending.wait().as_deref(), Ok("42"));
    let pending = client.start_json("test.double", "1").unwrap();
    let call = peer.call();
    peer.answer_bytes(&call, 0, b"not json");
    assert!(matches!(pending.wait(), Err(ClientError::BadResponse(_))));
}

#[test]
fn methods_are_listed_and_an_unknown_one_fails_at_once_with_a_suggestion() {
    let (_server, client, mut peer) = pair();
    assert_eq!(client.methods().unwrap(), ["test.double", "test.store"]);
    let unknown = |nearest: Option<&str>, name: &str| ClientError::UnknownMethod {
        name: name.to_owned(),
        nearest: nearest.map(str::to_owned),
    };
    assert_eq!(client.call(MISSING, &()), Err(unknown(Some("test.double"), "test.dobule")));
    assert_eq!(client.call_json("store", "1"), Err(unknown(Some("test.store"), "store")));
    assert_eq!(client.call_json("nothing.like.it", "1"), Err(unknown(None, "nothing.like.it")));
    drop(client);
    peer.closed();
}

#[test]
fn a_retired_connection_answers_its_calls_while_new_ones_go_elsewhere() {
    let (server, client, mut old) = pair();
    let first = client.start(DOUBLE, &1).unwrap();
    let call = old.call();
    old.goaway(Status::Draining);
    let waiting = client.clone();
    // Calls that cross the GoAway still arrive here and are refused.
    let second = thread::spawn(move || {
        loop {
            match waiting.call(DOUBLE, &2) {
                Err(ClientError::Draining { .. }) => {}
                other => return other,
            }
        }
    });
    let mut stream = None;
    wait_until("the client connects again", || {
        old.refuse_waiting(Status::Draining);
        stream = server.try_accept();
        stream.is_some()
    });
    let mut new = Peer::new(stream.unwrap(), welcome());
    let other = new.call();
    old.answer(&call, &2u64);
    assert_eq!(first.wait(), Ok(2), "a call that was out is answered where it was made");
    new.answer(&other, &4u64);
    assert_eq!(second.join().unwrap(), Ok(4));
    old.closed();
    drop(client);
    new.closed();
}
