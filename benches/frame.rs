//! Cost of the protocol without sockets: frames parsed and built, values decoded and encoded.
//!
//! `cargo bench --bench frame`; times are for one operation, and for a whole read where the name says so.

use boneyard::internal::admission::Admission;
use boneyard::internal::metrics::{MethodsStats, PortStats, ServiceTimes};
use boneyard::internal::proto::{ReceiveContext, Received, ServerProtocol, reply, welcome};
use boneyard::internal::wire::body::{Hello, MethodEntry};
use boneyard::internal::wire::{
    CallPrelude, Codec, Flags, FrameKind, Header, Preface, ReplyPrelude, peek_frame,
};
use boneyard::service::Status;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use serde::{Deserialize, Serialize};
use std::hint::black_box;
use std::time::Instant;

const BODY_BYTES_MAX: usize = 4 << 20;

/// An ordinary body: numbers, text, an optional field, a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Note {
    id: u64,
    author: String,
    subject: Option<String>,
    tags: Vec<u32>,
}

fn note() -> Note {
    Note { id: 7, author: "Ada".to_owned(), subject: Some("domino".to_owned()), tags: vec![1, 2, 3] }
}

/// Appends a Call of method 1 with these arguments, as a client does.
fn call(id: u64, arguments: &[u8], out: &mut Vec<u8>) {
    let prelude = CallPrelude { session: 0, deadline_ms: 0 }.write();
    let body_bytes = (prelude.len() + arguments.len()) as u32;
    let header = Header { body_bytes, kind: FrameKind::Call, flags: Flags::NONE, code: 1, call: id };
    out.extend_from_slice(&header.write());
    out.extend_from_slice(&prelude);
    out.extend_from_slice(arguments);
}

fn frames(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("frame");
    let mut bytes = Vec::new();
    call(1, &[b'x'; 64], &mut bytes);
    group.bench_function("peek_frame", |bench| {
        bench.iter(|| peek_frame(black_box(&bytes), |_| BODY_BYTES_MAX))
    });
    let mut out = Vec::new();
    for (name, payload) in [("64 B", 64), ("64 KiB", 64 << 10)] {
        let arguments = vec![b'x'; payload];
        group.throughput(Throughput::Bytes(payload as u64));
        group.bench_function(format!("encode a call, {name}"), |bench| {
            bench.iter(|| {
                out.clear();
                call(black_box(1), black_box(&arguments), &mut out);
            });
        });
        group.bench_function(format!("encode a reply, {name}"), |bench| {
            bench.iter(|| {
                out.clear();
                reply(black_box(1), Codec::Bincode, &mut out, |out| {
                    out.extend_from_slice(black_box(&arguments));
                    (Status::Ok, ReplyPrelude::default())
                });
            });
        });
    }
    group.finish();
}

/// The listener's work on one read: cut the frames, admit the calls.
fn reads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("read");
    let stats = PortStats::default();
    let welcome = welcome(
        "bench".to_owned(),
        4 << 20,
        vec![MethodEntry { number: 1, name: "a.b".to_owned(), fingerprint: 0 }],
    );
    let (service_times, now) = (ServiceTimes::new(1), Instant::now());
    let context = ReceiveContext {
        welcome: &welcome,
        body_bytes_max: BODY_BYTES_MAX,
        admission: Admission::open(1, &service_times),
        window_room: usize::MAX,
        arrived: now,
        now,
        stats: &stats,
        methods: &MethodsStats::new(0),
    };
    let (mut protocol, mut received) = (ServerProtocol::default(), Received::default());
    let greeting = greeting();
    let used = protocol.receive(&greeting, &context, &mut received);
    assert_eq!(used, Ok(greeting.len()), "the greeting is taken");
    for calls in [1, 32, 512] {
        let mut bytes = Vec::new();
        (0..calls).for_each(|id| call(id, &[b'x'; 72], &mut bytes));
        group.throughput(Throughput::Elements(calls));
        group.bench_function(BenchmarkId::new("calls", calls), |bench| {
            bench.iter(|| {
                received.calls.clear();
                protocol.receive(black_box(&bytes), &context, &mut received)
            });
        });
        assert_eq!(received.calls.len(), calls as usize, "all calls are cut");
    }
    group.finish();
}

fn greeting() -> Vec<u8> {
    let mut body = Vec::new();
    let hello = Hello { client: "bench".to_owned() };
    Codec::Bincode.encode(&hello, &mut body).expect("text always encodes");
    let body_bytes = body.len() as u32;
    let header = Header { body_bytes, kind: FrameKind::Hello, flags: Flags::NONE, code: 0, call: 0 };
    [&Preface::OURS.write()[..], &header.write()[..], &body[..]].concat()
}

fn codecs(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("codec");
    for (name, codec) in [("bincode", Codec::Bincode), ("JSON", Codec::Json)] {
        let (value, mut bytes) = (note(), Vec::new());
        codec.encode(&value, &mut bytes).expect("a note encodes");
        assert_eq!(codec.decode::<Note>(&bytes).as_ref(), Ok(&value), "what goes in comes out");
        group.bench_function(format!("{name}, encode"), |bench| {
            bench.iter(|| {
                bytes.clear();
                codec.encode(black_box(&value), &mut bytes)
            });
        });
        group.bench_function(format!("{name}, decode"), |bench| {
            bench.iter(|| codec.decode::<Note>(black_box(&bytes)));
        });
    }
    group.finish();
}

criterion_group!(benches, frames, reads, codecs);
criterion_main!(benches);
