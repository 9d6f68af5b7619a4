//! Handlers that call their own server: what is certain to wait for ever is found, named and answered, on real servers.
//!
//! Deadlines are far longer than any test may take: a test that passes has seen the detection and not a deadline.
#![cfg(all(feature = "server", feature = "client"))]

#[path = "nested/chain_entries.rs"]
mod chain_entries;
mod common;
#[path = "nested/drain.rs"]
mod drain;
mod process;
mod scripted_server;

use boneyard::client::ClientOptions;
use boneyard::service::Status;
use boneyard::{ApplicationError, Client, ClientError, HandlerError, Method, RunningServer, Server};
use common::gate::Gate;
use common::{server, wait_until};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(600);

/// Calls itself so many times, one within the other; the innermost returns 0.
const DEEP: Method<u32, u32> = Method::new("test.deep");

/// Code of the application error that carries a nested deadlock's words outwards.
const DEADLOCK: u32 = 77;

/// Where a handler finds the server it calls, once that is known.
type Address = Arc<OnceLock<Client>>;

fn client(address: std::net::SocketAddr) -> Client {
    let options = ClientOptions::default().deadline(LONG).retries(0);
    Client::with_options(address, options).unwrap()
}

/// The error of a handler whose own call failed.
fn outwards(error: ClientError) -> HandlerError {
    let code = if matches!(error, ClientError::NestedDeadlock(_)) { DEADLOCK } else { 1 };
    let message = match error {
        ClientError::NestedDeadlock(message) => message,
        ClientError::Application { code, message } => return ApplicationError::new(code, message).into(),
        other => other.to_string(),
    };
    ApplicationError::new(code, message).into()
}

/// Offers [`DEEP`], whose handlers meet at the gate at their outermost and call what `next` holds.
fn deep(server: Server, gate: &Arc<Gate>, next: &Address, meet_at: u32) -> Server {
    let (gate, next) = (Arc::clone(gate), Arc::clone(next));
    server.handle(DEEP, move |tx, depth| {
        if depth == meet_at {
            tx.blocking(|| gate.pass());
        }
        let Some(inner) = depth.checked_sub(1) else { return Ok(0) };
        let client = next.get().expect("the test sets it before it calls");
        client.call(DEEP, &inner).map(|n| n + 1).map_err(outwards)
    })
}

/// One server that calls itself.
fn one_server(lines: &str, meet_at: u32) -> (RunningServer, Arc<Gate>, Client) {
    let (gate, next) = (Arc::<Gate>::default(), Address::default());
    let server = deep(server(lines), &gate, &next, meet_at).start().unwrap();
    next.set(client(server.address())).expect("it is set once");
    let client = client(server.address());
    (server, gate, client)
}

/// Fills the pool with `callers` transactions, lets all of them call at once, and gives their ends.
fn all_at_once(client: &Client, gate: &Gate, callers: usize, depth: u32) -> Vec<Result<u32, ClientError>> {
    let out: Vec<_> = (0..callers).map(|_| client.start(DEEP, &depth).unwrap()).collect();
    wait_until("all have begun", || gate.inside() == callers);
    gate.open();
    out.into_iter().map(boneyard::Pending::wait).collect()
}

/// The words of those that ended in a deadlock; the others must have been done.
fn deadlocks(ends: &[Result<u32, ClientError>]) -> Vec<&str> {
    let mut found = Vec::new();
    for end in ends {
        match end {
            Ok(_) => {}
            Err(ClientError::Application { code: DEADLOCK, message }) => found.push(message.as_str()),
            other => panic!("neither done nor a deadlock: {other:?}"),
        }
    }
    found
}

#[test]
fn a_pool_full_of_handlers_that_call_it_is_told_so_and_goes_on() {
    let (server, gate, client) = one_server("Server_Pool_Tasks=4\nServer_Max_Concurrent_Trans=4", 1);
    let ends = all_at_once(&client, &gate, 4, 1);
    let words = deadlocks(&ends);
    assert_eq!(words.len(), 1, "one call is answered, and its worker runs the others: {words:?}");
    let expected = "TCPIP test.deep -> TCPIP test.deep: all 4 workers of TCPIP wait for calls that wait for them; \
                    avoided by Server_Nested_Reserve=1";
    assert_eq!(words[0], expected);
    assert_eq!(server.ports()[0].stats().answered(Status::NestedDeadlock), 1);
    assert_eq!(client.call(DEEP, &3).unwrap(), 3, "the server serves");
    wait_until("all is home", || server.in_flight() == 0 && server.permits_out() == 0);
}

#[test]
fn the_advice_of_the_message_avoids_the_deadlock() {
    let (server, gate, client) =
        one_server("Server_Pool_Tasks=4\nServer_Max_Concurrent_Trans=4\nServer_Nested_Reserve=1", 1);
    let out: Vec<_> = (0..12).map(|_| client.start(DEEP, &1).unwrap()).collect();
    wait_until("all have come", || server.ports()[0].stats().calls.get() == 12);
    wait_until("as many begin as may", || gate.inside() == 3);
    gate.open();
    for end in out {
        assert_eq!(end.wait(), Ok(1));
    }
    assert_eq!(gate.peak(), 3, "and no more ever did at once");
    assert_eq!(server.ports()[0].stats().answered(Status::NestedDeadlock), 0);
}

#[test]
fn one_worker_that_calls_itself_is_a_deadlock_at_any_depth() {
    let (server, gate, client) = one_server("Server_Pool_Tasks=2\nServer_Max_Concurrent_Trans=1", 9);
    gate.open();
    let end = client.call(DEEP, &2);
    let words = deadlocks(std::slice::from_ref(&end)).join("");
    assert!(
        words.starts_with("TCPIP test.deep -> TCPIP test.deep -> TCPIP test.deep: all 2 workers"),
        "{words}"
    );
    assert!(words.ends_with("TCPIP_Pool_Tasks=3 with Server_Nested_Reserve=2"), "{words}");
    assert_eq!(client.call(DEEP, &1), Ok(1), "two workers are enough for two");
    drop(server);
}

#[test]
fn a_cycle_through_another_server_is_found() {
    let (gate, idle) = (Arc::<Gate>::default(), Arc::<Gate>::default());
    let (to_first, to_second) = (Address::default(), Address::default());
    let first = deep(server("Server_Pool_Tasks=2"), &gate, &to_second, 2).start().unwrap();
    let second = deep(server("Server_Pool_Tasks=8"), &idle, &to_first, 99).start().unwrap();
    to_first.set(client(first.address())).expect("it is set once");
    to_second.set(client(second.address())).expect("it is set once");
    let ends = all_at_once(&client(first.address()), &gate, 2, 2);
    let words = deadlocks(&ends);
    assert_eq!(words.len(), 1, "{words:?}");
    assert!(
        words[0].starts_with("TCPIP test.deep -> TCPIP test.deep -> TCPIP test.deep: all 2"),
        "{words:?}"
    );
    assert_eq!(second.ports()[0].stats().answered(Status::NestedDeadlock), 0, "the second has workers");
}

#[test]
fn two_ports_that_call_each_other_are_found() {
    const THERE: Method<(), u32> = Method::new("test.there");
    const BACK: Method<(), u32> = Method::new("test.back");
    let lines =
        "Ports=ONE,TWO\nONE_TCPIPAddress=0,127.0.0.1:0\nTWO_TCPIPAddress=0,127.0.0.1:0\nServer_Pool_Tasks=1";
    let gate = Arc::<Gate>::default();
    let (one, two) = (Address::default(), Address::default());
    let across = |next: &Address| {
        let (gate, next) = (Arc::clone(&gate), Arc::clone(next));
        move |tx: &boneyard::Transaction<'_>, ()| {
            tx.blocking(|| gate.pass());
            next.get().expect("it is set before").call(DEEP, &0).map_err(outwards)
        }
    };
    let server = deep(server(lines), &gate, &one, 99).handle(THERE, across(&two)).handle(BACK, across(&one));
    let server = server.start().unwrap();
    one.set(client(server.ports()[0].address())).expect("it is set once");
    two.set(client(server.ports()[1].address())).expect("it is set once");
    let there = one.get().unwrap().start(THERE, &()).unwrap();
    let back = two.get().unwrap().start(BACK, &()).unwrap();
    wait_until("both have begun", || gate.inside() == 2);
    gate.open();
    let ends = [there.wait(), back.wait()];
    assert_eq!(deadlocks(&ends).len(), 1, "{ends:?}");
}

#[test]
fn a_handlers_call_waits_no_longer_than_its_own_caller() {
    let (server, gate, client) = one_server("Server_Pool_Tasks=2", 0);
    // Long enough for the inner call to begin on a busy machine.
    let short = client.with_deadline(Duration::from_secs(5));
    let outer = short.start(DEEP, &1).unwrap();
    wait_until("the inner call runs", || gate.inside() == 1);
    assert!(matches!(
        outer.wait(),
        Err(ClientError::DeadlineExceeded { .. } | ClientError::Application { .. })
    ));
    // The inner call has no end of its own: what ends the outer handler's wait is the outer caller's deadline.
    wait_until("the outer handler has ended", || server.in_flight() == 1);
    gate.open();
    wait_until("all is home", || server.in_flight() == 0 && server.permits_out() == 0);
}
