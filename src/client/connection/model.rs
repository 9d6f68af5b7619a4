//! Models of a client's connection for loom and shuttle: callers that read for each other, tasks that poll, and the
//! reactor, over a socket in memory. The code is the connection's own; `benches/models.sh` runs them.
//!
//! A reply that nobody reads, and a call that nobody writes, shows as a deadlock: a model ends only when every call was
//! answered. All models but one leave out the reactor's checks: they would read, a little later, what was forgotten.

use super::call_slot::CallSlot;
use super::client_connection::{ClientConnection, EncodedCall};
use super::core::Core;
use super::in_flight::{WaitStep, Waiter};
use super::read_source::{Flush, ReadSource};
use super::transport::ClientTransport;
use crate::proto::client::{self, ClientProtocol};
use crate::sync::{Arc, Condvar, Mutex, check};
use crate::wire::body::Welcome;
use crate::wire::limits::HEADER_BYTES;
use crate::wire::{Codec, Flags, FrameKind, Header, ReplyPrelude, VERSION};
use std::collections::BTreeSet;
use std::task::{Wake, Waker};
use std::time::Instant;

#[cfg(loom)]
use loom::thread;
#[cfg(shuttle)]
use shuttle::thread;

/// A connection, its reactor, and a server that answers these calls in this order.
struct Model {
    connection: Arc<ClientConnection>,
    transport: ClientTransport,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Model {
    fn start(order: &'static [u64]) -> Model {
        Model::start_with_checks(order, 0)
    }

    /// As [`Model::start`]; the reactor makes so many checks first.
    fn start_with_checks(order: &'static [u64], checks: usize) -> Model {
        let transport = ClientTransport::simulated();
        let mut protocol = ClientProtocol::new(1000);
        let welcome = Welcome { server: String::new(), body_bytes_max: 1000, methods: Vec::new() };
        let mut body = Vec::new();
        Codec::Bincode.encode(&welcome, &mut body).expect("a Welcome always encodes");
        let first = frame(FrameKind::Welcome, VERSION, 0, &body);
        protocol.space()[..first.len()].copy_from_slice(&first);
        protocol.filled(first.len());
        let core =
            Core::start(transport.clone(), welcome, protocol, 1000).expect("a simulated reactor takes all");
        let (events, source) = (transport.clone(), Arc::clone(&core));
        let reactor = thread::spawn(move || {
            for _ in 0..checks {
                ReadSource::check(Arc::clone(&source), Instant::now());
                thread::yield_now();
            }
            let mut ended = false;
            while !ended {
                ended = events.await_event();
                if ReadSource::read(Arc::clone(&source), ended)
                    && ReadSource::flush(Arc::clone(&source), Flush::Unhurried)
                {
                    ReadSource::flush(Arc::clone(&source), Flush::Now);
                }
            }
        });
        let end = transport.clone();
        let server = thread::spawn(move || {
            let mut received = BTreeSet::new();
            for call in order {
                while !received.contains(call) {
                    let header = Header::read(
                        end.receive(HEADER_BYTES)[..].first_chunk().expect("a whole header came"),
                    )
                    .expect("it is well-formed");
                    if header.kind == FrameKind::Call {
                        end.receive(header.body_bytes as usize);
                        received.insert(header.call);
                    }
                }
                let prelude = ReplyPrelude { queue_wait_us: 0, permit_wait_us: 0, run_us: 0 };
                end.reply(&frame(FrameKind::Reply, 0, *call, &prelude.write()));
            }
        });
        Model { connection: Arc::new(ClientConnection::of(core)), transport, threads: vec![reactor, server] }
    }

    fn end(self) {
        self.transport.shut_down();
        self.threads.into_iter().for_each(|thread| thread.join().expect("no thread panics"));
    }
}

fn frame(kind: FrameKind, code: u16, call: u64, body: &[u8]) -> Vec<u8> {
    let header = Header { body_bytes: body.len() as u32, kind, flags: Flags::NONE, code, call };
    [&header.write()[..], body].concat()
}

/// Sends a call.
fn send(connection: &ClientConnection, call: u64, waiter: Waiter) -> Arc<CallSlot> {
    let slot = Arc::new(CallSlot::default());
    let frame = client::call(1, Codec::Bincode, None, 1000, |_| Ok(())).expect("it has no arguments");
    let encoded = EncodedCall { call, session: 0, nested: false, frame, deadline: None, waiter };
    connection.send(encoded, &slot, None).expect("there is always room");
    slot
}

/// A blocking call.
fn call(connection: &ClientConnection, call: u64) {
    let slot = send(connection, call, Waiter::Thread);
    let outcome = connection.wait(call, &slot, None).expect("it has no deadline");
    assert_eq!(outcome.expect("the server answers all").call, call);
}

/// A task's executor: sleeps until woken.
#[derive(Default)]
struct Executor {
    woken: Mutex<bool>,
    changed: Condvar,
}

impl Wake for Executor {
    fn wake(self: Arc<Self>) {
        *self.woken.lock() = true;
        self.changed.notify_all();
    }
}

/// Polls until the call is answered.
fn poll(slot: &CallSlot) {
    let executor = Arc::new(Executor::default());
    let waker = Waker::from(Arc::clone(&executor));
    while slot.poll(&waker).is_none() {
        let mut woken = executor.woken.lock();
        while !std::mem::take(&mut *woken) {
            executor.changed.wait(&mut woken);
        }
    }
}

#[test]
fn model_two_callers_read_for_each_other() {
    check(2, || {
        let model = Model::start(&[2, 1]);
        let other = Arc::clone(&model.connection);
        let caller = thread::spawn(move || call(&other, 2));
        call(&model.connection, 1);
        caller.join().expect("no thread panics");
        model.end();
    });
}

#[test]
fn model_a_task_is_read_for_when_the_caller_leaves() {
    check(2, || {
        let model = Model::start(&[2, 1]);
        let other = Arc::clone(&model.connection);
        let caller = thread::spawn(move || call(&other, 2));
        poll(&send(&model.connection, 1, Waiter::Task));
        caller.join().expect("no thread panics");
        model.end();
    });
}

#[test]
fn model_what_is_queued_beside_an_awake_reader_is_written() {
    check(1, || {
        let model = Model::start(&[2, 3, 1]);
        let other = Arc::clone(&model.connection);
        let caller = thread::spawn(move || call(&other, 1));
        for number in [2, 3] {
            poll(&send(&model.connection, number, Waiter::Task));
        }
        caller.join().expect("no thread panics");
        model.end();
    });
}

#[test]
fn model_a_caller_whose_time_is_over_hands_on() {
    check(1, || {
        let model = Model::start(&[1, 3]);
        let other = Arc::clone(&model.connection);
        let late = thread::spawn(move || {
            let _slot = send(&other, 2, Waiter::Thread);
            let core = other.core();
            let step = core.state.lock().calls.begin_wait(2);
            // Its deadline passes at once.
            core.end_wait(2, step == WaitStep::Read);
            other.abandon(2, false);
        });
        call(&model.connection, 1);
        call(&model.connection, 3);
        late.join().expect("no thread panics");
        model.end();
    });
}

#[test]
fn model_checks_leave_callers_their_replies() {
    check(2, || {
        let model = Model::start_with_checks(&[1, 2], 3);
        call(&model.connection, 1);
        call(&model.connection, 2);
        model.end();
    });
}
