//! A chain as its listener received it: which of its links are this server's own, and open.
//!
//! Invariant: only the name of an open link is this server's word; all else in a chain is its sender's.

use crate::wire::{Chain, beginning};
use std::ops::Deref;

/// Longest name of another's link that is shown, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// What a server finds of a chain among the links that are open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OwnCallers {
    /// Of each link, from the lowest bit: is it open?
    pub open: u16,
    /// The place of the link that lets the call in as a nested one.
    pub by: Option<usize>,
}

/// A chain with what was found of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReceivedChain {
    chain: Chain,
    found: OwnCallers,
}

impl ReceivedChain {
    pub(crate) fn new(chain: Chain, found: OwnCallers) -> ReceivedChain {
        ReceivedChain { chain, found }
    }

    /// How many of this server's transactions waited for the call when it came.
    pub(crate) fn depth(&self) -> usize {
        self.found.open.count_ones() as usize
    }

    /// The place of the link that let the call in as a nested one.
    pub(crate) fn by(&self) -> Option<usize> {
        self.found.by
    }

    /// Is the link at this place this server's own?
    pub(crate) fn is_open(&self, at: usize) -> bool {
        self.found.open & 1 << at != 0
    }

    /// The names of its links, the outermost first; those that others gave are marked as their word.
    pub(crate) fn names(&self) -> Vec<String> {
        let name = |(at, link): (usize, &crate::wire::ChainEntry)| {
            if self.is_open(at) {
                return link.name.clone();
            }
            let more = if link.name.len() > NAME_BYTES_MAX { "..." } else { "" };
            format!("caller says {:?}{more}", beginning(&link.name, NAME_BYTES_MAX))
        };
        self.links.iter().enumerate().map(name).collect()
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
    fn only_what_the_server_knows_itself_is_shown_as_it_is() {
        let link = |name: &str| ChainEntry { server: 1, transaction: 2, step: 1, name: name.to_owned() };
        let links = vec![link("P a.b"), link("P a.b\" -> \"x\n"), link(&"y".repeat(70))];
        let received = ReceivedChain::new(Chain { links }, OwnCallers { open: 1, by: Some(0) });
        let long = format!("caller says {:?}...", "y".repeat(64));
        assert_eq!(received.names(), ["P a.b", "caller says \"P a.b\\\" -> \\\"x\\n\"", &long]);
        assert_eq!((received.depth(), received.by()), (1, Some(0)));
    }
}
