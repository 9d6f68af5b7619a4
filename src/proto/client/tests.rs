//! Tests of the client's half of the protocol: streams cut anywhere, limits, frames that are not allowed.

use super::*;
use crate::proto;
use crate::service::{Refusal, Status};
use crate::wire::body::MethodEntry;
use crate::wire::limits::REPLY_PRELUDE_BYTES;

fn entry(number: u16, name: &str) -> MethodEntry {
    MethodEntry { number, name: name.to_owned(), fingerprint: 0 }
}

fn welcome() -> Vec<u8> {
    proto::welcome("test".to_owned(), 4096, vec![entry(1, "a.b"), entry(2, "a.c")])
}

fn reply(call: u64, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    proto::reply(call, Codec::Bincode, &mut out, |out| {
        out.extend_from_slice(body);
        (Status::Ok, ReplyPrelude { queue_wait_us: 1, permit_wait_us: 2, run_us: 3 })
    });
    out
}

fn header(kind: FrameKind, body_bytes: u32) -> [u8; HEADER_BYTES] {
    Header { body_bytes, kind, flags: Flags::NONE, code: 0, call: 5 }.write()
}

/// Feeds the parts to a new connection. Returns all events, and the error that ends them.
fn feed<'a>(parts: impl IntoIterator<Item = &'a [u8]>, bound: usize) -> (Vec<Event>, Option<WireError>) {
    let (mut protocol, mut events) = (ClientProtocol::new(bound), Vec::new());
    for mut part in parts {
        while !part.is_empty() {
            let space = protocol.space();
            let some = part.len().min(space.len());
            space[..some].copy_from_slice(&part[..some]);
            protocol.filled(some);
            part = &part[some..];
            loop {
                match protocol.next_event() {
                    Ok(Some(event)) => events.push(event),
                    Ok(None) => break,
                    Err(error) => {
                        assert_eq!(protocol.next_event(), Err(error.clone()), "an error is sticky");
                        return (events, Some(error));
                    }
                }
            }
        }
    }
    (events, None)
}

fn whole_of(stream: &[u8]) -> (Vec<Event>, Option<WireError>) {
    feed([stream], usize::MAX)
}

fn whole(stream: &[u8]) -> (Vec<Event>, Option<WireError>) {
    feed([stream], 1000)
}

/// A stream with every frame that a server may send.
fn everything() -> Vec<u8> {
    let mut stream = welcome();
    stream.extend(reply(1, b"one"));
    stream.extend(header(FrameKind::Pong, 0));
    stream.extend(reply(2, &[7; 1001 - REPLY_PRELUDE_BYTES]));
    stream.extend(reply(3, b""));
    proto::goaway(&Refusal::new(Status::Draining, "bye"), &mut stream);
    stream.extend(reply(4, b"late"));
    stream
}

#[test]
fn a_stream_cut_anywhere_gives_the_same_events() {
    let good = everything();
    let bad = [&good[..], &[9; HEADER_BYTES]].concat();
    let short = [&good[..], &header(FrameKind::Reply, 11), &[0; 11]].concat();
    for stream in [good, bad, short] {
        let expected = whole(&stream);
        assert_eq!(expected.0.len(), 7);
        for cut in 0..=stream.len() {
            assert_eq!(feed([&stream[..cut], &stream[cut..]], 1000), expected, "cut at {cut}");
        }
        assert_eq!(feed(stream.chunks(1), 1000), expected, "a byte at a time");
    }
}

#[test]
fn an_oversized_answer_costs_only_its_call() {
    let (events, error) = whole(&everything());
    assert_eq!(error, None);
    assert_eq!(events[3], Event::Oversized { call: 2, bytes: 1001 });
    let Event::Answer(answer) = &events[4] else { panic!("{:?}", events[4]) };
    assert_eq!((answer.call, answer.body.len(), answer.times.run_us), (3, 0, 3));
}

#[test]
fn frames_that_are_not_allowed_are_refused_at_their_header() {
    for kind in [
        FrameKind::Hello,
        FrameKind::Call,
        FrameKind::Cancel,
        FrameKind::Ping,
        FrameKind::Reply,
        FrameKind::Pong,
    ] {
        let expected = (Vec::new(), Some(WireError::UnexpectedKind(kind)));
        assert_eq!(whole(&header(kind, u32::MAX)), expected, "before the Welcome");
    }
    for kind in [FrameKind::Hello, FrameKind::Welcome, FrameKind::Call, FrameKind::Cancel, FrameKind::Ping] {
        let stream = [&welcome()[..], &header(kind, 7)].concat();
        assert_eq!(whole(&stream).1, Some(WireError::UnexpectedKind(kind)), "after the Welcome");
    }
}

#[test]
fn an_http_server_is_recognized_by_its_first_word() {
    let answer = b"HTTP/1.1 400 Bad Request\r\n\r\n";
    assert_eq!(whole(answer), (Vec::new(), Some(WireError::Http)));
    let later = [&welcome()[..], answer].concat();
    assert_eq!(whole(&later).1, Some(WireError::ReservedFlags(b'1')));
}

#[test]
fn a_claimed_length_costs_no_memory() {
    let claims = [(FrameKind::Pong, 65), (FrameKind::GoAway, 1 << 25), (FrameKind::Reply, u32::MAX)];
    for (kind, claim) in claims {
        let stream = [&welcome()[..], &header(kind, claim)].concat();
        assert!(matches!(feed([&stream[..]], usize::MAX).1, Some(WireError::TooLarge { .. })), "{kind:?}");
    }
    let mut protocol = ClientProtocol::new(usize::MAX);
    let stream = [&welcome()[..], &header(FrameKind::Reply, BODY_BYTES_MAX as u32)].concat();
    protocol.space()[..stream.len()].copy_from_slice(&stream);
    protocol.filled(stream.len());
    assert!(matches!(protocol.next_event(), Ok(Some(Event::Welcome(_)))));
    for _ in 0..3 {
        assert_eq!(protocol.next_event(), Ok(None));
        let space = protocol.space().len();
        protocol.filled(space);
        assert!(protocol.buffer.len() <= 2 * protocol.end, "memory grows with the bytes that arrived");
    }
}

#[test]
fn a_large_answer_arrives_whole_and_its_memory_is_freed() {
    let body: Vec<u8> = (0..1_000_000u32).map(|n| n as u8).collect();
    let stream = [welcome(), reply(1, &body), reply(2, b"x")].concat();
    let (events, error) = feed(stream.chunks(50_000), usize::MAX);
    assert_eq!(error, None);
    assert!(matches!(&events[1], Event::Answer(answer) if *answer.body == body[..]));
    assert!(matches!(&events[2], Event::Answer(answer) if *answer.body == *b"x"));
}

#[test]
fn the_buffer_of_a_large_answer_is_used_again_until_it_is_released() {
    let body = vec![7; 100_000];
    let (events, _) = whole_of(&[welcome(), reply(1, &body)].concat());
    let Some(Event::Answer(answer)) = events.into_iter().nth(1) else { panic!("no answer") };
    assert_eq!(*answer.body, body[..]);
    let buffer = answer.body.into_buffer().expect("a large answer keeps its buffer");
    let address = buffer.as_ptr();
    let mut protocol = ClientProtocol::new(usize::MAX);
    protocol.give_buffer(buffer);
    for byte in [welcome(), reply(2, &body), reply(3, b"x")].concat() {
        protocol.space()[0] = byte;
        protocol.filled(1);
        while let Ok(Some(_)) = protocol.next_event() {}
    }
    assert_eq!(protocol.buffer.as_ptr(), address, "it took the place of the second answer's");
    protocol.release();
    assert!(protocol.buffer.is_empty() && protocol.spare.is_empty());
    assert_eq!(protocol.space().len(), SPACE_BYTES);
}

#[test]
fn a_large_answer_before_more_than_itself_is_copied() {
    let (body, more) = (vec![7; 20_000], vec![8; 30_000]);
    let stream = [welcome(), reply(1, &vec![6; 200_000]), reply(2, &body), reply(3, &more)].concat();
    let (events, _) = whole_of(&stream);
    let buffers = events.into_iter().filter_map(|event| match event {
        Event::Answer(answer) => Some(answer.body.into_buffer().is_some()),
        _ => None,
    });
    assert_eq!(
        buffers.collect::<Vec<_>>(),
        [true, false, true],
        "what is behind an answer is copied at most once"
    );
}

#[test]
fn a_welcome_of_another_version_or_with_invalid_names_is_refused() {
    let mut other = welcome();
    other[6] = 9;
    let refused = WireError::UnsupportedVersion { lowest: 9, highest: 9 };
    assert_eq!(whole(&other).1, Some(refused));
    for bad in [entry(0, "a.b"), entry(1, "\x1b[2J"), entry(1, "a")] {
        let stream = proto::welcome("test".to_owned(), 1, vec![bad]);
        assert!(matches!(whole(&stream).1, Some(WireError::Undecodable(_))));
    }
}

#[test]
fn arguments_over_the_limit_make_no_frame() {
    let args = |n: usize| {
        call(1, Codec::Json, None, 20, |out: &mut Vec<u8>| {
            out.extend(vec![b' '; n]);
            Ok(())
        })
    };
    assert_eq!(args(12).map(|frame| frame.len()), Ok(HEADER_BYTES + 20));
    assert_eq!(args(13), Err(WireError::TooLarge { bytes: 21, limit: 20 }));
}
