//! What handlers call while their server, or its port, stops: what was begun ends well, and nothing else is let in.

use super::common::{Raw, call_frame};
use super::process::own_address;
use super::scripted_server::{DOUBLE, ScriptedServer};
use super::*;
use boneyard::internal::wire::{Chain, Codec, Flags, FrameKind};
use std::net::TcpStream;

/// Calls a hand server, and gives what that says.
const OUT: Method<u32, u64> = Method::new("test.out");

/// Lines of one port on an address of its own: where it has stopped nobody else listens.
fn own_port() -> String {
    format!("TCPIP_TCPIPAddress={}:1\n", own_address(0))
}

/// Waits until a server has closed its address.
fn wait_until_closed(address: std::net::SocketAddr) {
    wait_until("nobody is let in", || TcpStream::connect(address).is_err());
}

/// Makes a call that is to be refused because the server stops, past the GoAway that comes first.
fn assert_refused(stranger: &mut Raw, frame: &[u8]) {
    assert_eq!(answer(stranger, frame).unwrap_err().0, Status::Draining);
}

/// It is told to send no more calls.
fn assert_goodbye(raw: &mut Raw) {
    let frame = raw.read().expect("it is told");
    assert_eq!((frame.header.kind, frame.status()), (FrameKind::GoAway, Status::Draining));
}

/// The answer to a call that is the only one out on this connection.
fn answer(raw: &mut Raw, frame: &[u8]) -> Result<u32, (Status, boneyard::service::Fault)> {
    use std::io::Write;
    raw.stream.write_all(frame).unwrap();
    loop {
        let frame = raw.read().expect("an answer");
        match frame.header.kind {
            FrameKind::GoAway => assert_eq!(frame.status(), Status::Draining),
            _ => return frame.result(),
        }
    }
}

#[test]
fn a_handler_calls_its_own_server_while_that_stops() {
    let (server, gate, client) = one_server(&own_port(), 3);
    let mut stranger = Raw::connect(server.address());
    assert_eq!(client.call(DEEP, &2), Ok(2), "the handlers' client has a connection now");
    let outer = client.start(DEEP, &3).unwrap();
    wait_until("the outermost runs", || gate.inside() == 1);
    let address = server.address();
    let stop = std::thread::spawn(move || server.stop_within(LONG));
    wait_until_closed(address);
    let (_, frame) = stranger.frame(DEEP.name(), &0_u32, 0);
    assert_refused(&mut stranger, &frame);
    gate.open();
    assert_eq!(outer.wait(), Ok(3), "though its server stops");
    drop(stranger);
    assert_eq!(stop.join().unwrap().lost(), 0);
}

#[test]
fn a_chain_through_another_server_comes_back_to_one_that_stops() {
    let (gate, idle) = (Arc::<Gate>::default(), Arc::<Gate>::default());
    let (to_first, to_second) = (Address::default(), Address::default());
    let first = deep(server(&own_port()), &gate, &to_second, 5).start().unwrap();
    let second = deep(server(""), &idle, &to_first, 99).start().unwrap();
    to_first.set(client(first.address())).expect("it is set once");
    to_second.set(client(second.address())).expect("it is set once");
    let client = client(first.address());
    assert_eq!(client.call(DEEP, &2), Ok(2), "the servers have connections to each other");
    let outer = client.start(DEEP, &5).unwrap();
    wait_until("the outermost runs", || gate.inside() == 1);
    let address = first.address();
    let stop = std::thread::spawn(move || first.stop_within(LONG));
    wait_until_closed(address);
    let stranger = to_first.get().unwrap().call(DEEP, &0);
    let refused = matches!(stranger, Err(ClientError::Connect { .. } | ClientError::Draining { .. }));
    assert!(refused, "of the client that handlers use, by nobody that is waited for: {stranger:?}");
    gate.open();
    assert_eq!(outer.wait(), Ok(5), "first, second, first, second, first, second");
    assert_eq!(stop.join().unwrap().lost(), 0);
    assert_eq!(second.stop().lost(), 0);
}

#[test]
fn a_handler_calls_its_own_port_while_that_is_stopped_and_no_other() {
    let host = own_address(1);
    let lines = format!("Ports=A,B\nA_TCPIPAddress={host}:1\nB_TCPIPAddress={host}:2\nServer_Pool_Tasks=4");
    let (gate, to_a) = (Arc::<Gate>::default(), Address::default());
    let server = deep(server(&lines), &gate, &to_a, 2).start().unwrap();
    let [a, b] = [0, 1].map(|port| client(server.ports()[port].address()));
    to_a.set(client(server.address())).expect("it is set once");
    assert_eq!((a.call(DEEP, &1), b.call(DEEP, &1)), (Ok(1), Ok(1)), "over the handlers' client");
    let [of_a, of_b] = [&a, &b].map(|client| client.start(DEEP, &2).unwrap());
    wait_until("both run", || gate.inside() == 2);
    let mut idle = Raw::connect(server.address());
    server.monitor().control().stop_port("A").unwrap();
    assert_eq!(idle.read().expect("it is told").status(), Status::Draining);
    assert!(idle.read().is_none(), "who has nothing under way is closed in time");
    gate.open();
    assert_eq!(of_a.wait(), Ok(2), "what the port has in flight ends well");
    let refused = of_b.wait();
    assert!(matches!(refused, Err(ClientError::Application { code: 1, .. })), "of another port: {refused:?}");
    assert_eq!(server.ports()[0].stats().answered(Status::Draining), 1);
    wait_until("the port is left", || {
        server.monitor().control().connections().iter().all(|connection| &*connection.port == "B")
    });
    assert_eq!(server.stop().lost(), 0);
}

/// A server of two workers, one of them kept for nested calls, whose handlers of [`OUT`] call a hand server.
fn with_a_way_out(lines: &str) -> (RunningServer, Client, ScriptedServer) {
    let outside = ScriptedServer::new();
    let out = outside.client();
    let lines = format!("Server_Pool_Tasks=2\nServer_Nested_Reserve=1\n{lines}");
    let server = deep(server(&lines), &Arc::default(), &Address::default(), 99)
        .handle(OUT, move |_, number| out.call(DOUBLE, &number).map_err(outwards));
    let server = server.start().unwrap();
    let client = client(server.address());
    (server, client, outside)
}

/// A call of [`DEEP`] with this chain.
fn chained(raw: &Raw, id: u64, chain: Option<&Chain>) -> Vec<u8> {
    let (chain, mut body) = (chain.expect("a handler's call has one"), Vec::new());
    chain.write(&mut body).unwrap();
    Codec::Bincode.encode(&0_u32, &mut body).unwrap();
    call_frame(id, raw.number(DEEP.name()), Flags::NESTED, 0, &body)
}

#[test]
fn the_chain_of_a_transaction_that_has_ended_is_as_good_as_none() {
    use std::io::Write;
    let (server, client, outside) = with_a_way_out("");
    let mut raw = Raw::connect(server.address());
    let outer = client.start(OUT, &4).unwrap();
    let mut peer = outside.accept();
    let call = peer.call();
    let old = chained(&raw, 1, call.chain.as_ref());
    peer.answer(&call, &8_u64);
    assert_eq!(outer.wait(), Ok(8), "that transaction has ended");

    let outer = client.start(OUT, &4).unwrap();
    let call = peer.call();
    let live = chained(&raw, 2, call.chain.as_ref());
    raw.stream.write_all(&[old, live].concat()).unwrap();
    let first = raw.read().expect("an answer");
    assert_eq!((first.header.call, first.status()), (2, Status::Ok), "for this one a worker is kept");
    assert_eq!(server.ports()[0].queued(), 1, "the other stands in the line of all");
    peer.answer(&call, &8_u64);
    assert_eq!(outer.wait(), Ok(8));
    let second = raw.read().expect("an answer");
    assert_eq!((second.header.call, second.status()), (1, Status::Ok), "in its turn");
}

#[test]
fn while_a_server_stops_only_chains_of_what_it_has_in_flight_are_let_in() {
    let (server, client, outside) = with_a_way_out(&own_port());
    let [mut raw, mut in_vain] = [(); 2].map(|()| Raw::connect(server.address()));
    let outer = client.start(OUT, &4).unwrap();
    let mut peer = outside.accept();
    let call = peer.call();
    let address = server.address();
    let stop = std::thread::spawn(move || server.stop_within(LONG));
    wait_until_closed(address);

    let other = |change: fn(&mut boneyard::internal::wire::ChainEntry)| {
        let mut other = call.chain.clone();
        other.iter_mut().flat_map(|chain| &mut chain.entries).for_each(change);
        other
    };
    let (live, number) = (chained(&raw, 1, call.chain.as_ref()), raw.number(DEEP.name()));
    assert_eq!(answer(&mut raw, &live), Ok(0));
    for chain in
        [other(|entry| entry.server ^= 1), other(|entry| entry.transaction += 1), Some(Chain::default())]
    {
        let frame = chained(&raw, 2, chain.as_ref());
        assert_refused(&mut raw, &frame);
    }
    assert_refused(&mut raw, &call_frame(3, number, Flags::NONE, 0, &[0; 4]));
    let foreign = chained(&in_vain, 1, Some(&Chain::default()));
    assert_refused(&mut in_vain, &foreign);
    peer.answer(&call, &8_u64);
    assert_eq!(outer.wait(), Ok(8));
    for told in [&mut raw, &mut in_vain] {
        assert_goodbye(told);
    }
    drop((raw, in_vain));
    assert_eq!(stop.join().unwrap().lost(), 0);
}

#[test]
fn who_kept_a_connection_to_a_stopped_port_is_told_before_it_is_closed() {
    let (server, client, outside) = with_a_way_out(&own_port());
    let [mut raw, mut in_vain] = [(); 2].map(|()| Raw::connect(server.address()));
    let outer = client.start(OUT, &4).unwrap();
    let mut peer = outside.accept();
    let call = peer.call();
    server.monitor().control().stop_port("TCPIP").unwrap();
    let live = chained(&raw, 1, call.chain.as_ref());
    assert_eq!(answer(&mut raw, &live), Ok(0));
    let foreign = chained(&in_vain, 1, Some(&Chain::default()));
    assert_refused(&mut in_vain, &foreign);
    peer.answer(&call, &8_u64);
    assert_eq!(outer.wait(), Ok(8));
    for mut told in [raw, in_vain] {
        assert_goodbye(&mut told);
        assert!(told.read().is_none(), "then it is closed");
    }
    assert_eq!(server.stop().lost(), 0);
}

#[test]
fn a_guest_of_a_port_that_stops_again_has_its_time_again() {
    let server = deep(server(&own_port()), &Arc::default(), &Address::default(), 99).start().unwrap();
    let house = server.monitor().control();
    // Who was done at the last look before the start. A machine that is busy may start it too late for that.
    let mut kept = (0..100).find_map(|_| {
        let mut raw = Raw::connect(server.address());
        let call = chained(&raw, 1, Some(&Chain::default()));
        assert_eq!(answer(&mut raw, &call), Ok(0));
        house.stop_port("TCPIP").unwrap();
        assert_goodbye(&mut raw);
        assert_goodbye(&mut raw);
        house.start_port("TCPIP").unwrap();
        std::io::Write::write_all(&mut raw.stream, &call).ok()?;
        raw.read().map(|_| raw)
    });
    let raw = kept.as_mut().expect("one of them is there still");
    house.stop_port("TCPIP").unwrap();
    assert_goodbye(raw);
    assert_goodbye(raw);
    assert!(raw.read().is_none());
    assert_eq!(server.stop().lost(), 0);
}

#[test]
fn a_loop_of_nested_calls_ends_with_the_time_of_the_stop() {
    const LOOP: Method<(), ()> = Method::new("test.loop");
    let (gate, next) = (Arc::<Gate>::default(), Address::default());
    let (passed, to) = (Arc::clone(&gate), Arc::clone(&next));
    let server = deep(server(&own_port()), &Arc::default(), &next, 99).handle(LOOP, move |_, ()| {
        loop {
            to.get().expect("it is set").call(DEEP, &0).map_err(outwards)?;
            passed.enter();
        }
    });
    let server = server.start().unwrap();
    next.set(client(server.address())).expect("it is set once");
    let endless = client(server.address()).start(LOOP, &()).unwrap();
    wait_until("it goes round", || gate.entered() > 1);
    // How many it makes in that time does not matter: only that the time ends them.
    let stopped = server.stop_within(Duration::from_millis(50));
    assert!(matches!(
        endless.wait(),
        Err(ClientError::Application { .. } | ClientError::Disconnected { .. })
    ));
    assert!(stopped.lost() <= 2, "at most it and the call in it: {stopped:?}");
}

#[test]
fn a_handlers_client_keeps_a_connection_that_it_is_told_to_leave_until_it_is_told_again() {
    const TWICE: Method<u32, u64> = Method::new("test.twice");
    let outside = ScriptedServer::new();
    let callee = outside.client();
    let (gate, next) = (Arc::<Gate>::default(), callee.clone());
    let held = Arc::clone(&gate);
    let server = server("").handle(TWICE, move |tx, number| {
        let first = next.call(DOUBLE, &number).map_err(outwards)?;
        tx.blocking(|| held.pass());
        next.call(DOUBLE, &(first as u32)).map_err(outwards)
    });
    let server = server.start().unwrap();
    let outer = client(server.address()).start(TWICE, &1).unwrap();
    let mut peer = outside.accept();
    let call = peer.call();
    drop(outside);
    peer.goaway(Status::Draining);
    peer.answer(&call, &2_u64);
    wait_until("the client has read both", || gate.inside() == 1);
    assert!(
        matches!(callee.call(DOUBLE, &5), Err(ClientError::Connect { .. })),
        "no handler makes this call"
    );
    gate.open();
    let call = peer.call();
    assert_eq!(call.decode::<u32>(), 2);
    peer.answer(&call, &4_u64);
    assert_eq!(outer.wait(), Ok(4));
    peer.goaway(Status::Draining);
    peer.closed();
}
