//! A pool whose workers all wait for a call that only they could run. More of it, through other servers and between
//! ports, is in tests/nested.rs.

use super::common::gate::Gate;
use super::common::*;
use super::{Client, ClientOptions, RunningServer, settled};
use boneyard::service::Status;
use boneyard::{ApplicationError, ClientError, Method, Pending};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Calls itself so many times, one within the other.
const DEEP: Method<u32, ()> = Method::new("test.deep");

/// Longer than any test may take: a call that ends has not waited for its deadline.
const LONG: Duration = Duration::from_secs(600);

/// A pool of 4 under a throttle of 4, so many of the workers kept for nested calls. Handlers meet at the gate before
/// the first of their two calls.
fn start(reserve: usize) -> (RunningServer, Arc<Gate>, Client) {
    let lines =
        format!("Server_Pool_Tasks=4\nServer_Max_Concurrent_Trans=4\nServer_Nested_Reserve={reserve}");
    let (gate, own) = (Arc::<Gate>::default(), Arc::<OnceLock<Client>>::default());
    let (meeting, itself) = (Arc::clone(&gate), Arc::clone(&own));
    let server = server(&lines).handle(DEEP, move |_, depth| {
        if depth == 2 {
            meeting.pass();
        }
        let Some(inner) = depth.checked_sub(1) else { return Ok(()) };
        itself.get().expect("it is set before anybody calls").call(DEEP, &inner).map_err(
            |error| match error {
                ClientError::NestedDeadlock(message) => ApplicationError::new(1, message).into(),
                ClientError::Application { message, .. } => ApplicationError::new(1, message).into(),
                other => panic!("{other}"),
            },
        )
    });
    let server = server.start().unwrap();
    let client = || {
        let options = ClientOptions::default().deadline(LONG).retries(0);
        Client::with_options(server.address(), options).unwrap()
    };
    own.set(client()).expect("it is set once");
    let client = client();
    (server, gate, client)
}

/// Eight transactions, as many of them at once as the server begins: what those were told that ended in a deadlock.
fn deadlocks(reserve: usize) -> Vec<String> {
    let (server, gate, client) = start(reserve);
    let out: Vec<Pending<()>> = (0..8).map(|_| client.start(DEEP, &2).unwrap()).collect();
    wait_until("all that may have begun", || gate.inside() == 4 - reserve);
    gate.open();
    let mut told = Vec::new();
    for end in out.into_iter().map(Pending::wait) {
        match end {
            Ok(()) => {}
            Err(ClientError::Application { message, .. }) => told.push(message),
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(client.call(DEEP, &2), Ok(()), "the server serves");
    settled(&server);
    assert_eq!(server.ports()[0].stats().answered(Status::NestedDeadlock), told.len() as u64);
    told
}

#[test]
fn a_nested_call_wedges_the_pool() {
    let mut reserve = 0;
    let told = deadlocks(reserve);
    assert!(!told.is_empty(), "four that wait for four are a deadlock");
    for message in &told {
        let (chain, advice) = message.split_once(": all 4 workers of TCPIP wait").expect("the pool is named");
        assert!(chain.starts_with("TCPIP test.deep -> TCPIP test.deep"), "{message}");
        assert!(advice.contains("avoided by Server_Nested_Reserve="), "{message}");
    }
    // Who does as he is told is told no more; of a nest of two calls the first message may know only one.
    for _ in 0..2 {
        let told = deadlocks(reserve);
        let Some(message) = told.iter().max_by_key(|message| message.matches(" -> ").count()) else { return };
        let (_, advised) = message.rsplit_once('=').expect("the message ends with the line");
        reserve = advised.parse().expect("a number");
    }
    assert_eq!(deadlocks(reserve), [""; 0], "with Server_Nested_Reserve={reserve}");
}
