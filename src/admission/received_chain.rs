//! Received chain of a nested call, with which of its entries are this server's own and open.
//!
//! Invariant: only the names of open entries are known to be true; all else in a chain is the sender's claim.

use crate::wire::{Chain, beginning};
use std::ops::Deref;

/// Longest name of an entry of others that is shown, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// Entries of a chain that are this server's own and open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OwnCallers {
    /// A bit for each entry, from the lowest: whether it is open.
    pub open: u16,
    /// Index of the entry for which the call is admitted as a nested one.
    pub by: Option<usize>,
}

/// A chain with its own entries.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReceivedChain {
    chain: Chain,
    found: OwnCallers,
}

impl ReceivedChain {
    pub(crate) fn new(chain: Chain, found: OwnCallers) -> ReceivedChain {
        ReceivedChain { chain, found }
    }

    /// Number of this server's transactions that waited for the call when it came.
    pub(crate) fn depth(&self) -> usize {
        self.found.open.count_ones() as usize
    }

    /// Index of the entry for which the call was admitted as a nested one.
    pub(crate) fn by(&self) -> Option<usize> {
        self.found.by
    }

    /// Returns whether the entry at this index is this server's own and open.
    pub(crate) fn is_open(&self, at: usize) -> bool {
        self.found.open & 1 << at != 0
    }

    /// Names of its entries, the outermost first; those of others are marked as their claim.
    pub(crate) fn names(&self) -> Vec<String> {
        let name = |(at, entry): (usize, &crate::wire::ChainEntry)| {
            if self.is_open(at) {
                return entry.name.clone();
            }
            let more = if entry.name.len() > NAME_BYTES_MAX { "..." } else { "" };
            format!("caller says {:?}{more}", beginning(&entry.name, NAME_BYTES_MAX))
        };
        self.entries.iter().enumerate().map(name).collect()
    }
}

impl Deref for ReceivedChain {
    type Target = Chain;

    fn deref(&self) -> &Chain {
        &self.chain
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ChainEntry;

    #[test]
    fn names_of_others_are_marked_and_escaped() {
        let entry = |name: &str| ChainEntry { server: 1, transaction: 2, step: 1, name: name.to_owned() };
        let entries = vec![entry("P a.b"), entry("P a.b\" -> \"x\n"), entry(&"y".repeat(70))];
        let received = ReceivedChain::new(Chain { entries }, OwnCallers { open: 1, by: Some(0) });
        let long = format!("caller says {:?}...", "y".repeat(64));
        assert_eq!(received.names(), ["P a.b", "caller says \"P a.b\\\" -> \\\"x\\n\"", &long]);
        assert_eq!((received.depth(), received.by()), (1, Some(0)));
    }
}
