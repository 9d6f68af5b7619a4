//! Header, preface and preludes of frames: fixed little-endian bytes, read and written by hand. Frames are found
//! without a look at their bodies.
//!
//! ```text
//! preface   0 "BNYD"  4 lowest version u16  6 highest version u16
//! header    0 body length u32  4 kind u8  5 flags u8  6 code u16  8 call id u64
//! Call      header, 0 session u32  4 deadline ms u32, [chain], arguments
//! Reply     header, 0 queue wait us u32  4 permit wait us u32  8 run time us u32, result
//! ```
//! `code` is a method number in a Call, a status in a Reply or GoAway, the version in a Welcome, else 0.
//! The body length counts everything after the header, preludes included.

use super::error::WireError;
use super::frame_kind::FrameKind;
use super::limits::{CALL_PRELUDE_BYTES, HEADER_BYTES, PREFACE_BYTES, REPLY_PRELUDE_BYTES, VERSION};

const MAGIC: [u8; 4] = *b"BNYD";

/// Flags of a frame. Bits without a meaning must be zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags(u8);

impl Flags {
    /// The arguments or result are JSON text rather than bincode.
    pub const JSON: Flags = Flags(0x01);
    /// The call was made by a handler: a [`Chain`](super::Chain) follows its prelude. For a Call only.
    pub const NESTED: Flags = Flags(0x02);
    /// No flag.
    pub const NONE: Flags = Flags(0);

    /// These flags and `other`'s.
    pub fn with(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    /// Returns whether all bits of `other` are set.
    pub fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }
}

/// The fixed part of every frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Bytes after this header.
    pub body_bytes: u32,
    /// Kind of the frame.
    pub kind: FrameKind,
    /// Format of the body.
    pub flags: Flags,
    /// Method number, status or version, by kind.
    pub code: u16,
    /// Id of the call, chosen by the client and returned by the server; 0 for frames that concern no call.
    pub call: u64,
}

impl Header {
    /// Reads a header.
    ///
    /// # Errors
    /// [`WireError::UnknownKind`], [`WireError::ReservedFlags`].
    pub fn read(bytes: &[u8; HEADER_BYTES]) -> Result<Header, WireError> {
        let [l0, l1, l2, l3, kind, flags, c0, c1, call @ ..] = *bytes;
        let nested = if kind == FrameKind::Call as u8 { Flags::NESTED } else { Flags::NONE };
        if flags & !Flags::JSON.with(nested).0 != 0 {
            return Err(WireError::ReservedFlags(flags));
        }
        Ok(Header {
            body_bytes: u32::from_le_bytes([l0, l1, l2, l3]),
            kind: FrameKind::from_byte(kind).ok_or(WireError::UnknownKind(kind))?,
            flags: Flags(flags),
            code: u16::from_le_bytes([c0, c1]),
            call: u64::from_le_bytes(call),
        })
    }

    /// The header as bytes.
    pub fn write(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0..4].copy_from_slice(&self.body_bytes.to_le_bytes());
        bytes[4] = self.kind as u8;
        bytes[5] = self.flags.0;
        bytes[6..8].copy_from_slice(&self.code.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.call.to_le_bytes());
        bytes
    }
}

/// Returns the header of the frame at the start of `bytes` if the frame is complete, `Ok(None)` if it is not; `limit`
/// gives the largest body allowed for a header.
///
/// Takes constant time, whatever the header claims.
///
/// # Errors
/// The header is wrong, or claims more than `limit` allows; in that case the header is returned too, so that the call
/// can still be answered.
pub fn peek_frame(
    bytes: &[u8],
    limit: impl Fn(&Header) -> usize,
) -> Result<Option<Header>, (WireError, Option<Header>)> {
    let Some(head) = bytes.first_chunk::<HEADER_BYTES>() else { return Ok(None) };
    let header = Header::read(head).map_err(|error| (error, None))?;
    let (claimed, limit) = (header.body_bytes as usize, limit(&header));
    if claimed > limit {
        return Err((WireError::TooLarge { bytes: claimed as u64, limit: limit as u64 }, Some(header)));
    }
    Ok((bytes.len() - HEADER_BYTES >= claimed).then_some(header))
}

/// The client's first eight bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preface {
    /// Lowest version the client speaks.
    pub lowest: u16,
    /// Highest version the client speaks.
    pub highest: u16,
}

impl Preface {
    /// The preface that this build sends.
    pub const OURS: Preface = Preface { lowest: VERSION, highest: VERSION };

    /// Reads the first bytes of a connection; returns `Ok(None)` while more are needed. A wrong magic is refused at its
    /// first wrong byte.
    ///
    /// # Errors
    /// [`WireError::BadMagic`], [`WireError::UnsupportedVersion`].
    pub fn read(bytes: &[u8]) -> Result<Option<Preface>, WireError> {
        let seen = bytes.len().min(MAGIC.len());
        if bytes[..seen] != MAGIC[..seen] {
            return Err(WireError::BadMagic);
        }
        let Some([_, _, _, _, l0, l1, h0, h1]) = bytes.first_chunk::<PREFACE_BYTES>().copied() else {
            return Ok(None);
        };
        let preface = Preface { lowest: u16::from_le_bytes([l0, l1]), highest: u16::from_le_bytes([h0, h1]) };
        if preface.lowest <= VERSION && VERSION <= preface.highest {
            Ok(Some(preface))
        } else {
            Err(WireError::UnsupportedVersion { lowest: preface.lowest, highest: preface.highest })
        }
    }

    /// The preface as bytes.
    pub fn write(&self) -> [u8; PREFACE_BYTES] {
        let [m0, m1, m2, m3] = MAGIC;
        let ([l0, l1], [h0, h1]) = (self.lowest.to_le_bytes(), self.highest.to_le_bytes());
        [m0, m1, m2, m3, l0, l1, h0, h1]
    }
}

/// Part of a Call before its arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallPrelude {
    /// Session that the call belongs to; 0 for the connection's own.
    pub session: u32,
    /// Milliseconds that the caller waits, counted from when it sent the call; 0 for no deadline.
    pub deadline_ms: u32,
}

impl CallPrelude {
    /// Splits a Call's body.
    ///
    /// # Errors
    /// [`WireError::Truncated`].
    pub fn split(body: &[u8]) -> Result<(CallPrelude, &[u8]), WireError> {
        let (head, rest) = body.split_first_chunk::<CALL_PRELUDE_BYTES>().ok_or(WireError::Truncated)?;
        let [s0, s1, s2, s3, d0, d1, d2, d3] = *head;
        let prelude = CallPrelude {
            session: u32::from_le_bytes([s0, s1, s2, s3]),
            deadline_ms: u32::from_le_bytes([d0, d1, d2, d3]),
        };
        Ok((prelude, rest))
    }

    /// The prelude as bytes.
    pub fn write(&self) -> [u8; CALL_PRELUDE_BYTES] {
        let ([s0, s1, s2, s3], [d0, d1, d2, d3]) =
            (self.session.to_le_bytes(), self.deadline_ms.to_le_bytes());
        [s0, s1, s2, s3, d0, d1, d2, d3]
    }
}

/// Part of a Reply before its result: the times of the transaction, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReplyPrelude {
    /// Time from the read of the call's last byte to its start, without the permit wait.
    pub queue_wait_us: u32,
    /// Time in which a worker was idle for it and no permit was free.
    pub permit_wait_us: u32,
    /// Time in decoding, handler and encoding.
    pub run_us: u32,
}

impl ReplyPrelude {
    /// Splits a Reply's body.
    ///
    /// # Errors
    /// [`WireError::Truncated`].
    pub fn split(body: &[u8]) -> Result<(ReplyPrelude, &[u8]), WireError> {
        let (head, rest) = body.split_first_chunk::<REPLY_PRELUDE_BYTES>().ok_or(WireError::Truncated)?;
        let [a0, a1, a2, a3, b0, b1, b2, b3, c0, c1, c2, c3] = *head;
        let prelude = ReplyPrelude {
            queue_wait_us: u32::from_le_bytes([a0, a1, a2, a3]),
            permit_wait_us: u32::from_le_bytes([b0, b1, b2, b3]),
            run_us: u32::from_le_bytes([c0, c1, c2, c3]),
        };
        Ok((prelude, rest))
    }

    /// The prelude as bytes.
    pub fn write(&self) -> [u8; REPLY_PRELUDE_BYTES] {
        let mut bytes = [0; REPLY_PRELUDE_BYTES];
        bytes[0..4].copy_from_slice(&self.queue_wait_us.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.permit_wait_us.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.run_us.to_le_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Header = Header {
        body_bytes: 5,
        kind: FrameKind::Call,
        flags: Flags::JSON,
        code: 0x0203,
        call: 0x1122_3344_5566_7788,
    };

    #[test]
    fn header_survives_its_bytes() {
        assert_eq!(Header::read(&HEADER.write()), Ok(HEADER));
    }

    #[test]
    fn unknown_kinds_and_reserved_flags_are_refused() {
        let mut bytes = HEADER.write();
        bytes[4] = 9;
        assert_eq!(Header::read(&bytes), Err(WireError::UnknownKind(9)));
        bytes[4] = 0;
        assert_eq!(Header::read(&bytes), Err(WireError::UnknownKind(0)));
        let mut bytes = HEADER.write();
        bytes[5] = 0x80;
        assert_eq!(Header::read(&bytes), Err(WireError::ReservedFlags(0x80)));
    }

    #[test]
    fn a_frame_is_found_once_its_last_byte_is_there() {
        let mut bytes = HEADER.write().to_vec();
        bytes.extend([1, 2, 3, 4, 5, 99]);
        for short in 0..HEADER_BYTES + 5 {
            assert_eq!(peek_frame(&bytes[..short], |_| 5), Ok(None), "{short} bytes");
        }
        assert_eq!(peek_frame(&bytes, |_| 5), Ok(Some(HEADER)));
        let too_large = WireError::TooLarge { bytes: 5, limit: 4 };
        assert_eq!(peek_frame(&bytes[..HEADER_BYTES], |_| 4), Err((too_large, Some(HEADER))));
    }

    #[test]
    fn a_wrong_magic_is_refused_at_its_first_wrong_byte() {
        assert_eq!(Preface::read(b""), Ok(None));
        assert_eq!(Preface::read(b"BNY"), Ok(None));
        assert_eq!(Preface::read(b"G"), Err(WireError::BadMagic));
        assert_eq!(Preface::read(b"BNYX"), Err(WireError::BadMagic));
        assert_eq!(Preface::read(&Preface::OURS.write()), Ok(Some(Preface::OURS)));
        let newer = Preface { lowest: VERSION + 1, highest: VERSION + 3 };
        let refused = WireError::UnsupportedVersion { lowest: VERSION + 1, highest: VERSION + 3 };
        assert_eq!(Preface::read(&newer.write()), Err(refused));
    }

    #[test]
    fn preludes_survive_their_bytes() {
        let call = CallPrelude { session: 7, deadline_ms: 10_000 };
        assert_eq!(CallPrelude::split(&call.write()), Ok((call, &[][..])));
        assert_eq!(CallPrelude::split(&call.write()[..7]), Err(WireError::Truncated));
        let reply = ReplyPrelude { queue_wait_us: 1, permit_wait_us: 2, run_us: u32::MAX };
        assert_eq!(ReplyPrelude::split(&reply.write()), Ok((reply, &[][..])));
        assert_eq!(ReplyPrelude::split(&reply.write()[..11]), Err(WireError::Truncated));
    }
}
