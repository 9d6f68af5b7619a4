//! What decoding a value may take of memory, beside the bytes it is read from, and what an error may quote of them.
//!
//! Some types grow: a JSON object of 7 bytes becomes a map of 600. So memory is charged where a type asks for the next
//! element of a list, entry of a map or text (`metered`), by the sizes of the Rust types. What is charged is what the
//! usual containers take at most, not what they take.
//!
//! Invariants: what is charged never exceeds [`FACTOR`] times the body, or [`FLOOR_BYTES`]; what exceeds [`FREE_BYTES`]
//! was lent by a [`Room`]. Lists and maps have no more elements together than the body has bytes, and
//! [`FREE_ELEMENTS`]. An error, once it has come for lack of memory, comes for ever. A message is cut as it is built.

use super::WireError;
use super::limits::FAULT_MESSAGE_BYTES_MAX;
use serde::de::{self, Expected, Unexpected};
use std::cell::Cell;
use std::fmt::{self, Display, Formatter, Write};

/// Bytes that decoding may take for each byte of the body: a map of one entry, `{"":0}`, takes 112.
pub const FACTOR: usize = 128;

/// Bytes that decoding may take however small the body is.
pub const FLOOR_BYTES: usize = 4 << 20;

/// Bytes that decoding takes without asking: no more than what a call costs a worker besides.
pub const FREE_BYTES: usize = 16 << 10;

/// Elements that a body of no bytes may have.
const FREE_ELEMENTS: usize = 1024;

/// Least that is asked for at once.
const STEP_BYTES: usize = 64 << 10;

/// Longest message of an error.
const MESSAGE_BYTES_MAX: usize = FAULT_MESSAGE_BYTES_MAX;

/// Longest part of the input in it: so that what was expected instead has room behind it.
const QUOTE_BYTES_MAX: usize = MESSAGE_BYTES_MAX * 3 / 4;

/// Entries of a map that its first node has room for: those of a `BTreeMap`.
const NODE_ENTRIES: usize = 12;

/// What an allocation costs besides its bytes.
const ALLOCATION_BYTES: usize = 24;

/// Who lends the memory for a value that grows.
pub trait Room {
    /// So many bytes more.
    ///
    /// # Errors
    /// They are not to be had.
    fn take(&self, bytes: usize) -> Result<(), Shortage>;
}

/// Why there is no memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shortage {
    /// It is in use; later there may be.
    Now,
    /// It is more than one value may have.
    Ever,
}

/// All that a body may take.
impl Room for () {
    fn take(&self, _bytes: usize) -> Result<(), Shortage> {
        Ok(())
    }
}

/// Of one value that is being decoded.
pub(super) struct DecodeBudget<'r> {
    /// Bytes that may be taken without asking.
    free: Cell<usize>,
    /// Bytes that may still be asked for.
    rest: Cell<usize>,
    limit: usize,
    elements: Cell<usize>,
    room: &'r dyn Room,
    shortage: Cell<Option<Shortage>>,
    /// Does the decoder's own error show a message as it is? If not it is kept here while the decoder has it.
    human: bool,
    kept: Cell<Option<Cut>>,
}

impl<'r> DecodeBudget<'r> {
    pub(super) fn new(body_bytes: usize, human: bool, room: &'r dyn Room) -> DecodeBudget<'r> {
        let limit = body_bytes.saturating_mul(FACTOR).max(FLOOR_BYTES);
        DecodeBudget {
            free: Cell::new(FREE_BYTES),
            rest: Cell::new(limit - FREE_BYTES),
            limit,
            elements: Cell::new(body_bytes.saturating_add(FREE_ELEMENTS)),
            room,
            shortage: Cell::new(None),
            human,
            kept: Cell::default(),
        }
    }

    #[inline]
    pub(super) fn take(&self, bytes: usize) -> Result<(), Cut> {
        match self.free.get().checked_sub(bytes) {
            Some(left) => {
                self.free.set(left);
                Ok(())
            }
            None => self.ask(bytes - self.free.get()),
        }
    }

    #[cold]
    fn ask(&self, bytes: usize) -> Result<(), Cut> {
        let step = bytes.max(STEP_BYTES).min(self.rest.get());
        let lent = match self.shortage.get() {
            Some(shortage) => Err(shortage),
            None if step < bytes => Err(Shortage::Ever),
            None => self.room.take(step),
        };
        lent.map_err(|shortage| {
            self.shortage.set(Some(shortage));
            Cut::new(format_args!("out of memory"))
        })?;
        self.rest.set(self.rest.get() - step);
        self.free.set(step - bytes);
        Ok(())
    }

    /// A list or a map has one more element of this price, if it is any of these.
    #[inline]
    pub(super) fn pay<E: de::Error>(&self, price: Option<usize>) -> Result<(), E> {
        price.map_or(Ok(()), |price| self.count(price)).map_err(|cut| self.outward(cut))
    }

    /// Those of no size cost time.
    #[inline]
    fn count(&self, price: usize) -> Result<(), Cut> {
        let left = self.elements.get().checked_sub(1);
        self.elements.set(left.ok_or_else(|| Cut::new(format_args!("more elements than bytes")))?);
        self.take(price)
    }

    #[inline]
    pub(super) fn text(&self, bytes: usize) -> Result<(), Cut> {
        self.take(bytes + ALLOCATION_BYTES)
    }

    /// An error of ours as the decoder takes it.
    #[cold]
    pub(super) fn outward<E: de::Error>(&self, error: Cut) -> E {
        if self.human {
            return E::custom(error);
        }
        self.kept.set(Some(error));
        E::custom("")
    }

    /// What the decoder says, or what we had told it.
    #[cold]
    pub(super) fn inward<E: de::Error>(&self, error: E) -> Cut {
        self.kept.take().unwrap_or_else(|| Cut::new(format_args!("{error}")))
    }

    /// Is the value refused for what it takes, whatever its bytes are?
    pub(super) fn refusal(&self) -> Option<WireError> {
        self.shortage.get().map(|shortage| match shortage {
            Shortage::Now => WireError::NoRoom,
            Shortage::Ever => WireError::Grows { limit: self.limit },
        })
    }
}

/// The price of a list's element of this size: there is room for four at first, and then for twice as many each time.
#[inline]
pub(super) fn element_price(size: usize, first: bool) -> usize {
    if first { 4 * size + ALLOCATION_BYTES } else { 2 * size }
}

/// The price of a map's entry, the `number`th from 0, whose key and value have this size.
#[inline]
pub(super) fn entry_price(size: usize, number: usize) -> usize {
    match number {
        0 => NODE_ENTRIES * size + ALLOCATION_BYTES,
        1..4 => 0,
        _ => 5 * size / 2,
    }
}

/// Why a value was not taken, in not too many words.
#[derive(Debug)]
pub(super) struct Cut(Box<str>);

impl Cut {
    pub(super) fn new(message: fmt::Arguments<'_>) -> Cut {
        let mut text = Bounded { text: String::new(), more: false };
        // Its own error says that it is full: what comes then is not even made.
        let _ = text.write_fmt(message);
        Cut(text.text.into())
    }

    pub(super) fn into_text(self) -> String {
        self.0.into()
    }
}

impl Display for Cut {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Cut {}

impl de::Error for Cut {
    #[cold]
    fn custom<T: Display>(message: T) -> Cut {
        Cut::new(format_args!("{message}"))
    }

    #[cold]
    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Cut {
        Cut::new(format_args!("invalid type: {}, expected {expected}", Found(found)))
    }

    #[cold]
    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Cut {
        Cut::new(format_args!("invalid value: {}, expected {expected}", Found(found)))
    }
}

/// What stood there, its text cut.
struct Found<'a>(Unexpected<'a>);

impl Display for Found<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            // As JSON has it; bincode does not say it.
            Unexpected::Unit => f.write_str("null"),
            Unexpected::Str(text) if text.len() > QUOTE_BYTES_MAX => {
                write!(f, "string {:?}...", beginning(text, QUOTE_BYTES_MAX))
            }
            Unexpected::Other(text) => f.write_str(beginning(text, QUOTE_BYTES_MAX)),
            found => found.fmt(f),
        }
    }
}

/// So many bytes of a text at most, whole characters.
pub fn beginning(text: &str, bytes_max: usize) -> &str {
    let end = (0..=text.len().min(bytes_max)).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}

/// A text that takes no more than [`MESSAGE_BYTES_MAX`].
struct Bounded {
    text: String,
    /// Was something left out?
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
