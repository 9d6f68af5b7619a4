//! Decoder around another that charges a [`DecodeBudget`] for values that grow, and limits what errors quote.
//!
//! All requests of a type to its decoder pass through here, and all values that the decoder shows to the type's
//! visitor. JSON is asked for "any" value where a type asks for a certain one: serde_json would build the whole text of
//! a value of the wrong type into its error, [`BudgetedVisitor`] builds a [`DecodeError`]. bincode has no "any".
//!
//! Invariants: the decoded value is the same as without this decoder; a type sees no error but a [`DecodeError`].

mod access;
mod json;

use super::decode_budget::{DecodeBudget, DecodeError};
use access::{Choice, Elements, Entries};
use json::{BoolKeyVisitor, EnumVisitor, NumberVisitor};
use serde::de::{self, DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, Unexpected, Visitor};
use std::fmt;

/// Decoder of one value.
pub(super) struct BudgetedDecoder<'m, D> {
    inner: D,
    budget: &'m DecodeBudget<'m>,
    /// Whether it is the key of a map: in JSON always text.
    key: bool,
}

impl<'m, D> BudgetedDecoder<'m, D> {
    pub(super) fn new(inner: D, budget: &'m DecodeBudget<'m>) -> BudgetedDecoder<'m, D> {
        BudgetedDecoder { inner, budget, key: false }
    }
}

/// Kinds of JSON values.
mod kinds {
    pub(super) const NULL: u8 = 1;
    pub(super) const BOOL: u8 = 1 << 1;
    pub(super) const NUMBER: u8 = 1 << 2;
    pub(super) const TEXT: u8 = 1 << 3;
    pub(super) const LIST: u8 = 1 << 4;
    pub(super) const MAP: u8 = 1 << 5;
    pub(super) const ALL: u8 = u8::MAX;
    pub(super) const NONE: u8 = 0;
}

/// Visitor that passes a value on to the type's visitor if it is of these kinds: a visitor may accept more than its
/// type asks for.
struct BudgetedVisitor<'m, V, const KINDS: u8> {
    visitor: V,
    budget: &'m DecodeBudget<'m>,
    /// Whether the size of the value depends on the input, not on its type alone.
    grows: bool,
    key: bool,
}

impl<'m, V, const KINDS: u8> BudgetedVisitor<'m, V, KINDS> {
    fn new(visitor: V, budget: &'m DecodeBudget<'m>) -> BudgetedVisitor<'m, V, KINDS> {
        BudgetedVisitor { visitor, budget, grows: false, key: false }
    }
}

impl<'de, V: Visitor<'de>, const KINDS: u8> BudgetedVisitor<'_, V, KINDS> {
    /// Error for a value of another kind than asked for.
    #[cold]
    fn wrong<E: de::Error>(&self, found: Unexpected<'_>) -> E {
        self.budget.outward(de::Error::invalid_type(found, self))
    }
}

/// Requests for values of one kind; values of other kinds are errors.
macro_rules! asked {
    ($($grows:literal $kind:ident $method:ident ($($arg:ident: $type:ty),*))*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(self, $($arg: $type,)* visitor: V) -> Result<V::Value, DecodeError> {
            let BudgetedDecoder { inner, budget, key } = self;
            let visitor = BudgetedVisitor::<V, { kinds::$kind }> { visitor, budget, grows: $grows, key };
            let made = if inner.is_human_readable() {
                inner.deserialize_any(visitor)
            } else {
                inner.$method($($arg,)* visitor)
            };
            made.map_err(|error| budget.inward(error))
        }
    )*};
}

/// Requests that are passed on as they are.
macro_rules! passed_on {
    ($($grows:literal $method:ident ($($arg:ident: $type:ty),*))*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(self, $($arg: $type,)* visitor: V) -> Result<V::Value, DecodeError> {
            let BudgetedDecoder { inner, budget, key } = self;
            let visitor = BudgetedVisitor::<V, { kinds::ALL }> { visitor, budget, grows: $grows, key };
            inner.$method($($arg,)* visitor).map_err(|error| budget.inward(error))
        }
    )*};
}

/// Requests for numbers. In a JSON key they are text, which the decoder of keys reads.
macro_rules! numbers {
    ($($method:ident)*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
            let BudgetedDecoder { inner, budget, key } = self;
            let visitor = BudgetedVisitor::<V, { kinds::NUMBER }>::new(visitor, budget);
            let any = inner.is_human_readable() && !key;
            let made = if any { inner.deserialize_any(NumberVisitor(visitor)) } else { inner.$method(visitor) };
            made.map_err(|error| budget.inward(error))
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for BudgetedDecoder<'_, D> {
    type Error = DecodeError;

    passed_on! {
        true deserialize_any ()
        true deserialize_bytes ()
        true deserialize_byte_buf ()
        false deserialize_i128 ()
        false deserialize_u128 ()
        false deserialize_option ()
        false deserialize_newtype_struct (name: &'static str)
        false deserialize_ignored_any ()
    }

    asked! {
        false TEXT deserialize_char ()
        true TEXT deserialize_str ()
        true TEXT deserialize_string ()
        false TEXT deserialize_identifier ()
        false NULL deserialize_unit ()
        false NULL deserialize_unit_struct (name: &'static str)
        true LIST deserialize_seq ()
        true MAP deserialize_map ()
        false LIST deserialize_tuple (count: usize)
        false LIST deserialize_tuple_struct (name: &'static str, count: usize)
    }

    numbers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
        deserialize_f32 deserialize_f64
    }

    #[inline]
    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let BudgetedDecoder { inner, budget, key } = self;
        let visitor = BudgetedVisitor::<V, { kinds::BOOL }>::new(visitor, budget);
        let made = match (inner.is_human_readable(), key) {
            (false, _) => inner.deserialize_bool(visitor),
            (true, false) => inner.deserialize_any(visitor),
            (true, true) => inner.deserialize_any(BoolKeyVisitor(visitor)),
        };
        made.map_err(|error| budget.inward(error))
    }

    /// Charges the struct's size, though the price of a list's element contains it: it may be in a box.
    #[inline]
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        let BudgetedDecoder { inner, budget, key } = self;
        budget.take(size_of::<V::Value>())?;
        let visitor =
            BudgetedVisitor::<V, { kinds::LIST | kinds::MAP }> { visitor, budget, grows: false, key };
        let made = if inner.is_human_readable() {
            inner.deserialize_any(visitor)
        } else {
            inner.deserialize_struct(name, fields, visitor)
        };
        made.map_err(|error| budget.inward(error))
    }

    #[inline]
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        let BudgetedDecoder { inner, budget, .. } = self;
        let visitor = BudgetedVisitor::<V, { kinds::NONE }>::new(visitor, budget);
        let made = if inner.is_human_readable() {
            inner.deserialize_any(EnumVisitor(visitor))
        } else {
            inner.deserialize_enum(name, variants, visitor)
        };
        made.map_err(|error| budget.inward(error))
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

/// Values without parts that are passed on.
macro_rules! shown {
    ($($method:ident ($($arg:ident: $type:ty)?))*) => {$(
        #[inline]
        fn $method<E: de::Error>(self, $($arg: $type)?) -> Result<V::Value, E> {
            self.visitor.$method::<DecodeError>($($arg)?).map_err(|error| self.budget.outward(error))
        }
    )*};
}

/// Values without parts that are passed on if they are of the kinds asked for: those of JSON.
macro_rules! shown_if_asked {
    ($($kind:ident $method:ident ($($arg:ident: $type:ty)?) $found:expr;)*) => {$(
        #[inline]
        fn $method<E: de::Error>(self, $($arg: $type)?) -> Result<V::Value, E> {
            if KINDS & kinds::$kind == 0 {
                return Err(self.wrong($found));
            }
            self.visitor.$method::<DecodeError>($($arg)?).map_err(|error| self.budget.outward(error))
        }
    )*};
}

/// Text and bytes, charged by their length.
macro_rules! shown_by_length {
    ($($found:ident $kind:ident $method:ident ($type:ty))*) => {$(
        #[inline]
        fn $method<E: de::Error>(self, value: $type) -> Result<V::Value, E> {
            if KINDS & kinds::$kind == 0 && !self.key {
                return Err(self.wrong(Unexpected::$found(&value)));
            }
            let charged = if self.grows { self.budget.text(value.len()) } else { Ok(()) };
            charged.and_then(|()| self.visitor.$method(value)).map_err(|error| self.budget.outward(error))
        }
    )*};
}

impl<'de, V: Visitor<'de>, const KINDS: u8> Visitor<'de> for BudgetedVisitor<'_, V, KINDS> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.visitor.expecting(f)
    }

    shown! {
        visit_i8(value: i8)
        visit_i16(value: i16)
        visit_i32(value: i32)
        visit_i128(value: i128)
        visit_u8(value: u8)
        visit_u16(value: u16)
        visit_u32(value: u32)
        visit_u128(value: u128)
        visit_f32(value: f32)
        visit_char(value: char)
        visit_none()
    }

    shown_if_asked! {
        BOOL visit_bool(value: bool) Unexpected::Bool(value);
        NUMBER visit_i64(value: i64) Unexpected::Signed(value);
        NUMBER visit_u64(value: u64) Unexpected::Unsigned(value);
        NUMBER visit_f64(value: f64) Unexpected::Float(value);
        NULL visit_unit() Unexpected::Unit;
    }

    shown_by_length! {
        Str TEXT visit_str(&str)
        Str TEXT visit_borrowed_str(&'de str)
        Str TEXT visit_string(String)
        Bytes ALL visit_bytes(&[u8])
        Bytes ALL visit_borrowed_bytes(&'de [u8])
        Bytes ALL visit_byte_buf(Vec<u8>)
    }

    #[inline]
    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        let BudgetedVisitor { visitor, budget, key, .. } = self;
        visitor.visit_some(BudgetedDecoder { inner, budget, key }).map_err(|error| budget.outward(error))
    }

    #[inline]
    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        let BudgetedVisitor { visitor, budget, key, .. } = self;
        visitor
            .visit_newtype_struct(BudgetedDecoder { inner, budget, key })
            .map_err(|error| budget.outward(error))
    }

    #[inline]
    fn visit_seq<A: SeqAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        if KINDS & kinds::LIST == 0 {
            return Err(self.wrong(Unexpected::Seq));
        }
        let BudgetedVisitor { visitor, budget, grows, .. } = self;
        visitor.visit_seq(Elements::new(inner, budget, grows)).map_err(|error| budget.outward(error))
    }

    #[inline]
    fn visit_map<A: MapAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        if KINDS & kinds::MAP == 0 {
            return Err(self.wrong(Unexpected::Map));
        }
        let BudgetedVisitor { visitor, budget, grows, .. } = self;
        visitor.visit_map(Entries::new(inner, budget, grows)).map_err(|error| budget.outward(error))
    }

    #[inline]
    fn visit_enum<A: EnumAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        let BudgetedVisitor { visitor, budget, .. } = self;
        visitor.visit_enum(Choice { inner, budget }).map_err(|error| budget.outward(error))
    }
}

/// Seed that decodes a part after it was charged. Small, since a debug build's stack has one for each level.
struct Part<'m, S> {
    seed: S,
    budget: &'m DecodeBudget<'m>,
    key: bool,
    /// Price of an element or entry, without its contents.
    price: Option<usize>,
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Part<'_, S> {
    type Value = S::Value;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<S::Value, D::Error> {
        let Part { seed, budget, key, price } = self;
        budget.pay(price)?;
        seed.deserialize(BudgetedDecoder { inner, budget, key }).map_err(|error| budget.outward(error))
    }
}
