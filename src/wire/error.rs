//! The peer's bytes are wrong, and how. Everything here is the peer's fault, but for [`WireError::NoRoom`].

use thiserror::Error;

/// Why bytes were not accepted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum WireError {
    /// The first four bytes are not the protocol's.
    #[error("the first bytes are not Boneyard's magic")]
    BadMagic,
    /// What answers is no port for calls: a web server, or the server's own `Admin_Address`.
    #[error("it speaks HTTP; is this an Admin_Address?")]
    Http,
    /// The peer speaks no version this build speaks.
    #[error("the peer speaks versions {lowest} to {highest}, this build speaks {}", super::VERSION)]
    UnsupportedVersion {
        /// Lowest version of the peer.
        lowest: u16,
        /// Highest version of the peer.
        highest: u16,
    },
    /// A kind of frame nobody knows.
    #[error("unknown kind of frame {0}")]
    UnknownKind(u8),
    /// A kind of frame that may not come now or from this side.
    #[error("a {0:?} frame may not come here")]
    UnexpectedKind(super::FrameKind),
    /// A flag this version gives no meaning.
    #[error("reserved flags are set: {0:#04x}")]
    ReservedFlags(u8),
    /// The header claims a body larger than the bound.
    #[error("a body of {bytes} bytes is over the limit of {limit}")]
    TooLarge {
        /// Claimed size of the body.
        bytes: u64,
        /// Bound in force for this kind.
        limit: u64,
    },
    /// The body ends before its fixed part does.
    #[error("the body ends early")]
    Truncated,
    /// The body does not decode as the type it should be.
    #[error("the body does not decode: {0}")]
    Undecodable(String),
    /// The value would take more memory than a body of its size may.
    #[error("the value takes more memory than the {limit} bytes that a body of its size may")]
    Grows {
        /// Bytes it may take.
        limit: usize,
    },
    /// There is no memory for the value now. The one error that is not the peer's fault.
    #[error("there is no memory for the value now")]
    NoRoom,
    /// The body goes on after its value.
    #[error("{0} bytes are left over after the value")]
    LeftOver(usize),
    /// A value could not be encoded: its own serializer failed, or it is over the bound.
    #[error("the value does not encode: {0}")]
    Unencodable(String),
}
