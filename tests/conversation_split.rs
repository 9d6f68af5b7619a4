//! The server's half of the protocol without sockets: however a stream is peek_frame, the same calls, replies and end come
//! out; whatever a stream holds, nothing is read past its end and nothing is forgotten.
#![cfg(feature = "server")]

mod common;

use boneyard::internal::admission::{Admission, WINDOW_CALLS_MAX};
use boneyard::internal::metrics::{CloseReason, MethodsStats, PortStats, ServiceTimes};
use boneyard::internal::proto::{ProtocolClose, ReceiveContext, Received, ServerProtocol, welcome};
use boneyard::internal::wire::body::{Hello, MethodEntry};
use boneyard::internal::wire::limits::*;
use boneyard::internal::wire::{Codec, Flags, FrameKind, Header, Preface, peek_frame};
use boneyard::service::{Fault, Status};
use common::{Random, call_frame, frame, greeting};
use std::time::{Duration, Instant};

const METHODS: u16 = 3;
const BODY_BYTES_MAX_HERE: usize = 2048;

/// Id, method, codec, session, deadline in ms, arguments.
type Admitted = (u64, u16, Codec, u32, Option<u64>, Vec<u8>);

/// What a stream led to.
#[derive(Debug, PartialEq, Eq, Default)]
struct Outcome {
    calls: Vec<Admitted>,
    replies: Vec<u8>,
    cancels: Vec<u64>,
    left: Option<CloseReason>,
    unconsumed: usize,
}

/// A port as a conversation sees it.
struct Port {
    welcome: Vec<u8>,
    draining: bool,
    queue_room: usize,
    window_room: usize,
    now: Instant,
    stats: PortStats,
    methods: MethodsStats,
    paces: ServiceTimes,
}

impl Port {
    fn new() -> Port {
        let methods = (1..=METHODS)
            .map(|number| MethodEntry { number, name: format!("test.m{number}"), fingerprint: 0 })
            .collect();
        Port {
            welcome: welcome("test".to_owned(), BODY_BYTES_MAX_HERE as u32, methods),
            draining: false,
            queue_room: 1000,
            window_room: WINDOW_CALLS_MAX,
            now: Instant::now(),
            stats: PortStats::default(),
            methods: MethodsStats::new(METHODS.into()),
            paces: ServiceTimes::new(METHODS.into()),
        }
    }

    fn reception(&self, admitted: usize) -> ReceiveContext<'_> {
        ReceiveContext {
            welcome: &self.welcome,
            body_bytes_max: BODY_BYTES_MAX_HERE,
            admission: Admission {
                draining: self.draining,
                queue_room: self.queue_room.saturating_sub(admitted),
                ..Admission::open(METHODS, &self.paces)
            },
            window_room: self.window_room.saturating_sub(admitted),
            arrived: self.now,
            now: self.now,
            stats: &self.stats,
            methods: &self.methods,
        }
    }

    /// Feeds a stream in pieces that end at `cuts`, keeping what is not consumed, as a server does.
    fn feed(&self, stream: &[u8], cuts: &[usize]) -> Outcome {
        let (mut conversation, mut outcome) = (ServerProtocol::default(), Outcome::default());
        let (mut kept, mut from) = (Vec::new(), 0);
        for &to in cuts.iter().chain([&stream.len()]) {
            kept.extend_from_slice(&stream[from..to]);
            from = to;
            if outcome.left.is_none() {
                let used = self.offer(&mut conversation, &kept, &mut outcome);
                kept.drain(..used);
            }
        }
        outcome.unconsumed = if outcome.left.is_some() { 0 } else { kept.len() };
        outcome
    }

    fn offer(&self, conversation: &mut ServerProtocol, bytes: &[u8], outcome: &mut Outcome) -> usize {
        let mut intake = Received::default();
        let taken = conversation.receive(bytes, &self.reception(outcome.calls.len()), &mut intake);
        for call in &intake.calls {
            assert!(call.arguments_end() <= bytes.len(), "arguments lie within the bytes");
            let deadline = call.deadline.map(|at| at.duration_since(self.now).as_millis() as u64);
            let arguments = call.arguments_in(bytes).to_vec();
            outcome.calls.push((call.id, call.method, call.codec, call.session, deadline, arguments));
        }
        outcome.replies.extend(intake.replies);
        outcome.cancels.extend(intake.cancels);
        match taken {
            Ok(used) => {
                assert!(used <= bytes.len(), "no more is consumed than was given");
                used
            }
            Err(ProtocolClose(reason)) => {
                outcome.left = Some(reason);
                let mut after = Received::default();
                let reception = self.reception(0);
                assert_eq!(
                    conversation.receive(&greeting(), &reception, &mut after),
                    Ok(0),
                    "nothing after the end"
                );
                assert!(after.calls.is_empty() && after.replies.is_empty() && after.cancels.is_empty());
                0
            }
        }
    }
}

/// Frames of a stream of replies, all of it.
fn frames(mut bytes: &[u8]) -> Vec<(Header, Vec<u8>)> {
    let mut frames = Vec::new();
    while let Some(header) = peek_frame(bytes, |_| usize::MAX).expect("the server makes whole frames") {
        let end = HEADER_BYTES + header.body_bytes as usize;
        frames.push((header, bytes[HEADER_BYTES..end].to_vec()));
        bytes = &bytes[end..];
    }
    assert!(bytes.is_empty(), "half a frame is left over");
    frames
}

/// A stream, the port it goes to, and what must come of it: calls admitted, then what each reply frame is, then the
/// reason of the end.
struct Golden {
    name: &'static str,
    stream: Vec<u8>,
    port: Port,
    calls: usize,
    replies: Vec<(FrameKind, u16, u64)>,
    left: Option<CloseReason>,
}

fn hello_body(client: &str) -> Vec<u8> {
    let mut body = Vec::new();
    Codec::Bincode.encode(&Hello { client: client.to_owned() }, &mut body).unwrap();
    body
}

fn call(id: u64, method: u16, arguments: &[u8]) -> Vec<u8> {
    call_frame(id, method, Flags::NONE, 0, arguments)
}

fn claim(kind: FrameKind, flags: Flags, code: u16, call: u64, body_bytes: u32) -> Vec<u8> {
    Header { body_bytes, kind, flags, code, call }.write().to_vec()
}

/// A greeting and then `parts`.
fn open(parts: &[Vec<u8>]) -> Vec<u8> {
    [greeting(), parts.concat()].concat()
}

const WELCOME: (FrameKind, u16, u64) = (FrameKind::Welcome, 1, 0);

fn refused(status: Status, call: u64) -> (FrameKind, u16, u64) {
    (FrameKind::Reply, status.code(), call)
}

fn goaway(status: Status) -> (FrameKind, u16, u64) {
    (FrameKind::GoAway, status.code(), 0)
}

fn golden(
    name: &'static str,
    stream: Vec<u8>,
    calls: usize,
    replies: Vec<(FrameKind, u16, u64)>,
    left: Option<CloseReason>,
) -> Golden {
    Golden { name, stream, port: Port::new(), calls, replies, left }
}

fn answered() -> Vec<Golden> {
    let (ping, cancel) = (frame(FrameKind::Ping, 0, 77, b"any"), frame(FrameKind::Cancel, 0, 5, b""));
    let json = call_frame(6, 2, Flags::JSON, 1500, b"[1,2]");
    let several = open(&[call(5, 1, b"abc"), ping, json.clone(), cancel, call(u64::MAX, 3, b"")]);
    let mut full = golden(
        "queue full",
        open(&[call(1, 1, b"a"), call(2, 1, b"b"), call(3, 1, b"c"), json.clone()]),
        2,
        vec![WELCOME, refused(Status::QueueFull, 3), refused(Status::QueueFull, 6)],
        None,
    );
    full.port.queue_room = 2;
    let mut draining = golden(
        "draining",
        open(&[call(1, 1, b"a"), call(2, 99, b"")]),
        0,
        vec![WELCOME, refused(Status::Draining, 1), refused(Status::Draining, 2)],
        None,
    );
    draining.port.draining = true;
    let mut window =
        golden("window full", open(&[call(1, 1, b"a"), call(2, 1, b"b")]), 1, vec![WELCOME], None);
    window.port.window_room = 1;
    vec![
        golden("several", several, 3, vec![WELCOME, (FrameKind::Pong, 0, 77)], None),
        golden("nothing", Vec::new(), 0, vec![], None),
        golden(
            "unknown methods",
            open(&[call(1, 0, b""), call(2, METHODS + 1, b"x"), call_frame(3, 500, Flags::JSON, 0, b"1")]),
            0,
            (0..4u64).map(|n| if n == 0 { WELCOME } else { refused(Status::UnknownMethod, n) }).collect(),
            None,
        ),
        golden(
            "bad prelude",
            open(&[
                frame(FrameKind::Call, 1, 4, &[0; CALL_PRELUDE_BYTES - 1]),
                frame(FrameKind::Call, 1, 5, b""),
            ]),
            0,
            vec![WELCOME, refused(Status::BadRequest, 4), refused(Status::BadRequest, 5)],
            None,
        ),
        full,
        draining,
        window,
    ]
}

fn broken() -> Vec<Golden> {
    let protocol = |name, stream, calls, mut replies: Vec<_>| {
        replies.push(goaway(Status::ProtocolError));
        golden(name, stream, calls, replies, Some(CloseReason::ProtocolError))
    };
    let large = |name, stream, mut replies: Vec<_>| {
        replies.push(goaway(Status::TooLarge));
        golden(name, stream, 0, replies, Some(CloseReason::FrameTooLarge))
    };
    let with = |at: usize, byte: u8| {
        let mut bytes = open(&[call(1, 1, b"abc")]);
        let place = bytes.len() - (HEADER_BYTES + CALL_PRELUDE_BYTES + 3) + at;
        bytes[place] = byte;
        bytes
    };
    let newer = Preface { lowest: 2, highest: 9 }.write().to_vec();
    let older = Preface { lowest: 0, highest: 0 }.write().to_vec();
    let version = |name, stream: Vec<u8>| {
        let replies = vec![goaway(Status::UnsupportedVersion)];
        golden(name, stream, 0, replies, Some(CloseReason::UnsupportedVersion))
    };
    let hello = |body: &[u8]| [&Preface::OURS.write()[..], &frame(FrameKind::Hello, 0, 0, body)].concat();
    let too_large = claim(FrameKind::Call, Flags::NONE, 1, 9, BODY_BYTES_MAX_HERE as u32 + 1);
    vec![
        golden("bad magic", b"GET / HTTP/1.1\r\n\r\n".to_vec(), 0, vec![], Some(CloseReason::BadMagic)),
        version("newer versions only", [newer, greeting()].concat()),
        version("older versions only", older),
        protocol("unknown kind", with(4, 9), 0, vec![WELCOME]),
        protocol("reserved flag", with(5, 0x80), 0, vec![WELCOME]),
        protocol(
            "hello twice",
            open(&[call(1, 1, b""), greeting()[PREFACE_BYTES..].to_vec()]),
            1,
            vec![WELCOME],
        ),
        protocol("reply from a client", open(&[frame(FrameKind::Reply, 0, 1, &[0; 12])]), 0, vec![WELCOME]),
        protocol("call before hello", [&Preface::OURS.write()[..], &call(1, 1, b"")].concat(), 0, vec![]),
        protocol("hello that does not decode", hello(&[1, 0, 0, 0, 0, 0, 0, 0, 0xff]), 0, vec![]),
        protocol("hello with more behind", hello(&[hello_body("x"), vec![0]].concat()), 0, vec![]),
        protocol("hello that claims gigabytes", hello(&[0, 0, 0, 0xff, 0, 0, 0, 0, b'x']), 0, vec![]),
        large("oversized call", open(&[too_large]), vec![WELCOME, refused(Status::TooLarge, 9)]),
        large(
            "call of 4 GiB before hello",
            [&Preface::OURS.write()[..], &claim(FrameKind::Call, Flags::NONE, 1, 9, u32::MAX)].concat(),
            vec![],
        ),
        large("oversized hello", hello(&[0; HELLO_BODY_BYTES_MAX + 1]), vec![]),
        large(
            "oversized ping",
            open(&[claim(FrameKind::Ping, Flags::NONE, 0, 1, SIGNAL_BODY_BYTES_MAX as u32 + 1)]),
            vec![WELCOME],
        ),
        large(
            "oversized cancel",
            open(&[claim(FrameKind::Cancel, Flags::NONE, 0, 1, u32::MAX)]),
            vec![WELCOME],
        ),
    ]
}

#[test]
fn golden_streams_come_out_as_written() {
    for golden in answered().into_iter().chain(broken()) {
        let outcome = golden.port.feed(&golden.stream, &[]);
        let replies: Vec<_> = frames(&outcome.replies)
            .iter()
            .map(|(header, _)| (header.kind, header.code, header.call))
            .collect();
        assert_eq!(replies, golden.replies, "{}", golden.name);
        assert_eq!((outcome.calls.len(), outcome.left), (golden.calls, golden.left), "{}", golden.name);
    }
    let outcome = Port::new().feed(&answered()[0].stream, &[]);
    let expected = [
        (5, 1, Codec::Bincode, 0, None, b"abc".to_vec()),
        (6, 2, Codec::Json, 0, Some(1500), b"[1,2]".to_vec()),
        (u64::MAX, 3, Codec::Bincode, 0, None, Vec::new()),
    ];
    assert_eq!((outcome.calls, outcome.cancels, outcome.unconsumed), (expected.to_vec(), vec![5], 0));
}

#[test]
fn a_refusal_speaks_the_codec_of_its_call() {
    let outcome = Port::new().feed(&open(&[call(1, 0, b""), call_frame(2, 0, Flags::JSON, 0, b"1")]), &[]);
    for (header, body) in frames(&outcome.replies).into_iter().skip(1) {
        let codec = if header.call == 1 { Codec::Bincode } else { Codec::Json };
        assert_eq!(Codec::of(header.flags), codec);
        let fault: Fault = codec.decode(&body[REPLY_PRELUDE_BYTES..]).expect("a fault");
        assert!(fault.message.contains("number 0"), "{fault:?}");
    }
}

#[test]
fn a_stream_cut_anywhere_comes_out_the_same() {
    for golden in answered().into_iter().chain(broken()) {
        let whole = golden.port.feed(&golden.stream, &[]);
        for cut in 0..=golden.stream.len() {
            assert_eq!(golden.port.feed(&golden.stream, &[cut]), whole, "{} cut at {cut}", golden.name);
        }
        let every: Vec<usize> = (0..golden.stream.len()).collect();
        assert_eq!(golden.port.feed(&golden.stream, &every), whole, "{} byte by byte", golden.name);
    }
}

#[test]
fn a_stream_cut_twice_comes_out_the_same() {
    for golden in answered().into_iter().chain(broken()) {
        let whole = golden.port.feed(&golden.stream, &[]);
        let end = golden.stream.len().min(200);
        for first in 0..end {
            for second in first..end {
                let outcome = golden.port.feed(&golden.stream, &[first, second]);
                assert_eq!(outcome, whole, "{} cut at {first} and {second}", golden.name);
            }
        }
    }
}

#[test]
fn a_window_without_room_leaves_frames_where_they_are() {
    let (mut port, mut conversation, mut outcome) =
        (Port::new(), ServerProtocol::default(), Outcome::default());
    port.window_room = 0;
    let stream = open(&[call(1, 1, b""), frame(FrameKind::Ping, 0, 2, b"")]);
    assert_eq!(
        port.offer(&mut conversation, &stream, &mut outcome),
        PREFACE_BYTES,
        "the preface is no frame"
    );
    port.window_room = 1;
    let rest = &stream[PREFACE_BYTES..];
    let used = port.offer(&mut conversation, rest, &mut outcome);
    assert_eq!((used, outcome.calls.len()), (rest.len() - HEADER_BYTES, 1), "the ping waits behind the call");
    port.window_room = 2;
    assert_eq!(port.offer(&mut conversation, &rest[used..], &mut outcome), HEADER_BYTES);
    assert_eq!(frames(&outcome.replies).last().unwrap().0.kind, FrameKind::Pong);
}

/// Every kind in every state: what comes of it. What is not in the first list is forbidden, and the second list says
/// so pair by pair, so that a new kind or state cannot be let through in silence.
#[test]
fn every_kind_in_every_state_has_its_place() {
    let kinds = [
        FrameKind::Hello,
        FrameKind::Welcome,
        FrameKind::Call,
        FrameKind::Reply,
        FrameKind::Cancel,
        FrameKind::Ping,
        FrameKind::Pong,
        FrameKind::GoAway,
    ];
    let allowed = [
        ("hello", FrameKind::Hello),
        ("open", FrameKind::Call),
        ("open", FrameKind::Cancel),
        ("open", FrameKind::Ping),
    ];
    let forbidden = [
        ("hello", FrameKind::Welcome),
        ("hello", FrameKind::Call),
        ("hello", FrameKind::Reply),
        ("hello", FrameKind::Cancel),
        ("hello", FrameKind::Ping),
        ("hello", FrameKind::Pong),
        ("hello", FrameKind::GoAway),
        ("open", FrameKind::Hello),
        ("open", FrameKind::Welcome),
        ("open", FrameKind::Reply),
        ("open", FrameKind::Pong),
        ("open", FrameKind::GoAway),
    ];
    for (number, kind) in (1u8..).zip(kinds) {
        assert_eq!(kind as u8, number);
        let body = match kind {
            FrameKind::Hello => hello_body("x"),
            FrameKind::Call => vec![0; CALL_PRELUDE_BYTES],
            _ => Vec::new(),
        };
        for state in ["preface", "hello", "open"] {
            let before = match state {
                "preface" => Vec::new(),
                "hello" => Preface::OURS.write().to_vec(),
                _ => greeting(),
            };
            let outcome = Port::new().feed(&[before, frame(kind, 1, 7, &body)].concat(), &[]);
            let expected = if state == "preface" {
                Some(CloseReason::BadMagic)
            } else if allowed.contains(&(state, kind)) {
                None
            } else {
                assert!(forbidden.contains(&(state, kind)), "{state} {kind:?} is in neither list");
                Some(CloseReason::ProtocolError)
            };
            assert_eq!(outcome.left, expected, "{kind:?} in state {state}");
            let last = frames(&outcome.replies).last().map(|(header, _)| (header.kind, header.code));
            if expected == Some(CloseReason::ProtocolError) {
                assert_eq!(
                    last,
                    Some((FrameKind::GoAway, Status::ProtocolError.code())),
                    "{kind:?} in state {state}"
                );
            }
        }
    }
    assert_eq!(allowed.len() + forbidden.len(), 2 * kinds.len());
    // In the state after the end nothing is consumed and nothing answered: `offer` tries it after every Leave.
}

#[test]
fn a_peer_that_hangs_up_is_counted_by_what_it_left() {
    let conversation = ServerProtocol::default();
    assert_eq!(conversation.peer_closed(0), CloseReason::PeerClosed);
    assert_eq!(conversation.peer_closed(1), CloseReason::PeerClosedMidFrame);
}

/// A stream that may be good, damaged, or noise.
fn random_stream(random: &mut Random) -> Vec<u8> {
    let mut stream = match random.below(8) {
        0 => {
            let count = random.below(100);
            return random.bytes(count);
        }
        1 => Preface::OURS.write().to_vec(),
        _ => greeting(),
    };
    for _ in 0..random.below(12) {
        let (id, size) = (random.next(), random.below(60));
        let body = random.bytes(size);
        let (method, json) = (random.below(6) as u16, random.below(2) == 0);
        match random.below(8) {
            0 => stream.extend(frame(FrameKind::Ping, 0, id, &body)),
            1 => stream.extend(frame(FrameKind::Cancel, 0, id, b"")),
            2 => stream.extend(frame(FrameKind::Call, method, id, &body)),
            3 => stream.extend(body),
            _ => {
                let flags = if json { Flags::JSON } else { Flags::NONE };
                stream.extend(call_frame(id, method, flags, id as u32, &body));
            }
        }
    }
    for _ in 0..random.below(4) {
        let place = random.below(stream.len());
        match random.below(4) {
            0 => stream[place] = random.next() as u8,
            1 => stream[place] ^= 1 << random.below(8),
            2 => stream.truncate(place),
            _ => {}
        }
        if stream.is_empty() {
            break;
        }
    }
    stream
}

#[test]
fn noise_and_damaged_streams_break_nothing() {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0x00B0_4E5A_12D5_EED1);
    println!("SEED={seed}");
    let mut random = Random(seed);
    let (mut ended, mut admitted) = (0, 0);
    for case in 0..30_000 {
        let stream = random_stream(&mut random);
        let mut port = Port::new();
        port.draining = random.below(10) == 0;
        if random.below(4) == 0 {
            port.queue_room = random.below(5);
        }
        let mut cuts: Vec<usize> = (0..random.below(5)).map(|_| random.below(stream.len() + 1)).collect();
        cuts.sort_unstable();
        let outcome = port.feed(&stream, &cuts);
        let place = format!("SEED={seed}, case {case}");
        // Each frame of at least a header's size is answered with little; the greeting with a Welcome.
        let bound = port.welcome.len() + 512 + stream.len() / HEADER_BYTES * 256;
        assert!(outcome.replies.len() <= bound, "{place}: {} bytes of replies", outcome.replies.len());
        let replies = frames(&outcome.replies);
        let answers = replies.iter().filter(|(header, _)| header.kind == FrameKind::Reply).count() as u64;
        assert_eq!(port.stats.answers.sum(), answers, "{place}: refusals are counted");
        assert_eq!(
            port.stats.calls.get(),
            answers + outcome.calls.len() as u64,
            "{place}: calls are counted"
        );
        assert_eq!(port.stats.cancels.get(), outcome.cancels.len() as u64, "{place}");
        assert!(outcome.unconsumed <= stream.len());
        assert_eq!(port.feed(&stream, &[]), outcome, "{place}: the cuts change nothing");
        (ended, admitted) = (ended + u32::from(outcome.left.is_some()), admitted + outcome.calls.len());
    }
    // A generator that only makes noise, or none, would prove little.
    assert!(ended > 5_000 && ended < 29_000 && admitted > 10_000, "{ended} ended, {admitted} admitted");
}

#[test]
fn a_deadline_counts_from_the_moment_of_reading() {
    let port = Port::new();
    for (ms, expected) in [(0, None), (1, Some(1)), (u32::MAX, Some(u64::from(u32::MAX)))] {
        let outcome = port.feed(&open(&[call_frame(1, 1, Flags::NONE, ms, b"")]), &[]);
        assert_eq!(outcome.calls[0].4, expected);
    }
    assert!(port.now.elapsed() < Duration::from_secs(3600));
}
