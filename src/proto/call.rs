//! A call as admitted by its listener.

use crate::wire::Codec;
use std::ops::Range;
use std::time::Instant;

/// An admitted call, without its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// Id, chosen by the client.
    pub id: u64,
    /// Time until which the caller waits.
    pub deadline: Option<Instant>,
    /// Session on its connection.
    pub session: u32,
    /// Number of the method, which exists.
    pub method: u16,
    /// Format of arguments and result.
    pub codec: Codec,
    /// Number of its chain among those of the read, from 1; 0 for a call that no handler made.
    chain: u16,
    nested: bool,
    arguments: (u32, u32),
}

impl Call {
    pub(crate) fn new(id: u64, method: u16, codec: Codec, session: u32, deadline: Option<Instant>) -> Call {
        Call { id, deadline, session, method, codec, chain: 0, nested: false, arguments: (0, 0) }
    }

    /// The arguments within the bytes of its read.
    pub fn arguments_in<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[self.arguments.0 as usize..self.arguments.1 as usize]
    }

    /// Offset of the end of the arguments in the bytes of its read.
    pub fn arguments_end(&self) -> usize {
        self.arguments.1 as usize
    }

    /// Index of its chain among those of the read, if a handler made the call.
    pub fn chain(&self) -> Option<usize> {
        usize::from(self.chain).checked_sub(1)
    }

    /// Returns whether it was made for a transaction that ran on this server when it was admitted.
    pub fn is_nested(&self) -> bool {
        self.nested
    }

    pub(crate) fn chained(self, chain: usize, nested: bool) -> Call {
        let chain = u16::try_from(chain + 1).expect("a read admits no more calls than a window");
        Call { chain, nested, ..self }
    }

    pub(super) fn at(self, arguments: Range<usize>) -> Call {
        let offset = |at: usize| u32::try_from(at).expect("a buffer is far smaller than 4 GiB");
        Call { arguments: (offset(arguments.start), offset(arguments.end)), ..self }
    }
}
