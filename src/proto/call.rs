//! One call as its listener admits it.

use crate::wire::Codec;
use std::ops::Range;
use std::time::Instant;

/// One call as admitted: everything but its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// Chosen by the caller.
    pub id: u64,
    /// The caller waits no longer than this.
    pub deadline: Option<Instant>,
    /// Session on its connection.
    pub session: u32,
    /// Number of the method; known to exist.
    pub method: u16,
    /// How arguments and result are written.
    pub codec: Codec,
    /// Which of the read's chains is its own, from 1; 0 for a call that no handler made.
    chain: u16,
    nested: bool,
    arguments: (u32, u32),
}

impl Call {
    pub(crate) fn new(id: u64, method: u16, codec: Codec, session: u32, deadline: Option<Instant>) -> Call {
        Call { id, deadline, session, method, codec, chain: 0, nested: false, arguments: (0, 0) }
    }

    /// Its arguments in the bytes it was cut from.
    pub fn arguments_in<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[self.arguments.0 as usize..self.arguments.1 as usize]
    }

    /// Where its arguments end in the bytes it was cut from.
    pub fn arguments_end(&self) -> usize {
        self.arguments.1 as usize
    }

    /// Its place among the chains of the read it came with, if a handler made it.
    pub fn chain(&self) -> Option<usize> {
        usize::from(self.chain).checked_sub(1)
    }

    /// Was it made for a transaction that ran here when it was admitted?
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
