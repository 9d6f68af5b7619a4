//! Encoding and decoding of values: bincode (legacy layout: fixed width, little-endian) or JSON. The only file that
//! names bincode.
//!
//! Decoding reads slices only, requires that the value ends where the bytes end, and limits what a length inside the
//! bytes may claim. The limit is a compile-time number in bincode, hence the ladder. Memory besides the bytes is
//! limited by `decode_budget.rs`. Recursive types have no limit that helps (15,000 levels overflow a stack): methods
//! must not have them.

use super::budgeted_decoder::BudgetedDecoder;
use super::decode_budget::{DecodeBudget, DecodeError, DecodeMemory};
use super::error::WireError;
use super::header::Flags;
use super::json;
use bincode::config::{Configuration, Fixint, Limit, LittleEndian};
use serde::Serialize;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer};
use std::marker::PhantomData;

/// Format of arguments and results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Codec {
    /// bincode: compact, both sides must have the same types.
    #[default]
    Bincode,
    /// JSON: self-describing, for callers without the types.
    Json,
}

impl Codec {
    /// The codec that a frame's flags name.
    pub fn of(flags: Flags) -> Codec {
        if flags.has(Flags::JSON) { Codec::Json } else { Codec::Bincode }
    }

    /// The flags that name this codec.
    pub fn flags(self) -> Flags {
        match self {
            Codec::Bincode => Flags::NONE,
            Codec::Json => Flags::JSON,
        }
    }

    /// Reads one value that fills `bytes` exactly.
    ///
    /// # Errors
    /// [`WireError::Undecodable`], [`WireError::LeftOver`], [`WireError::Grows`].
    pub fn decode<T: DeserializeOwned>(self, bytes: &[u8]) -> Result<T, WireError> {
        self.decode_in(bytes, &())
    }

    /// Reads one value as [`Codec::decode`]; memory beyond [`super::FREE_BYTES`] is taken from `memory`.
    ///
    /// # Errors
    /// As [`Codec::decode`], and [`WireError::NoRoom`].
    pub fn decode_in<T: DeserializeOwned>(
        self,
        bytes: &[u8],
        memory: &dyn DecodeMemory,
    ) -> Result<T, WireError> {
        let budget = DecodeBudget::new(bytes.len(), self == Codec::Json, memory);
        let decoded = match self {
            Codec::Bincode => decode_bincode(bytes, &budget),
            Codec::Json => json::decode(bytes, &budget),
        };
        decoded.map_err(|error| budget.refusal().unwrap_or(error))
    }

    /// Appends `value` to `out`.
    ///
    /// # Errors
    /// [`WireError::Unencodable`]; `out` may then end in half a value, which the caller removes.
    pub fn encode<T: Serialize + ?Sized>(self, value: &T, out: &mut Vec<u8>) -> Result<(), WireError> {
        match self {
            Codec::Bincode => {
                bincode::serde::encode_into_std_write(value, &mut Appender(out), bincode::config::legacy())
                    .map(|_| ())
                    .map_err(|e| WireError::Unencodable(e.to_string()))
            }
            Codec::Json => {
                serde_json::to_writer(out, value).map_err(|e| WireError::Unencodable(e.to_string()))
            }
        }
    }
}

type Legacy<const LIMIT: usize> = Configuration<LittleEndian, Fixint, Limit<LIMIT>>;

fn decode_bincode<T: DeserializeOwned>(bytes: &[u8], budget: &DecodeBudget<'_>) -> Result<T, WireError> {
    // The smallest limit that holds the bytes: a length inside them that claims more is refused before memory is
    // allocated for it.
    match bytes.len() {
        0..=0x400 => decode_limited::<T, 0x400>(bytes, budget),
        0x401..=0x1_0000 => decode_limited::<T, 0x1_0000>(bytes, budget),
        0x1_0001..=0x10_0000 => decode_limited::<T, 0x10_0000>(bytes, budget),
        0x10_0001..=0x80_0000 => decode_limited::<T, 0x80_0000>(bytes, budget),
        _ => decode_limited::<T, { super::limits::BODY_BYTES_MAX }>(bytes, budget),
    }
}

fn decode_limited<T: DeserializeOwned, const LIMIT: usize>(
    bytes: &[u8],
    budget: &DecodeBudget<'_>,
) -> Result<T, WireError> {
    let config: Legacy<LIMIT> = bincode::config::legacy().with_limit::<LIMIT>();
    let whole = Whole(budget, PhantomData::<T>);
    let (value, used) = bincode::serde::seed_decode_from_slice(whole, bytes, config)
        .map_err(|error| WireError::Undecodable(budget.inward(error).into_text()))?;
    if used < bytes.len() {
        return Err(WireError::LeftOver(bytes.len() - used));
    }
    Ok(value)
}

/// Seed that decodes a whole value.
struct Whole<'m, T>(&'m DecodeBudget<'m>, PhantomData<T>);

impl<'de, T: DeserializeOwned> DeserializeSeed<'de> for Whole<'_, T> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, decoder: D) -> Result<T, D::Error> {
        T::deserialize(BudgetedDecoder::new(decoder, self.0))
            .map_err(|error: DecodeError| self.0.outward(error))
    }
}

/// `Write` for a Vec: one `extend_from_slice` for each call.
struct Appender<'a>(&'a mut Vec<u8>);

impl std::io::Write for Appender<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_bytes::ByteBuf;

    #[test]
    fn golden_bytes_are_bincodes_legacy_layout() {
        let mut out = Vec::new();
        Codec::Bincode.encode(&(1u16, "ab", Some(2i64), [3u8, 4]), &mut out).unwrap();
        let expected = [1, 0, 2, 0, 0, 0, 0, 0, 0, 0, b'a', b'b', 1, 2, 0, 0, 0, 0, 0, 0, 0, 3, 4];
        assert_eq!(out, expected);
        let back: (u16, String, Option<i64>, [u8; 2]) = Codec::Bincode.decode(&out).unwrap();
        assert_eq!(back, (1, "ab".to_owned(), Some(2), [3, 4]));
    }

    #[test]
    fn a_false_length_costs_no_memory() {
        for claim in [1u64 << 31, 1 << 46, u64::MAX] {
            let mut bytes = claim.to_le_bytes().to_vec();
            bytes.extend(b"abc");
            assert!(matches!(Codec::Bincode.decode::<String>(&bytes), Err(WireError::Undecodable(_))));
            assert!(matches!(Codec::Bincode.decode::<ByteBuf>(&bytes), Err(WireError::Undecodable(_))));
            assert!(matches!(Codec::Bincode.decode::<Vec<u64>>(&bytes), Err(WireError::Undecodable(_))));
        }
    }

    #[test]
    fn bytes_after_the_value_are_refused_by_both_codecs() {
        let mut bytes = Vec::new();
        Codec::Bincode.encode(&5u32, &mut bytes).unwrap();
        bytes.push(0);
        assert_eq!(Codec::Bincode.decode::<u32>(&bytes), Err(WireError::LeftOver(1)));
        assert!(matches!(Codec::Json.decode::<u32>(b"5 6"), Err(WireError::Undecodable(_))));
    }

    #[test]
    fn values_at_each_rung_of_the_ladder_pass() {
        for size in [0, 1000, 1100, 65_000, 66_000, 1 << 20, 9 << 20] {
            let mut bytes = Vec::new();
            Codec::Bincode.encode(&ByteBuf::from(vec![7; size]), &mut bytes).unwrap();
            assert_eq!(Codec::Bincode.decode::<ByteBuf>(&bytes).unwrap().len(), size);
        }
    }
}
