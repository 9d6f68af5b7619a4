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

use super::answer::{Answer, AnswerBody};
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

/// An answer of at least this size keeps the buffer that it was read into; a smaller one is copied out of it.
const WHOLE_BYTES_MIN: usize = 16 << 10;

/// Largest buffer that is kept while no large answer is on its way.
pub(crate) const BUFFER_BYTES_MAX: usize = 256 << 10;

/// A large buffer is given back after so many fillings for which a small one would have done.
const SMALL_FILLINGS_MAX: u32 = 64;

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
    /// Fillings in succession for which [`SPACE_BYTES`] would have been enough.
    small_fillings: u32,
    /// The buffer of an earlier large answer, once that was decoded.
    spare: Vec<u8>,
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
            small_fillings: 0,
            spare: Vec::new(),
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
            if self.buffer.len() < SPACE_BYTES || self.is_too_large() {
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
        self.small_fillings = if self.end <= SPACE_BYTES { self.small_fillings + 1 } else { 0 };
        assert!(self.end <= self.buffer.len(), "more bytes were filled than there was space for");
    }

    /// Returns a buffer for use again: see [`AnswerBody::into_buffer`].
    pub(crate) fn give_buffer(&mut self, buffer: Vec<u8>) {
        self.spare = buffer;
    }

    /// Returns whether the buffer has grown for answers such as no longer come.
    fn is_too_large(&self) -> bool {
        self.buffer.len() > BUFFER_BYTES_MAX
            || self.buffer.len() > SPACE_BYTES && self.small_fillings >= SMALL_FILLINGS_MAX
    }

    /// Releases the buffer's memory if it holds no bytes; the next use of the space allocates it again.
    pub fn release(&mut self) {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            (self.buffer, self.small_fillings) = (Vec::new(), 0);
            self.spare = Vec::new();
        }
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
        // The bytes behind it have to be copied instead, so they must not be more.
        let whole = header.body_bytes as usize >= WHOLE_BYTES_MIN && 2 * end >= bytes.len();
        if header.kind == FrameKind::Reply && whole {
            return self.take_answer(&header, end).map(Some);
        }
        let event = self.read(&header, &bytes[HEADER_BYTES..end])?;
        self.open |= matches!(event, Event::Welcome(_));
        self.start += end;
        Ok(Some(event))
    }

    /// Takes the answer that ends at `end` with its buffer, which is replaced by the spare one.
    fn take_answer(&mut self, header: &Header, end: usize) -> Result<Event, WireError> {
        let (times, result) = ReplyPrelude::split(&self.buffer[self.start + HEADER_BYTES..self.start + end])?;
        let body = self.start + end - result.len()..self.start + end;
        let rest = &self.buffer[body.end..self.end];
        let mut next = std::mem::take(&mut self.spare);
        if next.len() < SPACE_BYTES.max(rest.len()) {
            next = vec![0; SPACE_BYTES.max(rest.len())];
        }
        next[..rest.len()].copy_from_slice(rest);
        (self.start, self.end) = (0, rest.len());
        let buffer = std::mem::replace(&mut self.buffer, next);
        Ok(Event::Answer(Answer {
            call: header.call,
            status: header.code,
            codec: Codec::of(header.flags),
            times,
            body: AnswerBody::whole(buffer, body),
        }))
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
                    body: AnswerBody::copy(result),
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
mod tests;
