//! Memory limit for decoding one value, besides the bytes that it is read from, and the limit on what an error quotes.
//!
//! Some types grow: a JSON object of 7 bytes becomes a map of 600 bytes. Memory is charged when a type asks for the
//! next element of a list, entry of a map or text (`budgeted_decoder`), by the sizes of the Rust types: the most that
//! the usual containers take.
//!
//! Invariants: the charge never exceeds [`FACTOR`] times the body, or [`FLOOR_BYTES`]; what exceeds [`FREE_BYTES`] was
//! granted by a [`DecodeMemory`]. Lists and maps have together at most as many elements as the body has bytes, plus
//! [`FREE_ELEMENTS`]. A lack of memory is sticky: each later request fails too. A message is cut while it is built.

use super::error::WireError;
use super::limits::FAULT_MESSAGE_BYTES_MAX;
use serde::de::{self, Expected, Unexpected};
use std::cell::Cell;
use std::fmt::{self, Display, Formatter, Write};

/// Memory allowed for each byte of the body, in bytes: a map of one entry, `{"":0}`, takes 112.
pub const FACTOR: usize = 128;

/// Memory allowed for the smallest body, in bytes.
pub const FLOOR_BYTES: usize = 4 << 20;

/// Memory taken without a request, in bytes: no more than a call costs a worker besides.
pub const FREE_BYTES: usize = 16 << 10;

/// Elements allowed for an empty body.
const FREE_ELEMENTS: usize = 1024;

/// Smallest request for memory, in bytes.
const STEP_BYTES: usize = 64 << 10;

/// Longest message of an error, in bytes.
const MESSAGE_BYTES_MAX: usize = FAULT_MESSAGE_BYTES_MAX;

/// Longest quote of the input in it, in bytes: the rest is for what was expected instead.
const QUOTE_BYTES_MAX: usize = MESSAGE_BYTES_MAX * 3 / 4;

/// Entries in the first node of a `BTreeMap`.
const NODE_ENTRIES: usize = 12;

/// Cost of an allocation besides its bytes, in bytes.
const ALLOCATION_BYTES: usize = 24;

/// Memory for decoded values, shared by many of them.
pub trait DecodeMemory {
    /// Takes `bytes` more.
    ///
    /// # Errors
    /// [`Shortage`]; nothing is taken.
    fn take(&self, bytes: usize) -> Result<(), Shortage>;
}

/// Reason why a request for memory failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shortage {
    /// All of it is in use; a later request may succeed.
    Now,
    /// The request is more than one value may have.
    Ever,
}

/// Memory without a limit of its own.
impl DecodeMemory for () {
    fn take(&self, _bytes: usize) -> Result<(), Shortage> {
        Ok(())
    }
}

/// Memory budget of one value that is being decoded.
pub(super) struct DecodeBudget<'r> {
    /// Bytes that may be taken without a request.
    free: Cell<usize>,
    /// Bytes that may still be requested.
    rest: Cell<usize>,
    limit: usize,
    elements: Cell<usize>,
    memory: &'r dyn DecodeMemory,
    shortage: Cell<Option<Shortage>>,
    /// Whether the decoder's own error shows a message as it is. If not, it is kept here while the decoder has it.
    human: bool,
    kept: Cell<Option<DecodeError>>,
}

impl<'r> DecodeBudget<'r> {
    pub(super) fn new(body_bytes: usize, human: bool, memory: &'r dyn DecodeMemory) -> DecodeBudget<'r> {
        let limit = body_bytes.saturating_mul(FACTOR).max(FLOOR_BYTES);
        DecodeBudget {
            free: Cell::new(FREE_BYTES),
            rest: Cell::new(limit - FREE_BYTES),
            limit,
            elements: Cell::new(body_bytes.saturating_add(FREE_ELEMENTS)),
            memory,
            shortage: Cell::new(None),
            human,
            kept: Cell::default(),
        }
    }

    #[inline]
    pub(super) fn take(&self, bytes: usize) -> Result<(), DecodeError> {
        match self.free.get().checked_sub(bytes) {
            Some(left) => {
                self.free.set(left);
                Ok(())
            }
            None => self.request(bytes - self.free.get()),
        }
    }

    #[cold]
    fn request(&self, bytes: usize) -> Result<(), DecodeError> {
        let step = bytes.max(STEP_BYTES).min(self.rest.get());
        let granted = match self.shortage.get() {
            Some(shortage) => Err(shortage),
            None if step < bytes => Err(Shortage::Ever),
            None => self.memory.take(step),
        };
        granted.map_err(|shortage| {
            self.shortage.set(Some(shortage));
            DecodeError::new(format_args!("out of memory"))
        })?;
        self.rest.set(self.rest.get() - step);
        self.free.set(step - bytes);
        Ok(())
    }

    /// Charges one more element of a list or map, if `price` is one's.
    #[inline]
    pub(super) fn pay<E: de::Error>(&self, price: Option<usize>) -> Result<(), E> {
        price.map_or(Ok(()), |price| self.count(price)).map_err(|error| self.outward(error))
    }

    /// Counts elements of no size too, since they cost time.
    #[inline]
    fn count(&self, price: usize) -> Result<(), DecodeError> {
        let left = self.elements.get().checked_sub(1);
        self.elements.set(left.ok_or_else(|| DecodeError::new(format_args!("more elements than bytes")))?);
        self.take(price)
    }

    #[inline]
    pub(super) fn text(&self, bytes: usize) -> Result<(), DecodeError> {
        self.take(bytes + ALLOCATION_BYTES)
    }

    /// Converts an error of ours to the decoder's.
    #[cold]
    pub(super) fn outward<E: de::Error>(&self, error: DecodeError) -> E {
        if self.human {
            return E::custom(error);
        }
        self.kept.set(Some(error));
        E::custom("")
    }

    /// Converts an error of the decoder's to ours, or returns ours that it had.
    #[cold]
    pub(super) fn inward<E: de::Error>(&self, error: E) -> DecodeError {
        self.kept.take().unwrap_or_else(|| DecodeError::new(format_args!("{error}")))
    }

    /// The refusal for lack of memory, if there was one; it takes precedence over all other errors.
    pub(super) fn refusal(&self) -> Option<WireError> {
        self.shortage.get().map(|shortage| match shortage {
            Shortage::Now => WireError::NoRoom,
            Shortage::Ever => WireError::Grows { limit: self.limit },
        })
    }
}

/// Price of a list's element of this size: a list has capacity for four at first, and doubles it each time.
#[inline]
pub(super) fn element_price(size: usize, first: bool) -> usize {
    if first { 4 * size + ALLOCATION_BYTES } else { 2 * size }
}

/// Price of a map's entry, the `number`th from 0, whose key and value have this size.
#[inline]
pub(super) fn entry_price(size: usize, number: usize) -> usize {
    match number {
        0 => NODE_ENTRIES * size + ALLOCATION_BYTES,
        1..4 => 0,
        _ => 5 * size / 2,
    }
}

/// Reason why a value was refused, as text of limited length.
#[derive(Debug)]
pub(super) struct DecodeError(Box<str>);

impl DecodeError {
    pub(super) fn new(message: fmt::Arguments<'_>) -> DecodeError {
        let mut text = Bounded { text: String::new(), more: false };
        // Its error means that it is full: the rest is not even formatted.
        let _ = text.write_fmt(message);
        DecodeError(text.text.into())
    }

    pub(super) fn into_text(self) -> String {
        self.0.into()
    }
}

impl Display for DecodeError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for DecodeError {}

impl de::Error for DecodeError {
    #[cold]
    fn custom<T: Display>(message: T) -> DecodeError {
        DecodeError::new(format_args!("{message}"))
    }

    #[cold]
    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> DecodeError {
        DecodeError::new(format_args!("invalid type: {}, expected {expected}", Found(found)))
    }

    #[cold]
    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> DecodeError {
        DecodeError::new(format_args!("invalid value: {}, expected {expected}", Found(found)))
    }
}

/// The value that was found, its text cut.
struct Found<'a>(Unexpected<'a>);

impl Display for Found<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            // JSON's word; bincode never reports it.
            Unexpected::Unit => f.write_str("null"),
            Unexpected::Str(text) if text.len() > QUOTE_BYTES_MAX => {
                write!(f, "string {:?}...", beginning(text, QUOTE_BYTES_MAX))
            }
            Unexpected::Other(text) => f.write_str(beginning(text, QUOTE_BYTES_MAX)),
            found => found.fmt(f),
        }
    }
}

/// The first `bytes_max` bytes of a text at most, whole characters.
pub fn beginning(text: &str, bytes_max: usize) -> &str {
    let end = (0..=text.len().min(bytes_max)).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}

/// A text of at most [`MESSAGE_BYTES_MAX`] bytes.
struct Bounded {
    text: String,
    /// Whether something was left out.
    more: bool,
}

impl Write for Bounded {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        if self.more {
            return Err(fmt::Error);
        }
        let fits = beginning(piece, MESSAGE_BYTES_MAX - self.text.len());
        self.text.push_str(fits);
        self.more = fits.len() < piece.len();
        if self.more {
            self.text.push_str("...");
            return Err(fmt::Error);
        }
        Ok(())
    }
}
