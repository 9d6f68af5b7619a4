//! A decoder around another that charges a [`DecodeBudget`] for what grows, and cuts what errors quote.
//!
//! Whatever a type asks of a decoder passes through here, and so does all that the decoder shows the type's visitor.
//! JSON is asked for "any" value where a type asks for a certain one: serde_json builds the whole text of a value that
//! has the wrong type into its error, [`Watchdog`] builds a [`Cut`]. bincode knows no "any".
//!
//! Invariants: what is decoded is the same as without; a type sees no error but a [`Cut`].

mod access;
mod json;

use super::decode_budget::{Cut, DecodeBudget};
use access::{Choice, Elements, Entries};
use json::{BoolKey, Number, Variant};
use serde::de::{self, DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, Unexpected, Visitor};
use std::fmt;

/// A decoder of one value.
pub(super) struct BudgetedDecoder<'m, D> {
    inner: D,
    meter: &'m DecodeBudget<'m>,
    /// Is it the key of a map? JSON's are text, whatever they stand for.
    key: bool,
}

impl<'m, D> BudgetedDecoder<'m, D> {
    pub(super) fn new(inner: D, meter: &'m DecodeBudget<'m>) -> BudgetedDecoder<'m, D> {
        BudgetedDecoder { inner, meter, key: false }
    }
}

/// Kinds of JSON's values.
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

/// What shows a type's visitor what the decoder shows it, if it is of these kinds: a visitor may take more than its
/// type asks for.
struct Watchdog<'m, V, const KINDS: u8> {
    visitor: V,
    meter: &'m DecodeBudget<'m>,
    /// Does what it makes have any size? Else it has that of its type.
    grows: bool,
    key: bool,
}

impl<'m, V, const KINDS: u8> Watchdog<'m, V, KINDS> {
    fn new(visitor: V, meter: &'m DecodeBudget<'m>) -> Watchdog<'m, V, KINDS> {
        Watchdog { visitor, meter, grows: false, key: false }
    }
}

impl<'de, V: Visitor<'de>, const KINDS: u8> Watchdog<'_, V, KINDS> {
    /// Something else was asked for.
    #[cold]
    fn wrong<E: de::Error>(&self, found: Unexpected<'_>) -> E {
        self.meter.outward(de::Error::invalid_type(found, self))
    }
}

/// A type that is asked for by name, of which another value shows an error.
macro_rules! asked {
    ($($grows:literal $kind:ident $method:ident ($($arg:ident: $type:ty),*))*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(self, $($arg: $type,)* visitor: V) -> Result<V::Value, Cut> {
            let BudgetedDecoder { inner, meter, key } = self;
            let watch = Watchdog::<V, { kinds::$kind }> { visitor, meter, grows: $grows, key };
            let made =
                if inner.is_human_readable() { inner.deserialize_any(watch) } else { inner.$method($($arg,)* watch) };
            made.map_err(|error| meter.inward(error))
        }
    )*};
}

/// What the decoder is asked for as the type asks.
macro_rules! passed_on {
    ($($grows:literal $method:ident ($($arg:ident: $type:ty),*))*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(self, $($arg: $type,)* visitor: V) -> Result<V::Value, Cut> {
            let BudgetedDecoder { inner, meter, key } = self;
            let watch = Watchdog::<V, { kinds::ALL }> { visitor, meter, grows: $grows, key };
            inner.$method($($arg,)* watch).map_err(|error| meter.inward(error))
        }
    )*};
}

/// Numbers: text in a key of JSON, which the decoder of keys reads.
macro_rules! numbers {
    ($($method:ident)*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Cut> {
            let BudgetedDecoder { inner, meter, key } = self;
            let watch = Watchdog::<V, { kinds::NUMBER }>::new(visitor, meter);
            let any = inner.is_human_readable() && !key;
            let made = if any { inner.deserialize_any(Number(watch)) } else { inner.$method(watch) };
            made.map_err(|error| meter.inward(error))
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for BudgetedDecoder<'_, D> {
    type Error = Cut;

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
    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Cut> {
        let BudgetedDecoder { inner, meter, key } = self;
        let watch = Watchdog::<V, { kinds::BOOL }>::new(visitor, meter);
        let made = match (inner.is_human_readable(), key) {
            (false, _) => inner.deserialize_bool(watch),
            (true, false) => inner.deserialize_any(watch),
            (true, true) => inner.deserialize_any(BoolKey(watch)),
        };
        made.map_err(|error| meter.inward(error))
    }

    /// Its size is charged, though the price of a list's element has it already: it may stand in a box.
    #[inline]
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Cut> {
        let BudgetedDecoder { inner, meter, key } = self;
        meter.take(size_of::<V::Value>())?;
        let watch = Watchdog::<V, { kinds::LIST | kinds::MAP }> { visitor, meter, grows: false, key };
        let made = if inner.is_human_readable() {
            inner.deserialize_any(watch)
        } else {
            inner.deserialize_struct(name, fields, watch)
        };
        made.map_err(|error| meter.inward(error))
    }

    #[inline]
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Cut> {
        let BudgetedDecoder { inner, meter, .. } = self;
        let watch = Watchdog::<V, { kinds::NONE }>::new(visitor, meter);
        let made = if inner.is_human_readable() {
            inner.deserialize_any(Variant(watch))
        } else {
            inner.deserialize_enum(name, variants, watch)
        };
        made.map_err(|error| meter.inward(error))
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

/// Values without parts.
macro_rules! shown {
    ($($method:ident ($($arg:ident: $type:ty)?))*) => {$(
        #[inline]
        fn $method<E: de::Error>(self, $($arg: $type)?) -> Result<V::Value, E> {
            self.visitor.$method::<Cut>($($arg)?).map_err(|cut| self.meter.outward(cut))
        }
    )*};
}

/// Values without parts as JSON has them.
macro_rules! shown_if_asked {
    ($($kind:ident $method:ident ($($arg:ident: $type:ty)?) $found:expr;)*) => {$(
        #[inline]
        fn $method<E: de::Error>(self, $($arg: $type)?) -> Result<V::Value, E> {
            if KINDS & kinds::$kind == 0 {
                return Err(self.wrong($found));
            }
            self.visitor.$method::<Cut>($($arg)?).map_err(|cut| self.meter.outward(cut))
        }
    )*};
}

/// Text and bytes: what is kept of them is as long as they are.
macro_rules! shown_by_length {
    ($($found:ident $kind:ident $method:ident ($type:ty))*) => {$(
        #[inline]
        fn $method<E: de::Error>(self, value: $type) -> Result<V::Value, E> {
            if KINDS & kinds::$kind == 0 && !self.key {
                return Err(self.wrong(Unexpected::$found(&value)));
            }
            let charged = if self.grows { self.meter.text(value.len()) } else { Ok(()) };
            charged.and_then(|()| self.visitor.$method(value)).map_err(|cut| self.meter.outward(cut))
        }
    )*};
}

impl<'de, V: Visitor<'de>, const KINDS: u8> Visitor<'de> for Watchdog<'_, V, KINDS> {
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
        let Watchdog { visitor, meter, key, .. } = self;
        visitor.visit_some(BudgetedDecoder { inner, meter, key }).map_err(|cut| meter.outward(cut))
    }

    #[inline]
    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        let Watchdog { visitor, meter, key, .. } = self;
        visitor.visit_newtype_struct(BudgetedDecoder { inner, meter, key }).map_err(|cut| meter.outward(cut))
    }

    #[inline]
    fn visit_seq<A: SeqAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        if KINDS & kinds::LIST == 0 {
            return Err(self.wrong(Unexpected::Seq));
        }
        let Watchdog { visitor, meter, grows, .. } = self;
        visitor.visit_seq(Elements::new(inner, meter, grows)).map_err(|cut| meter.outward(cut))
    }

    #[inline]
    fn visit_map<A: MapAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        if KINDS & kinds::MAP == 0 {
            return Err(self.wrong(Unexpected::Map));
        }
        let Watchdog { visitor, meter, grows, .. } = self;
        visitor.visit_map(Entries::new(inner, meter, grows)).map_err(|cut| meter.outward(cut))
    }

    #[inline]
    fn visit_enum<A: EnumAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        let Watchdog { visitor, meter, .. } = self;
        visitor.visit_enum(Choice { inner, meter }).map_err(|cut| meter.outward(cut))
    }
}

/// What decodes a part, once it is paid for. Does little: a debug build's stack has one for each level.
struct Part<'m, S> {
    seed: S,
    meter: &'m DecodeBudget<'m>,
    key: bool,
    /// Of an element or an entry, besides what is in it.
    price: Option<usize>,
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Part<'_, S> {
    type Value = S::Value;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<S::Value, D::Error> {
        let Part { seed, meter, key, price } = self;
        meter.pay(price)?;
        seed.deserialize(BudgetedDecoder { inner, meter, key }).map_err(|cut| meter.outward(cut))
    }
}
