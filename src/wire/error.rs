//! Errors in bytes that a peer sent. All are the peer's fault, except [`WireError::NoRoom`].

use super::frame_kind::FrameKind;
use super::limits::VERSION;
use thiserror::Error;

/// Reason why bytes were refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum WireError {
    /// The first four bytes are not the protocol's.
    #[error("the first bytes are not Boneyard's magic")]
    BadMagic,
    /// The peer speaks HTTP: a web server, or the server's own `Admin_Address`.
    #[error("it speaks HTTP; is this an Admin_Address?")]
    Http,
    /// The peer speaks no version that this build speaks.
    #[error("the peer speaks versions {lowest} to {highest}, this build speaks {}", VERSION)]
    UnsupportedVersion {
        /// Lowest version of the peer.
        lowest: u16,
        /// Highest version of the peer.
        highest: u16,
    },
    /// The kind of frame is not one of the protocol's.
    #[error("unknown kind of frame {0}")]
    UnknownKind(u8),
    /// The kind of frame is not allowed now or from this side.
    #[error("a {0:?} frame may not come here")]
    UnexpectedKind(FrameKind),
    /// A flag is set that has no meaning in this version.
    #[error("reserved flags are set: {0:#04x}")]
    ReservedFlags(u8),
    /// The header claims a body larger than the limit.
    #[error("a body of {bytes} bytes is over the limit of {limit}")]
    TooLarge {
        /// Claimed size of the body.
        bytes: u64,
        /// Limit for this kind of frame.
        limit: u64,
    },
    /// The body ends within its fixed part.
    #[error("the body ends early")]
    Truncated,
    /// The body does not decode as the expected type.
    #[error("the body does not decode: {0}")]
    Undecodable(String),
    /// The value takes more memory than a body of its size is allowed.
    #[error("the value takes more memory than the {limit} bytes that a body of its size may")]
    Grows {
        /// Bytes allowed.
        limit: usize,
    },
    /// The memory for values is in use. The only error that is not the peer's fault.
    #[error("there is no memory for the value now")]
    NoRoom,
    /// The body continues after its value.
    #[error("{0} bytes are left over after the value")]
    LeftOver(usize),
    /// A value could not be encoded: its own serializer failed, or it is over the limit.
    #[error("the value does not encode: {0}")]
    Unencodable(String),
}
