//! `docs/PROTOCOL.md` is what the code does: its examples are decoded and made again with the crate's own code, and
//! its tables list every kind and limit with the right number. `statuses.rs` compares the statuses.
#![cfg(feature = "server")]

use boneyard::internal::admission::{Admission, WINDOW_CALLS_MAX};
use boneyard::internal::metrics::{MethodsStats, PortStats, ServiceTimes};
use boneyard::internal::proto::{self, ReceiveContext, Received, ServerProtocol};
use boneyard::internal::schema::Schema;
use boneyard::internal::wire::body::{Hello, MethodEntry, Welcome};
use boneyard::internal::wire::limits::*;
use boneyard::internal::wire::{
    CallPrelude, Chain, ChainEntry, Codec, Flags, FrameKind, Header, Preface, ReplyPrelude, VERSION,
    peek_frame,
};
use boneyard::service::{Fault, Refusal, Status};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::time::Instant;

const KINDS: [FrameKind; 8] = [
    FrameKind::Hello,
    FrameKind::Welcome,
    FrameKind::Call,
    FrameKind::Reply,
    FrameKind::Cancel,
    FrameKind::Ping,
    FrameKind::Pong,
    FrameKind::GoAway,
];

fn page() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/PROTOCOL.md");
    std::fs::read_to_string(path).expect("docs/PROTOCOL.md exists")
}

/// The fenced blocks that begin with ```` ```hex NAME ````, as bytes.
fn examples(page: &str) -> BTreeMap<String, Vec<u8>> {
    let mut examples = BTreeMap::new();
    let mut open: Option<(String, Vec<u8>)> = None;
    for line in page.lines() {
        if let Some(name) = line.strip_prefix("```hex ") {
            open = Some((name.trim().to_owned(), Vec::new()));
        } else if line.starts_with("```") {
            if let Some((name, bytes)) = open.take() {
                assert!(examples.insert(name.clone(), bytes).is_none(), "{name} twice");
            }
        } else if let Some((name, bytes)) = &mut open {
            for word in line.split('#').next().unwrap_or_default().split_whitespace() {
                bytes.push(
                    u8::from_str_radix(word, 16).unwrap_or_else(|_| panic!("{name}: {word} is no byte")),
                );
            }
        }
    }
    assert!(open.is_none(), "a block is not closed");
    examples
}

/// Rows of the table between two markers, as cells.
fn table(page: &str, marker: &str) -> Vec<Vec<String>> {
    let start = page.split(&format!("<!-- {marker} -->")).nth(1).expect("the marker is there");
    let table = start.split(&format!("<!-- /{marker} -->")).next().expect("split gives one part at least");
    let rows = table.lines().filter(|line| line.starts_with('|')).skip(2);
    rows.map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()).collect()
}

/// What an example must be: header without its length, prelude and value.
struct Expected {
    kind: FrameKind,
    flags: Flags,
    code: u16,
    call: u64,
    body: Vec<u8>,
}

fn encoded<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(codec: Codec, value: T) -> Vec<u8> {
    let mut bytes = Vec::new();
    codec.encode(&value, &mut bytes).unwrap();
    assert_eq!(codec.decode::<T>(&bytes).unwrap(), value);
    bytes
}

fn fault(code: u32, message: &str) -> Fault {
    Fault { code, retry_after_ms: 0, message: message.to_owned() }
}

fn expected(name: &str) -> Expected {
    let bincode = Codec::Bincode;
    let frame = |kind, code, call, body| Expected { kind, flags: Flags::NONE, code, call, body };
    let json = |kind, code, call, body| Expected { kind, flags: Flags::JSON, code, call, body };
    let call = |deadline_ms, arguments: Vec<u8>| {
        [&CallPrelude { session: 0, deadline_ms }.write()[..], &arguments].concat()
    };
    let reply = |times: [u32; 3], result: Vec<u8>| {
        let [queue_wait_us, permit_wait_us, run_us] = times;
        [&ReplyPrelude { queue_wait_us, permit_wait_us, run_us }.write()[..], &result].concat()
    };
    match name {
        "hello" => frame(FrameKind::Hello, 0, 0, encoded(bincode, Hello { client: "demo".to_owned() })),
        "welcome" => frame(FrameKind::Welcome, VERSION, 0, encoded(bincode, example_welcome())),
        "call" => frame(FrameKind::Call, 1, 7, call(10_000, encoded(bincode, (2u32, 3u32)))),
        "call-json" => json(FrameKind::Call, 1, 8, call(0, encoded(Codec::Json, (2u32, 3u32)))),
        "call-nested" => {
            let entry = ChainEntry {
                server: 0x1122_3344_5566_7788,
                transaction: 5,
                step: 1,
                name: "TCPIP math.sum".to_owned(),
            };
            let mut rest = Vec::new();
            Chain { entries: vec![entry] }.write(&mut rest).unwrap();
            rest.extend(encoded(bincode, (2u32, 3u32)));
            let body = call(0, rest);
            Expected { kind: FrameKind::Call, flags: Flags::NESTED, code: 1, call: 9, body }
        }
        "reply" => frame(FrameKind::Reply, 0, 7, reply([12, 0, 5], encoded(bincode, 5u32))),
        "reply-json" => json(FrameKind::Reply, 0, 8, reply([12, 0, 5], encoded(Codec::Json, 5u32))),
        "reply-queue-full" => {
            let body = reply([0; 3], encoded(bincode, fault(0, "full")));
            frame(FrameKind::Reply, Status::QueueFull.code(), 9, body)
        }
        "reply-application-json" => {
            let body = reply([9, 3, 40], encoded(Codec::Json, fault(7, "no")));
            json(FrameKind::Reply, Status::Application.code(), 10, body)
        }
        "cancel" => frame(FrameKind::Cancel, 0, 7, Vec::new()),
        "ping" => frame(FrameKind::Ping, 0, 1, Vec::new()),
        "pong" => frame(FrameKind::Pong, 0, 1, Vec::new()),
        "goaway" => frame(
            FrameKind::GoAway,
            Status::Draining.code(),
            0,
            encoded(bincode, fault(0, Status::Draining.text())),
        ),
        other => panic!("an example that no one expects: {other}"),
    }
}

fn example_welcome() -> Welcome {
    let method = |number, name: &str, schema: Schema| MethodEntry {
        number,
        name: name.to_owned(),
        fingerprint: schema.fingerprint(),
    };
    Welcome {
        server: "Boneyard 0.1.0".to_owned(),
        body_bytes_max: (4 << 20) - HEADER_BYTES as u32,
        methods: vec![
            method(1, "math.add", Schema::of::<(u32, u32), u32>()),
            method(2, "server.ping", Schema::of::<(), ()>()),
        ],
    }
}

#[test]
fn every_example_decodes_and_is_made_again() {
    let mut examples = examples(&page());
    let preface = examples.remove("preface").expect("there is an example of the preface");
    assert_eq!(Preface::read(&preface), Ok(Some(Preface::OURS)));
    assert_eq!(preface, Preface::OURS.write());
    let mut kinds = Vec::new();
    for (name, bytes) in &examples {
        let Expected { kind, flags, code, call, body } = expected(name);
        let header = peek_frame(bytes, |_| BODY_BYTES_MAX).expect("a good header").expect("a whole frame");
        let made = Header { body_bytes: body.len() as u32, kind, flags, code, call };
        assert_eq!(header, made, "{name}");
        assert_eq!(*bytes, [&made.write()[..], &body].concat(), "{name}");
        kinds.push(kind);
    }
    for kind in KINDS {
        assert!(kinds.contains(&kind), "there is an example of {kind:?}");
    }
}

#[test]
fn the_server_makes_the_examples_of_its_frames() {
    let examples = examples(&page());
    let Welcome { server, body_bytes_max, methods } = example_welcome();
    let welcome = proto::welcome(server, body_bytes_max, methods);
    assert_eq!(welcome, examples["welcome"]);
    let mut out = Vec::new();
    proto::goaway(&Refusal::new(Status::Draining, Status::Draining.text()), &mut out);
    assert_eq!(out, examples["goaway"]);
    for (name, codec, call) in [("reply", Codec::Bincode, 7), ("reply-json", Codec::Json, 8)] {
        let mut out = Vec::new();
        proto::reply(call, codec, &mut out, |out| {
            codec.encode(&5u32, out).unwrap();
            (Status::Ok, ReplyPrelude { queue_wait_us: 12, permit_wait_us: 0, run_us: 5 })
        });
        assert_eq!(out, examples[name]);
    }
    // And takes those of a client, in the order a client sends them.
    let sent = ["preface", "hello", "call", "call-json", "call-nested", "cancel", "ping"]
        .map(|name| &examples[name][..])
        .concat();
    let (stats, mut intake) = (PortStats::default(), Received::default());
    let (paces, now) = (ServiceTimes::new(2), Instant::now());
    let reception = ReceiveContext {
        welcome: &welcome,
        body_bytes_max: body_bytes_max as usize,
        admission: Admission::open(2, &paces),
        window_room: WINDOW_CALLS_MAX,
        arrived: now,
        now,
        stats: &stats,
        methods: &MethodsStats::new(0),
    };
    let used = ServerProtocol::default().receive(&sent, &reception, &mut intake);
    assert_eq!(used, Ok(sent.len()));
    let calls: Vec<_> = intake.calls.iter().map(|call| (call.id, call.method, call.codec)).collect();
    assert_eq!(calls, [(7, 1, Codec::Bincode), (8, 1, Codec::Json), (9, 1, Codec::Bincode)]);
    assert_eq!(intake.chains.len(), 1);
    assert_eq!((intake.replies, intake.cancels), ([&welcome[..], &examples["pong"]].concat(), vec![7]));
}

#[test]
fn every_kind_is_in_its_table_with_its_number() {
    let page = page();
    let rows = table(&page, "kinds");
    let found: Vec<_> = rows.iter().map(|row| (row[0].as_str(), row[1].as_str())).collect();
    let ours: Vec<_> = KINDS.iter().map(|kind| ((*kind as u8).to_string(), format!("{kind:?}"))).collect();
    assert_eq!(found, ours.iter().map(|(number, name)| (number.as_str(), name.as_str())).collect::<Vec<_>>());
    // KINDS is all there are: no other byte is a kind.
    for byte in 0..=u8::MAX {
        let mut header = [0; HEADER_BYTES];
        header[4] = byte;
        assert_eq!(
            Header::read(&header).is_ok(),
            found.iter().any(|row| row.0 == byte.to_string()),
            "kind {byte}"
        );
    }
}

#[test]
fn every_limit_is_the_codes() {
    let ours = [
        ("preface", PREFACE_BYTES),
        ("header", HEADER_BYTES),
        ("call prelude", CALL_PRELUDE_BYTES),
        ("reply prelude", REPLY_PRELUDE_BYTES),
        ("chain of a nested Call, at most", CHAIN_BYTES_MAX),
        ("entries of a chain, at most (entries, not bytes)", CHAIN_ENTRIES_MAX),
        ("body of a Hello", HELLO_BODY_BYTES_MAX),
        ("body of a Cancel or Ping", SIGNAL_BODY_BYTES_MAX),
        ("body of a Welcome or GoAway", CONTROL_BODY_BYTES_MAX),
        ("body of any frame", BODY_BYTES_MAX),
        ("method name", METHOD_NAME_BYTES_MAX),
        ("message of a Fault", FAULT_MESSAGE_BYTES_MAX),
        ("calls out of one connection", WINDOW_CALLS_MAX),
        ("methods of one server", METHODS_MAX),
        ("sessions of one connection", boneyard::service::session::CARRIED_SESSIONS_MAX),
    ];
    let page = page();
    let rows = table(&page, "limits");
    assert_eq!(rows.len(), ours.len());
    for (row, (name, limit)) in rows.iter().zip(ours) {
        assert!(row[0].starts_with(name), "{} stands where {name} should", row[0]);
        assert_eq!(row[1], limit.to_string(), "{name}");
    }
    assert!(page.contains(&format!("at most {WINDOW_CALLS_MAX} calls are admitted")));
    assert!(page.starts_with(&format!("# The protocol, version {VERSION}\n")));
    assert!(page.lines().count() <= 300);
}

/// The sentences on bincode's layout, one assertion for each.
#[test]
fn the_layout_of_values_is_as_written() {
    #[derive(Serialize, serde::Deserialize, PartialEq, Debug)]
    enum Shape {
        Dot,
        Line(u8, u8),
    }
    fn bytes<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(value: T) -> Vec<u8> {
        encoded(Codec::Bincode, value)
    }
    assert_eq!(bytes(-2i16), [0xfe, 0xff]);
    assert_eq!(bytes(1.0f32), [0, 0, 0x80, 0x3f]);
    assert_eq!(bytes((true, false)), [1, 0]);
    assert_eq!(bytes((Some(5u8), None::<u8>)), [1, 5, 0]);
    assert_eq!(bytes((Shape::Dot, Shape::Line(7, 8))), [0, 0, 0, 0, 1, 0, 0, 0, 7, 8]);
    assert_eq!(bytes([1u8, 2]), [1, 2]);
    assert_eq!(bytes(()), [0; 0]);
    assert_eq!(bytes('\u{e9}'), [0xc3, 0xa9]);
    assert_eq!(bytes(1u128).len(), 16);
    assert_eq!(bytes(vec![3u16]), [1, 0, 0, 0, 0, 0, 0, 0, 3, 0]);
    assert_eq!(bytes(BTreeMap::from([(1u8, 2u8)])), [1, 0, 0, 0, 0, 0, 0, 0, 1, 2]);
    assert_eq!(encoded(Codec::Json, ()), b"null");
    assert_eq!(encoded(Codec::Json, boneyard::service::Bytes::from(vec![1, 2])), b"[1,2]");
    assert_eq!(Codec::Json.decode::<u8>(b" 5 \n"), Ok(5));
}
