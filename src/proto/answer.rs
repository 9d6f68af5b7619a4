//! The answer to a call as a client received it.

use crate::wire::{Codec, ReplyPrelude};
use smallvec::SmallVec;
use std::ops::{Deref, Range};

/// Bodies up to this size travel in the answer itself: memory that one thread allocates and another frees costs both a
/// lock of the allocator.
const INLINE_BYTES_MAX: usize = 96;

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
    pub body: AnswerBody,
}

/// Body of an answer: a copy, or for a large one the buffer that it was read into.
#[derive(Debug, Clone)]
pub struct AnswerBody(Content);

#[derive(Debug, Clone)]
enum Content {
    Copy(SmallVec<[u8; INLINE_BYTES_MAX]>),
    Whole(Vec<u8>, Range<usize>),
}

impl AnswerBody {
    /// A copy of `body`.
    pub(super) fn copy(body: &[u8]) -> AnswerBody {
        AnswerBody(Content::Copy(SmallVec::from_slice(body)))
    }

    /// The bytes `body` of `buffer`.
    pub(super) fn whole(buffer: Vec<u8>, body: Range<usize>) -> AnswerBody {
        AnswerBody(Content::Whole(buffer, body))
    }

    /// The buffer that it was read into, if it has that.
    pub(crate) fn into_buffer(self) -> Option<Vec<u8>> {
        match self.0 {
            Content::Copy(_) => None,
            Content::Whole(buffer, _) => Some(buffer),
        }
    }
}

impl Deref for AnswerBody {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Content::Copy(body) => body,
            Content::Whole(buffer, body) => &buffer[body.clone()],
        }
    }
}

impl PartialEq for AnswerBody {
    fn eq(&self, other: &AnswerBody) -> bool {
        **self == **other
    }
}

impl Eq for AnswerBody {}
