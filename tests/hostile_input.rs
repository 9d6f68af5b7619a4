//! Peers that break the rules: each gets a typed answer where one is possible, else a clean close whose reason is
//! counted, and nobody else notices.
#![cfg(feature = "server")]

mod common;

use boneyard::Method;
use boneyard::internal::metrics::CloseReason;
use boneyard::internal::wire::limits::*;
use boneyard::internal::wire::{CallPrelude, Flags, FrameKind, Header, Preface};
use boneyard::server::RunningServer;
use boneyard::service::{ApplicationError, Status};
use common::gate::Gate;
use common::*;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::Arc;

const LENGTH: Method<String, u64> = Method::new("test.length");
const WAIT: Method<(), ()> = Method::new("test.wait");

fn start(lines: &str, gate: &Arc<Gate>) -> RunningServer {
    let gate = Arc::clone(gate);
    let server = server(lines).handle(LENGTH, |_, text| Ok(text.len() as u64)).handle(WAIT, move |_, ()| {
        gate.pass();
        Ok(())
    });
    server.start().unwrap()
}

/// What one bad client does and gets.
struct Bad {
    name: &'static str,
    bytes: Vec<u8>,
    /// Frames after the Welcome (which comes if the bytes begin with a good greeting).
    replies: Vec<(FrameKind, Status)>,
    /// `None`: the connection stays open and serves on.
    closed: Option<CloseReason>,
}

fn bad(
    name: &'static str,
    bytes: Vec<u8>,
    replies: &[(FrameKind, Status)],
    closed: impl Into<Option<CloseReason>>,
) -> Bad {
    Bad { name, bytes, replies: replies.to_vec(), closed: closed.into() }
}

fn head(body_bytes: u32, kind: FrameKind, code: u16) -> Vec<u8> {
    Header { body_bytes, kind, flags: Flags::NONE, code, call: 9 }.write().to_vec()
}

fn greeted(frames: &[u8]) -> Vec<u8> {
    [&greeting(), frames].concat()
}

fn with_byte(mut frame: Vec<u8>, at: usize, byte: u8) -> Vec<u8> {
    frame[at] = byte;
    frame
}

/// Frames that end the connection.
fn fatal() -> Vec<Bad> {
    use CloseReason::*;
    let goaway = |status| vec![(FrameKind::GoAway, status)];
    let broken = goaway(Status::ProtocolError);
    let large = goaway(Status::TooLarge);
    let refused = [(FrameKind::Reply, Status::TooLarge), (FrameKind::GoAway, Status::TooLarge)];
    let versions = Preface { lowest: 7, highest: 9 }.write().to_vec();
    let hello = |body: &[u8]| [&Preface::OURS.write()[..], &frame(FrameKind::Hello, 0, 0, body)].concat();
    let version = goaway(Status::UnsupportedVersion);
    vec![
        bad("a bad magic", b"GET / HTTP/1.1\r\n\r\n".to_vec(), &[], BadMagic),
        bad("a bad version", versions, &version, UnsupportedVersion),
        bad("a frame too large", greeted(&head(4 << 20 | 4096, FrameKind::Call, 1)), &refused, FrameTooLarge),
        bad("a frame of gigabytes", greeted(&head(u32::MAX, FrameKind::Call, 1)), &refused, FrameTooLarge),
        bad("a cancel of gigabytes", greeted(&head(u32::MAX, FrameKind::Cancel, 0)), &large, FrameTooLarge),
        bad("a ping too large", greeted(&head(65, FrameKind::Ping, 0)), &large, FrameTooLarge),
        bad("a hello too large", hello(&[0; 1025]), &large, FrameTooLarge),
        bad("a hello that does not decode", hello(&[3, 0, 0, 0, 0, 0, 0, 0, b'x']), &broken, ProtocolError),
        bad("a hello of gigabytes", hello(&[0, 0, 0, 0xff, 0, 0, 0, 0]), &broken, ProtocolError),
        bad("a hello with more behind it", hello(&[0; 9]), &broken, ProtocolError),
        bad("a second hello", greeted(&greeting()[PREFACE_BYTES..]), &broken, ProtocolError),
        bad(
            "a kind nobody knows",
            greeted(&with_byte(head(0, FrameKind::Ping, 0), 4, 200)),
            &broken,
            ProtocolError,
        ),
        bad(
            "a reserved flag",
            greeted(&with_byte(head(0, FrameKind::Ping, 0), 5, 2)),
            &broken,
            ProtocolError,
        ),
        bad(
            "a status nobody knows",
            greeted(&frame(FrameKind::Reply, 999, 1, &[0; 12])),
            &broken,
            ProtocolError,
        ),
        bad("a goaway from a client", greeted(&frame(FrameKind::GoAway, 21, 0, &[])), &broken, ProtocolError),
    ]
}

/// Calls that are refused on a connection that goes on.
fn refusals(length: u16, methods: u16) -> Vec<Bad> {
    let call = |method, flags, arguments: &[u8]| greeted(&call_frame(9, method, flags, 0, arguments));
    let unknown = [(FrameKind::Reply, Status::UnknownMethod)];
    let wrong = [(FrameKind::Reply, Status::BadRequest)];
    let text = |claim: u64, text: &[u8]| [&claim.to_le_bytes()[..], text].concat();
    let short = CallPrelude { session: 0, deadline_ms: 0 }.write()[..5].to_vec();
    vec![
        bad("method 0", call(0, Flags::NONE, b""), &unknown, None),
        bad("a method above the last", call(methods + 1, Flags::NONE, b""), &unknown, None),
        bad("method 65535", call(u16::MAX, Flags::JSON, b"1"), &unknown, None),
        bad("a prelude cut short", greeted(&frame(FrameKind::Call, length, 9, &short)), &wrong, None),
        bad("no body at all", greeted(&frame(FrameKind::Call, length, 9, b"")), &wrong, None),
        bad("arguments cut short", call(length, Flags::NONE, &text(5, b"abc")), &wrong, None),
        bad("arguments that do not decode", call(length, Flags::NONE, &text(2, &[0xff, 0xfe])), &wrong, None),
        bad("bytes left over", call(length, Flags::NONE, &text(2, b"abc")), &wrong, None),
        bad("a length of 4 GiB", call(length, Flags::NONE, &text(1 << 32, b"abc")), &wrong, None),
        bad("the largest length", call(length, Flags::NONE, &text(u64::MAX, b"abc")), &wrong, None),
        bad("JSON of another type", call(length, Flags::JSON, b"{\"a\":1}"), &wrong, None),
        bad("JSON cut short", call(length, Flags::JSON, b"\"abc"), &wrong, None),
        bad("JSON with more behind it", call(length, Flags::JSON, b"\"abc\" 1"), &wrong, None),
        bad("bincode called JSON", call(length, Flags::JSON, &text(1, b"a")), &wrong, None),
        bad("a deep nest of JSON", call(length, Flags::JSON, &[b'['; 100_000]), &wrong, None),
    ]
}

#[test]
fn each_bad_input_has_its_answer_and_its_counter() {
    let server = start("", &Arc::default());
    let mut control = Raw::connect(server.address());
    let (length, methods) = (control.number("test.length"), control.welcome.methods.len() as u16);
    let stats = server.ports()[0].stats();
    for bad in fatal().into_iter().chain(refusals(length, methods)) {
        let name = bad.name;
        let closed_before = bad.closed.map(|reason| stats.closed_for(reason));
        let answered_before: Vec<u64> = Status::ALL.iter().map(|status| stats.answered(*status)).collect();
        let (calls_before, open_before) = (stats.calls.get(), stats.open());
        let mut stream = connect(server.address());
        stream.write_all(&bad.bytes).unwrap();
        if bad.bytes.starts_with(&greeting()) {
            assert_eq!(read_frame(&mut stream).expect("a Welcome").header.kind, FrameKind::Welcome, "{name}");
        }
        for (kind, status) in &bad.replies {
            let frame = read_frame(&mut stream).unwrap_or_else(|| panic!("{name}: no {kind:?}"));
            assert_eq!((frame.header.kind, frame.status()), (*kind, *status), "{name}");
            if *kind == FrameKind::Reply {
                assert_eq!(frame.header.call, 9, "{name}");
                let (_, fault) = frame.result::<()>().expect_err("a fault");
                assert!(!fault.message.is_empty() && fault.message.len() < 500, "{name}: {}", fault.message);
            }
        }
        match (bad.closed, closed_before) {
            (Some(reason), Some(before)) => {
                assert!(read_frame(&mut stream).is_none(), "{name}: the connection is closed");
                drop(stream);
                wait_until(name, || stats.closed_for(reason) == before + 1);
            }
            _ => {
                stream.write_all(&frame(FrameKind::Ping, 0, 3, b"")).unwrap();
                assert_eq!(read_frame(&mut stream).expect("a Pong").header.kind, FrameKind::Pong, "{name}");
                drop(stream);
            }
        }
        wait_until("the connection has gone", || stats.open() == open_before);
        let refused = bad.replies.iter().filter(|(kind, _)| *kind == FrameKind::Reply);
        for (_, status) in refused.clone() {
            assert_eq!(stats.answered(*status), answered_before[status.index()] + 1, "{name}: counted");
        }
        assert_eq!(stats.calls.get(), calls_before + refused.count() as u64, "{name}: calls are counted");
        assert_eq!(control.call::<_, ()>("server.ping", &()), Ok(()), "{name}: others are not harmed");
    }
    wait_until("nothing is in flight", || server.in_flight() == 0);
    assert_eq!(stats.answered(Status::Panicked), 0);
    assert_eq!(server.stop().lost(), 0);
}

#[test]
fn a_body_cut_short_by_the_end_of_the_connection_is_counted() {
    let server = start("", &Arc::default());
    let stats = server.ports()[0].stats();
    let mut control = Raw::connect(server.address());
    let whole = greeted(&call_frame(1, 1, Flags::NONE, 0, &[0; 40]));
    for cut in [1, PREFACE_BYTES - 1, PREFACE_BYTES + 3, greeting().len() + HEADER_BYTES, whole.len() - 1] {
        let before = stats.closed_for(CloseReason::PeerClosedMidFrame);
        let mut stream = connect(server.address());
        stream.write_all(&whole[..cut]).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).expect("a clean end, no reset");
        wait_until("the cut frame is counted", || {
            stats.closed_for(CloseReason::PeerClosedMidFrame) == before + 1
        });
        assert_eq!(control.call::<_, ()>("server.ping", &()), Ok(()));
    }
    let before = stats.closed_for(CloseReason::PeerClosed);
    drop(Raw::connect(server.address()));
    wait_until("a tidy end is counted", || stats.closed_for(CloseReason::PeerClosed) == before + 1);
    assert_eq!(stats.calls.get(), 5, "only the control client's");
}

#[test]
fn a_byte_at_a_time_is_served() {
    let server = start("", &Arc::default());
    let mut stream = connect(server.address());
    let length = Raw::connect(server.address()).number("test.length");
    for byte in greeted(&call_frame(5, length, Flags::JSON, 0, b"\"hello\"")) {
        stream.write_all(&[byte]).unwrap();
    }
    assert_eq!(read_frame(&mut stream).unwrap().header.kind, FrameKind::Welcome);
    assert_eq!(read_frame(&mut stream).unwrap().result::<u64>(), Ok(5));
}

#[test]
fn a_reset_in_the_middle_of_a_frame_harms_nobody() {
    let server = start("", &Arc::default());
    let stats = server.ports()[0].stats();
    let mut control = Raw::connect(server.address());
    for round in 1..=20 {
        let mut client = Raw::connect(server.address());
        client.stream.write_all(&head(5000, FrameKind::Call, 1)).unwrap();
        client.stream.write_all(&vec![0; 250 * round as usize % 5000]).unwrap();
        reset(client.stream);
        wait_until("the reset is counted", || stats.closed_for(CloseReason::SocketError) == round);
        assert_eq!(control.call::<_, ()>("server.ping", &()), Ok(()));
    }
    assert_eq!(stats.open(), 1);
}

#[test]
fn a_reset_in_the_middle_of_a_call_gives_everything_back() {
    let gate = Arc::new(Gate::default());
    let server = start("Server_Pool_Tasks=10\nServer_Max_Concurrent_Trans=10", &gate);
    let stats = server.ports()[0].stats();
    let mut control = Raw::connect(server.address());
    let mut clients: Vec<Raw> = (0..8).map(|_| Raw::connect(server.address())).collect();
    for client in &mut clients {
        client.send("test.wait", &());
    }
    wait_until("all handlers run", || gate.inside() == 8);
    for client in clients {
        reset(client.stream);
    }
    wait_until("all resets are counted", || stats.closed_for(CloseReason::SocketError) == 8);
    assert_eq!(control.call::<_, ()>("server.ping", &()), Ok(()));
    gate.open();
    wait_until("all permits are home", || server.in_flight() == 0 && server.permits_out() == 0);
    assert_eq!((stats.calls.get(), stats.answers.sum(), stats.open()), (9, 9, 1));
}

/// A handler that ends after its connection broke the protocol finds a socket that takes no more bytes. The reason of
/// the end is still what the peer did.
#[test]
fn the_reason_of_an_end_survives_replies_that_come_late() {
    let gate = Arc::new(Gate::default());
    let server = start("", &gate);
    let stats = server.ports()[0].stats();
    let mut client = Raw::connect(server.address());
    client.send("test.wait", &());
    wait_until("the handler runs", || gate.inside() == 1);
    client.stream.write_all(&frame(FrameKind::Pong, 0, 1, b"")).unwrap();
    assert_eq!(client.read().expect("a GoAway").status(), Status::ProtocolError);
    gate.open();
    wait_until("the connection is closed", || stats.open() == 0);
    assert_eq!(stats.closed_for(CloseReason::ProtocolError), 1);
    assert_eq!(stats.closed_for(CloseReason::SocketError), 0);
    wait_until("the call is counted", || server.in_flight() == 0);
}

#[test]
fn a_stream_of_noise_from_many_peers_harms_nobody() {
    let server = start("", &Arc::default());
    let stats = server.ports()[0].stats();
    let mut control = Raw::connect(server.address());
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    for round in 0..200usize {
        let noise = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        });
        let noise: Vec<u8> = noise.take(300).collect();
        let bytes = if round % 4 == 0 { noise } else { greeted(&noise) };
        let mut stream = connect(server.address());
        // The server may have closed already.
        stream.write_all(&bytes).and_then(|()| stream.shutdown(Shutdown::Write)).ok();
        std::io::copy(&mut stream, &mut std::io::sink()).ok();
    }
    wait_until("all are gone", || stats.open() == 1);
    assert_eq!(stats.closed.sum(), 200, "each for a reason");
    assert_eq!(control.call::<_, ()>("server.ping", &()), Ok(()));
    assert_eq!(stats.answered(Status::Panicked), 0);
}

#[test]
fn the_bound_of_a_frame_is_exact_and_counts_the_header() {
    let server = start("Server_Max_Frame_KB=2", &Arc::default());
    let mut client = Raw::connect(server.address());
    assert_eq!(client.welcome.body_bytes_max as usize, 2048 - HEADER_BYTES);
    let (echo, ping) = (client.number("server.echo"), client.number("server.ping"));
    let arguments = 2048 - HEADER_BYTES - REPLY_PRELUDE_BYTES;
    for (size, status) in [(arguments, Status::Ok), (arguments + 1, Status::BadResponse)] {
        client.stream.write_all(&call_frame(1, echo, Flags::NONE, 0, &vec![0; size])).unwrap();
        let reply = client.read().expect("a reply");
        assert_eq!(reply.status(), status, "{size} bytes");
        assert!(reply.body.len() <= 2048 - HEADER_BYTES);
    }
    let arguments = 2048 - HEADER_BYTES - CALL_PRELUDE_BYTES;
    for (size, status) in [(arguments, Status::BadRequest), (arguments + 1, Status::TooLarge)] {
        client.stream.write_all(&call_frame(1, ping, Flags::NONE, 0, &vec![0; size])).unwrap();
        assert_eq!(client.read().expect("a reply").status(), status, "{size} bytes");
    }
    assert_eq!(client.read().expect("a GoAway").status(), Status::TooLarge);
}

/// The JSON decoder puts a string of the wrong type into its message, whole.
#[test]
fn a_message_is_short_whatever_it_is_made_of() {
    const TALK: Method<u32, ()> = Method::new("test.talk");
    let server = server("")
        .handle(TALK, |_, n| Err(ApplicationError::new(n, "\u{e9}".repeat(5 << 20)).into()))
        .start()
        .unwrap();
    let mut client = Raw::connect(server.address());
    let talk = client.number("test.talk");
    let text = format!("\"{}\"", "x".repeat(1 << 20));
    for (arguments, status) in [(text.as_str(), Status::BadRequest), ("7", Status::Application)] {
        client.stream.write_all(&call_frame(1, talk, Flags::JSON, 0, arguments.as_bytes())).unwrap();
        let (found, fault) = client.read().expect("a reply").result::<()>().expect_err("a fault");
        assert_eq!(found, status);
        assert!(fault.message.len() <= FAULT_MESSAGE_BYTES_MAX, "{} bytes", fault.message.len());
        assert!(fault.message.len() > FAULT_MESSAGE_BYTES_MAX / 2, "the beginning is kept");
    }
}
