//! The client's half of one connection's protocol, sans-IO: bytes in, events out; frames to send as bytes.
//!
//! Handshake -> Open. The user, in turn, fills [`ClientProtocol::space`], reports how much came by
//! [`ClientProtocol::filled`], and takes [`ClientProtocol::next_event`] until there is none.
//!
//! Invariants: `start <= end <= buffer.len()`. The buffer grows only when it is full of bytes that have arrived,
//! never by what a header claims. A frame that is not allowed is refused at its header. An error is sticky: after
//! it the same error is returned for ever, however the bytes were cut.
//!
//! Knows frames; knows no sockets, threads or clock, nor which calls are in flight: the user drops an answer to a call
//! that is not.

use crate::service::{Fault, check_method_name};
use crate::wire::body::{Hello, Welcome};
use crate::wire::limits::{
    BODY_BYTES_MAX, CALL_PRELUDE_BYTES, CONTROL_BODY_BYTES_MAX, HEADER_BYTES, SIGNAL_BODY_BYTES_MAX,
};
use crate::wire::{
    CallPrelude, Chain, Codec, Flags, FrameKind, Header, Preface, ReplyPrelude, VERSION, WireError,
    peek_frame,
};

/// Bytes of the buffer while no large frame is on its way.
const SPACE_BYTES: usize = 32 << 10;

/// The answer to one call, as received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Number of the call.
    pub call: u64,
    /// Number of the status; may be one this build does not know.
    pub status: u16,
    /// Codec of the result.
    pub codec: Codec,
    /// Time that the transaction took.
    pub times: ReplyPrelude,
    /// The encoded result or fault.
    pub body: Vec<u8>,
}

/// Frame of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Reply to the Hello; always the first event, unless that is a GoAway.
    Welcome(Welcome),
    /// An answer.
    Answer(Answer),
    /// An answer over the limit; its bytes are dropped as they arrive.
    Oversized {
        /// Number of the call.
        call: u64,
        /// Size of the body.
        bytes: u64,
    },
    /// Reply to the Ping of this number.
    Pong(u64),
    /// The server takes no further calls on this connection. Answers may still come.
    GoAway {
        /// Number of the status; may be one this build does not know.
        status: u16,
        /// The reason.
        fault: Fault,
    },
}

/// One connection's protocol state, and the bytes that are not yet a whole frame.
#[derive(Debug)]
pub struct ClientProtocol {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Bytes of an oversized answer still to come.
    skip: usize,
    /// Whether the Welcome has come.
    open: bool,
    answer_bytes_max: usize,
    broken: Option<WireError>,
}

impl ClientProtocol {
    /// State of a connection on which nothing has come yet. `answer_bytes_max` limits the body of a Reply, as does
    /// [`BODY_BYTES_MAX`].
    pub fn new(answer_bytes_max: usize) -> ClientProtocol {
        ClientProtocol {
            buffer: vec![0; SPACE_BYTES],
            start: 0,
            end: 0,
            skip: 0,
            open: false,
            answer_bytes_max: answer_bytes_max.min(BODY_BYTES_MAX),
            broken: None,
        }
    }

    /// Space for the next bytes; never empty once [`ClientProtocol::next_event`] has returned `None`.
    pub fn space(&mut self) -> &mut [u8] {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            if self.buffer.len() > SPACE_BYTES {
                self.buffer = vec![0; SPACE_BYTES];
            }
        }
        if self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.end == self.buffer.len() {
            // The buffer is full of one unfinished frame, which is no larger than this.
            let bytes = (2 * self.buffer.len()).min(HEADER_BYTES + BODY_BYTES_MAX);
            self.buffer.resize(bytes, 0);
        }
        &mut self.buffer[self.end..]
    }

    /// Reports that `bytes` were written to the front of the space.
    pub fn filled(&mut self, bytes: usize) {
        self.end += bytes;
        assert!(self.end <= self.buffer.len(), "more bytes were filled than there was space for");
    }

    /// Bytes that are no event yet; after an error, from the wrong frame on.
    pub(crate) fn unread(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// The next event; `None` while more bytes are needed.
    ///
    /// # Errors
    /// The server violates the protocol: the connection is of no more use.
    pub fn next_event(&mut self) -> Result<Option<Event>, WireError> {
        if let Some(error) = &self.broken {
            return Err(error.clone());
        }
        self.step().inspect_err(|error| self.broken = Some(error.clone()))
    }

    fn step(&mut self) -> Result<Option<Event>, WireError> {
        let skipped = self.skip.min(self.end - self.start);
        self.start += skipped;
        self.skip -= skipped;
        let bytes = &self.buffer[self.start..self.end];
        // Before `peek_frame`, so that the body of a frame that is not allowed is not waited for.
        if let Some(head) = bytes.first_chunk() {
            let http = |error| if !self.open && head.starts_with(b"HTTP/") { WireError::Http } else { error };
            self.check_order(Header::read(head).map_err(http)?.kind)?;
        }
        let header = match peek_frame(bytes, |header| self.limit(header.kind)) {
            Ok(None) => return Ok(None),
            Ok(Some(header)) => header,
            Err((error, header)) => return self.oversized(error, header).map(Some),
        };
        let end = HEADER_BYTES + header.body_bytes as usize;
        let event = self.read(&header, &bytes[HEADER_BYTES..end])?;
        self.open |= matches!(event, Event::Welcome(_));
        self.start += end;
        Ok(Some(event))
    }

    fn check_order(&self, kind: FrameKind) -> Result<(), WireError> {
        match (kind, self.open) {
            (FrameKind::Welcome, false)
            | (FrameKind::Reply | FrameKind::Pong, true)
            | (FrameKind::GoAway, _) => Ok(()),
            (kind, _) => Err(WireError::UnexpectedKind(kind)),
        }
    }

    fn limit(&self, kind: FrameKind) -> usize {
        match kind {
            FrameKind::Reply => self.answer_bytes_max,
            FrameKind::Welcome | FrameKind::GoAway => CONTROL_BODY_BYTES_MAX,
            _ => SIGNAL_BODY_BYTES_MAX,
        }
    }

    /// Handles an answer over this client's own limit: if it is not over the protocol's, it costs only its call.
    fn oversized(&mut self, error: WireError, header: Option<Header>) -> Result<Event, WireError> {
        match header {
            Some(header)
                if header.kind == FrameKind::Reply && header.body_bytes as usize <= BODY_BYTES_MAX =>
            {
                self.start += HEADER_BYTES;
                self.skip = header.body_bytes as usize;
                Ok(Event::Oversized { call: header.call, bytes: header.body_bytes.into() })
            }
            _ => Err(error),
        }
    }

    fn read(&self, header: &Header, body: &[u8]) -> Result<Event, WireError> {
        Ok(match header.kind {
            FrameKind::Welcome if header.code != VERSION => {
                return Err(WireError::UnsupportedVersion { lowest: header.code, highest: header.code });
            }
            FrameKind::Welcome => Event::Welcome(checked(Codec::Bincode.decode(body)?)?),
            FrameKind::Reply => {
                let (times, result) = ReplyPrelude::split(body)?;
                Event::Answer(Answer {
                    call: header.call,
                    status: header.code,
                    codec: Codec::of(header.flags),
                    times,
                    body: result.to_vec(),
                })
            }
            FrameKind::Pong => Event::Pong(header.call),
            FrameKind::GoAway => Event::GoAway { status: header.code, fault: Codec::Bincode.decode(body)? },
            other => return Err(WireError::UnexpectedKind(other)),
        })
    }
}

/// Checks the method names of a Welcome: they are shown in messages, so anything but names is refused.
fn checked(welcome: Welcome) -> Result<Welcome, WireError> {
    for entry in &welcome.methods {
        if entry.number == 0 || check_method_name(&entry.name).is_err() {
            return Err(WireError::Undecodable(format!("method {} has an invalid name", entry.number)));
        }
    }
    Ok(welcome)
}

/// The client's first bytes: preface and Hello. `client` is its name.
///
/// # Panics
/// If the name is 4 GiB or longer; the client's options limit it to 256 bytes.
pub fn greeting(client: &str) -> Vec<u8> {
    let mut body = Vec::new();
    let hello = Hello { client: client.to_owned() };
    Codec::Bincode.encode(&hello, &mut body).expect("text always encodes");
    let body_bytes = u32::try_from(body.len()).expect("a client's name is short");
    let header = Header { body_bytes, kind: FrameKind::Hello, flags: Flags::NONE, code: 0, call: 0 };
    [&Preface::OURS.write()[..], &header.write(), &body].concat()
}

/// A Call without its id, session and deadline, which [`stamp_call`] writes. `write` appends the arguments; the body
/// may have `bytes_max` bytes.
///
/// # Errors
/// Those of `write`, and [`WireError::TooLarge`].
pub fn call(
    method: u16,
    codec: Codec,
    chain: Option<&Chain>,
    bytes_max: usize,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), WireError>,
) -> Result<Vec<u8>, WireError> {
    let mut frame = Vec::with_capacity(128);
    frame.resize(HEADER_BYTES + CALL_PRELUDE_BYTES, 0);
    if let Some(chain) = chain {
        chain.write(&mut frame)?;
    }
    write(&mut frame)?;
    let bytes = frame.len() - HEADER_BYTES;
    let too_large = WireError::TooLarge { bytes: bytes as u64, limit: bytes_max as u64 };
    let body_bytes = u32::try_from(bytes).map_err(|_| too_large.clone())?;
    if bytes > bytes_max {
        return Err(too_large);
    }
    let nested = if chain.is_some() { Flags::NESTED } else { Flags::NONE };
    let flags = codec.flags().with(nested);
    let header = Header { body_bytes, kind: FrameKind::Call, flags, code: method, call: 0 };
    frame[..HEADER_BYTES].copy_from_slice(&header.write());
    Ok(frame)
}

/// Writes the id, the session and the milliseconds left (0: no deadline) into a frame made by [`call`].
pub fn stamp_call(frame: &mut [u8], call: u64, session: u32, deadline_ms: u32) {
    const ID: std::ops::Range<usize> = HEADER_BYTES - 8..HEADER_BYTES;
    frame[ID].copy_from_slice(&call.to_le_bytes());
    let prelude = CallPrelude { session, deadline_ms };
    frame[HEADER_BYTES..HEADER_BYTES + CALL_PRELUDE_BYTES].copy_from_slice(&prelude.write());
}

/// A frame that is nothing but its header: Cancel or Ping.
pub fn signal(kind: FrameKind, call: u64) -> [u8; HEADER_BYTES] {
    debug_assert!(
        matches!(kind, FrameKind::Cancel | FrameKind::Ping),
        "other frames have a body or are the server's"
    );
    Header { body_bytes: 0, kind, flags: Flags::NONE, code: 0, call }.write()
}

/// The frames it receives are written by the code of the server.
#[cfg(all(test, feature = "server"))]
mod tests {
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
        for kind in
            [FrameKind::Hello, FrameKind::Welcome, FrameKind::Call, FrameKind::Cancel, FrameKind::Ping]
        {
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
            assert!(
                matches!(feed([&stream[..]], usize::MAX).1, Some(WireError::TooLarge { .. })),
                "{kind:?}"
            );
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
        assert!(matches!(&events[1], Event::Answer(answer) if answer.body == body));
        assert!(matches!(&events[2], Event::Answer(answer) if answer.body == b"x"));
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
}
