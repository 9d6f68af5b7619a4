//! What a server that a handler calls can do with the chain it is given: what the handler waits for, and nothing else.

use super::common::{Raw, call_frame};
use super::scripted_server::{Call, DOUBLE, Peer, ScriptedServer};
use super::*;
use boneyard::internal::wire::{Chain, ChainEntry, Codec, Flags};
use boneyard::service::Fault;
use std::io::Write;

/// Calls a hand server, ends that call as it is told, and goes on until the gate opens.
const OUT: Method<u32, ()> = Method::new("test.out");

/// How its call ends.
const ANSWERED: u32 = 0;
const REFUSED: u32 = 1;
const LATE: u32 = 2;
const DROPPED: u32 = 3;
const UNCLAIMED: u32 = 4;

/// A server of two workers, one of them kept for nested calls, whose handlers of [`OUT`] call a hand server.
struct Setting {
    server: RunningServer,
    client: Client,
    outside: ScriptedServer,
    gate: Arc<Gate>,
}

fn setting(lines: &str) -> Setting {
    let (outside, gate) = (ScriptedServer::new(), Arc::<Gate>::default());
    let (out, held) = (outside.client(), Arc::clone(&gate));
    let lines = format!("Server_Pool_Tasks=2\nServer_Nested_Reserve=1\n{lines}");
    let server = deep(server(&lines), &Arc::default(), &Address::default(), 99);
    let server = server.handle(OUT, move |tx, how| {
        let mut kept = None;
        match how {
            LATE => drop(out.with_deadline(Duration::from_millis(50)).call(DOUBLE, &how)),
            DROPPED => drop(out.start(DOUBLE, &how).map_err(outwards)?),
            UNCLAIMED => {
                kept = Some(out.start(DOUBLE, &how).map_err(outwards)?);
                // Its answer comes behind that of the first, which nobody has asked for yet.
                drop(out.call(DOUBLE, &ANSWERED));
            }
            _ => drop(out.call(DOUBLE, &how)),
        }
        tx.blocking(|| held.pass());
        kept.map_or(Ok(()), |kept| kept.wait().map(drop).map_err(outwards))
    });
    let server = server.start().unwrap();
    let client = client(server.address());
    Setting { server, client, outside, gate }
}

/// A call of [`DEEP`] with this chain.
fn chained(raw: &Raw, id: u64, chain: &Chain) -> Vec<u8> {
    chained_to(DEEP.name(), raw, id, chain)
}

/// A call with this chain and 0.
fn chained_to(method: &str, raw: &Raw, id: u64, chain: &Chain) -> Vec<u8> {
    let mut body = Vec::new();
    chain.write(&mut body).unwrap();
    Codec::Bincode.encode(&0_u32, &mut body).unwrap();
    call_frame(id, raw.number(method), Flags::NESTED, 0, &body)
}

/// The chain of a handler's call.
fn chain_of(call: &Call) -> Chain {
    call.chain.clone().expect("a handler's call has one")
}

fn end(peer: &mut Peer, call: &Call, how: u32) {
    match how {
        ANSWERED | UNCLAIMED => peer.answer(call, &8_u64),
        REFUSED => {
            let fault = Fault { code: 1, retry_after_ms: 0, message: "no".to_owned() };
            peer.refuse(call, Status::Application, fault);
        }
        _ => {}
    }
}

#[test]
fn an_entry_opens_nothing_once_its_call_has_ended_though_its_transaction_runs() {
    const CALLS: u64 = 10;
    for how in [ANSWERED, REFUSED, LATE, DROPPED, UNCLAIMED] {
        let Setting { server, client, outside, gate } = setting("");
        let mut raw = Raw::connect(server.address());
        let outer = client.start(OUT, &how).unwrap();
        let mut peer = outside.accept();
        let call = peer.call();
        let second = (how == UNCLAIMED).then(|| peer.call());
        end(&mut peer, &call, how);
        second.iter().for_each(|second| end(&mut peer, second, ANSWERED));
        wait_until("its call has ended, and it goes on", || gate.inside() == 1);
        let frames = (1..=CALLS).flat_map(|id| chained(&raw, id, &chain_of(&call))).collect::<Vec<u8>>();
        raw.stream.write_all(&frames).unwrap();
        wait_until("all stand in the line of all", || server.ports()[0].queued() == CALLS as usize);
        assert_eq!(server.ports()[0].stats().answered(Status::Ok), 0, "case {how}");
        gate.open();
        assert!(outer.wait().is_ok(), "case {how}");
        for _ in 0..CALLS {
            assert_eq!(raw.read().expect("an answer").status(), Status::Ok, "case {how}");
        }
    }
}

#[test]
fn an_entry_lets_in_a_call_for_each_row_and_no_more_than_so_many_at_once() {
    const CALLS: u64 = 10_000;
    const ROWS: u64 = 3000;
    const WAITING_MAX: u64 = 64;
    let Setting { server, client, outside, gate } = setting("Server_Queue_Limit=20000");
    gate.open();
    let outer = client.start(OUT, &ANSWERED).unwrap();
    let mut peer = outside.accept();
    let call = peer.call();
    // From another connection than its handlers', one after another at first: each is let in.
    let mut raw = Raw::connect(server.address());
    for id in 1..=ROWS {
        let frame = chained(&raw, id, &chain_of(&call));
        raw.stream.write_all(&frame).unwrap();
        assert_eq!(raw.read().expect("an answer").status(), Status::Ok, "a worker is kept for it");
    }
    // One more keeps the worker that is kept for such calls.
    raw.stream.write_all(&chained_to(OUT.name(), &raw, 1, &chain_of(&call))).unwrap();
    let held = peer.call();
    let frames = (2..=CALLS).flat_map(|id| chained(&raw, id, &chain_of(&call))).collect::<Vec<u8>>();
    let mut stream = raw.stream.try_clone().unwrap();
    let writer = std::thread::spawn(move || stream.write_all(&frames).unwrap());
    let port = &server.ports()[0];
    let window = boneyard::internal::admission::WINDOW_CALLS_MAX as u64;
    wait_until("the connection's window is full", || server.in_flight() as u64 == window + 1);
    let over = port.stats().nested_over.get();
    assert_eq!(over, window - 1 - WAITING_MAX, "they wait like a client's");
    peer.answer(&held, &8_u64);
    peer.answer(&call, &8_u64);
    assert_eq!(outer.wait(), Ok(()));
    for _ in 0..CALLS {
        assert_eq!(raw.read().expect("an answer").status(), Status::Ok, "in its turn");
    }
    writer.join().unwrap();
    wait_until("all is home", || server.in_flight() == 0 && server.permits_out() == 0);
}

#[test]
fn an_entry_that_was_guessed_or_changed_opens_nothing() {
    let Setting { server, client, outside, gate } = setting("");
    gate.open();
    let outer = client.start(OUT, &ANSWERED).unwrap();
    let mut peer = outside.accept();
    let call = peer.call();
    let entry = chain_of(&call).entries.pop().expect("the handler's own");
    let bits = (0..64).flat_map(|bit| {
        let (server, transaction) = (entry.server ^ 1 << bit, entry.transaction ^ 1 << bit);
        [ChainEntry { server, ..entry.clone() }, ChainEntry { transaction, ..entry.clone() }]
    });
    let others = [
        ChainEntry { step: entry.step + 1, ..entry.clone() },
        ChainEntry { name: "TCPIP server.ping".to_owned(), ..entry.clone() },
        ChainEntry { server: 0, transaction: 0, ..entry.clone() },
        ChainEntry { server: entry.transaction, transaction: entry.server, ..entry.clone() },
    ];
    let mut random = super::common::Random(7);
    let guessed =
        (0..200).map(|_| ChainEntry { server: random.next(), transaction: random.next(), ..entry.clone() });
    let entries: Vec<ChainEntry> = bits.chain(others).collect();
    let entries: Vec<ChainEntry> = entries.into_iter().chain(guessed).collect();
    let mut raw = Raw::connect(server.address());
    for (entry, id) in entries.iter().zip(1..) {
        let frame = chained(&raw, id, &Chain { entries: vec![entry.clone(); 3] });
        raw.stream.write_all(&frame).unwrap();
    }
    wait_until("all stand in the line of all", || server.ports()[0].queued() == entries.len());
    assert_eq!(server.ports()[0].stats().answered(Status::Ok), 0);
    peer.answer(&call, &8_u64);
    assert_eq!(outer.wait(), Ok(()));
    for _ in &entries {
        assert_eq!(raw.read().expect("an answer").status(), Status::Ok);
    }
}

#[test]
fn a_name_in_a_chain_is_its_senders_word_unless_the_entry_is_ones_own() {
    let inner = Arc::<Gate>::default();
    let outside = ScriptedServer::new();
    let (out, held) = (outside.client(), Arc::clone(&inner));
    let server = deep(super::server(""), &Arc::default(), &Address::default(), 99)
        .handle(OUT, move |_, how| out.call(DOUBLE, &how).map(drop).map_err(outwards))
        .handle(DOUBLE, move |_, number| {
            held.pass();
            Ok(u64::from(number) * 2)
        })
        .start()
        .unwrap();
    let outer = client(server.address()).start(OUT, &ANSWERED).unwrap();
    let mut peer = outside.accept();
    let call = peer.call();
    let mut chain = chain_of(&call);
    chain.entries.push(ChainEntry {
        server: 1,
        transaction: 2,
        step: 1,
        name: "TCPIP server.ping".to_owned(),
    });
    let mut raw = Raw::connect(server.address());
    let mut body = Vec::new();
    chain.write(&mut body).unwrap();
    Codec::Bincode.encode(&4_u32, &mut body).unwrap();
    let frame = call_frame(1, raw.number(DOUBLE.name()), Flags::NESTED, 0, &body);
    raw.stream.write_all(&frame).unwrap();
    wait_until("it runs", || inner.inside() == 1);
    let tasks = server.monitor().control().workers().into_iter().filter_map(|worker| worker.task);
    let chains: Vec<Vec<String>> = tasks.map(|task| task.chain).filter(|chain| !chain.is_empty()).collect();
    assert_eq!(chains, [["TCPIP test.out".to_owned(), "caller says \"TCPIP server.ping\"".to_owned()]]);
    inner.open();
    assert_eq!(raw.read().expect("an answer").status(), Status::Ok);
    peer.answer(&call, &8_u64);
    assert_eq!(outer.wait(), Ok(()));
}
