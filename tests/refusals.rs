//! What a busy server refuses, and what it must not, on a real server.
#![cfg(all(feature = "server", feature = "client"))]

mod common;

use boneyard::client::ClientOptions;
use boneyard::service::{Status, load_service};
use boneyard::{ApplicationError, Client, Method};
use common::gate::Gate;
use common::*;
use std::io::Write;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

#[test]
fn what_codel_would_refuse_is_counted_once() {
    const CALLS: u64 = 60;
    let server = load_server(
        "Server_Pool_Tasks=1\nServer_Max_Concurrent_Trans=1\nServer_CoDel_Target=1\nServer_CoDel_Interval=10",
    );
    let mut client = Raw::connect(server.address());
    let calls: Vec<u8> = (0..CALLS).flat_map(|_| client.frame("load.sleep", &5u64, 0).1).collect();
    client.stream.write_all(&calls).unwrap();
    for _ in 0..CALLS {
        assert_eq!(client.read().expect("a reply").status(), Status::Ok);
    }
    let counted = server.ports()[0].stats().would_refuse.get();
    assert!((1..=CALLS).contains(&counted), "{counted} of {CALLS}");
}

#[test]
fn a_handlers_call_does_not_wait_behind_the_calls_of_clients_and_is_not_refused_for_them() {
    const OUTER: Method<(), ()> = Method::new("test.outer");
    let (gate, own) = (Arc::<Gate>::default(), Arc::<OnceLock<Client>>::default());
    let (pass, called) = (Arc::clone(&gate), Arc::clone(&own));
    let server = server("Server_Pool_Tasks=2\nServer_Max_Concurrent_Trans=2")
        .handle(OUTER, move |tx, ()| {
            tx.blocking(|| pass.pass());
            let client = called.get().expect("it is set before");
            client
                .call(load_service::SLEEP, &0)
                .map_err(|error| ApplicationError::new(1, error.to_string()).into())
        })
        .start()
        .unwrap();
    let options = ClientOptions::default().deadline(Duration::from_secs(10)).retries(0);
    own.set(Client::with_options(server.address(), options).unwrap()).unwrap();
    // So that the server knows what the method costs.
    let mut client = Raw::connect(server.address());
    assert_eq!(client.call::<_, ()>("load.sleep", &500u64), Ok(()));
    own.get().unwrap().call(boneyard::service::builtin::PING, &()).unwrap();
    client.send("test.outer", &());
    wait_until("the handler is inside", || gate.inside() == 1);
    // Forty seconds' work for the one worker that is left.
    let mut others: Vec<Raw> = (0..80).map(|_| Raw::connect(server.address())).collect();
    for other in &mut others {
        other.send("load.sleep", &500u64);
    }
    wait_until("they are queued", || server.ports()[0].queued() >= 75);
    gate.open();
    assert_eq!(client.read().expect("a reply").result::<()>(), Ok(()));
    assert!(server.ports()[0].queued() > 10, "it went before them");
}

#[test]
fn handlers_that_wait_make_no_queue_look_long() {
    // Twenty workers wait at once, and each needs one of two permits for a moment.
    let server = load_server("Server_Pool_Tasks=20\nServer_Max_Concurrent_Trans=2");
    let mut client = Raw::connect(server.address());
    assert_eq!(client.call::<_, ()>("load.block", &500u64), Ok(()));
    let calls: Vec<u8> = (0..20).flat_map(|_| client.frame("load.block", &500u64, 5000).1).collect();
    let begin = Instant::now();
    client.stream.write_all(&calls).unwrap();
    let refused = (0..20).filter(|_| client.read().expect("a reply").status() != Status::Ok).count();
    assert_eq!(refused, 0, "refused though all could end within {:?} of 5 s", begin.elapsed());
}
