//! Chain of nested calls: sent with a call that a handler makes, it names the calls for which it is made.
//!
//! ```text
//! Call with flag 0x02   header, prelude, 0 length of the chain u16, chain (bincode), arguments
//! ```
//! An entry has 128 random bits, drawn anew by the server that makes it. That server knows the entry while it waits for
//! the call; entries of other servers mean nothing to it, and it passes them on.

use super::codec::Codec;
use super::error::WireError;
use super::limits::{CHAIN_BYTES_MAX, CHAIN_ENTRIES_MAX};
use serde::{Deserialize, Serialize};

/// Size of the length before the chain, in bytes.
const LENGTH_BYTES: usize = 2;

/// Transactions for which a call is made, the first in front.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Chain {
    /// Entries, at most 16.
    pub entries: Vec<ChainEntry>,
}

/// A call that a transaction makes and waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainEntry {
    /// First half of the random bits by which its server knows it.
    pub server: u64,
    /// Second half of them.
    pub transaction: u64,
    /// Number of the call within its transaction, from 1.
    pub step: u32,
    /// Port and method, for people.
    pub name: String,
}

/// Id of an entry: 128 random bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EntryId(pub u64, pub u64);

impl ChainEntry {
    /// Id of the entry.
    pub fn id(&self) -> EntryId {
        EntryId(self.server, self.transaction)
    }
}

impl Chain {
    /// Splits what follows a nested Call's prelude into the chain and the arguments.
    ///
    /// # Errors
    /// [`WireError::Truncated`], [`WireError::TooLarge`], [`WireError::Undecodable`].
    pub fn split(body: &[u8]) -> Result<(Chain, &[u8]), WireError> {
        let (length, rest) = body.split_first_chunk::<LENGTH_BYTES>().ok_or(WireError::Truncated)?;
        let length = usize::from(u16::from_le_bytes(*length));
        let (bytes, arguments) = rest.split_at_checked(length).ok_or(WireError::Truncated)?;
        if length > CHAIN_BYTES_MAX {
            return Err(WireError::TooLarge { bytes: length as u64, limit: CHAIN_BYTES_MAX as u64 });
        }
        let chain: Chain = Codec::Bincode.decode(bytes)?;
        if chain.entries.len() > CHAIN_ENTRIES_MAX {
            let calls = chain.entries.len();
            return Err(WireError::Undecodable(format!(
                "{calls} calls nested in one another, over the limit of 16"
            )));
        }
        Ok((chain, arguments))
    }

    /// Appends the chain as it stands in a Call.
    ///
    /// # Errors
    /// [`WireError::TooLarge`]; nothing is appended.
    pub fn write(&self, out: &mut Vec<u8>) -> Result<(), WireError> {
        let mut bytes = Vec::new();
        Codec::Bincode.encode(self, &mut bytes)?;
        let too_large = WireError::TooLarge { bytes: bytes.len() as u64, limit: CHAIN_BYTES_MAX as u64 };
        if bytes.len() > CHAIN_BYTES_MAX {
            return Err(too_large);
        }
        let length = u16::try_from(bytes.len()).map_err(|_| too_large)?;
        out.extend_from_slice(&length.to_le_bytes());
        out.append(&mut bytes);
        Ok(())
    }

    /// The names of its entries and of the last call, in order. Names are escaped, so that no peer can break a line of
    /// the log.
    pub fn path(&self, last: &str) -> String {
        let names = self.entries.iter().map(|entry| entry.name.escape_debug().to_string());
        names.chain([last.to_owned()]).collect::<Vec<_>>().join(" -> ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(entries: usize) -> Chain {
        let entry =
            |n: usize| ChainEntry { server: 7, transaction: n as u64, step: 1, name: format!("P a.m{n}") };
        Chain { entries: (0..entries).map(entry).collect() }
    }

    #[test]
    fn a_chain_comes_back_with_the_arguments_behind_it() {
        let mut bytes = Vec::new();
        chain(16).write(&mut bytes).unwrap();
        bytes.extend_from_slice(b"arguments");
        assert_eq!(Chain::split(&bytes), Ok((chain(16), &b"arguments"[..])));
        for cut in 0..bytes.len() - 9 {
            assert!(Chain::split(&bytes[..cut]).is_err(), "{cut}");
        }
        assert_eq!(chain(2).path("P a.b"), "P a.m0 -> P a.m1 -> P a.b");
    }

    #[test]
    fn a_chain_has_its_bounds() {
        let mut bytes = Vec::new();
        chain(17).write(&mut bytes).unwrap();
        assert!(matches!(Chain::split(&bytes), Err(WireError::Undecodable(_))), "too many entries");
        assert!(matches!(chain(400).write(&mut bytes), Err(WireError::TooLarge { .. })));
        assert!(matches!(Chain::split(&[0xFF; 70_000]), Err(WireError::TooLarge { .. })));
    }
}
