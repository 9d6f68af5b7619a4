//! Visitors for JSON where a number, an enum or the boolean key of a map is asked for.

use super::super::decode_budget::DecodeError;
use super::BudgetedVisitor;
use super::access::Entries;
use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, Unexpected, VariantAccess, Visitor,
};
use std::fmt;

/// Visits that are passed on to the inner visitor.
macro_rules! pass_on {
    ($($method:ident ($($arg:ident: $type:ty)?))*) => {$(
        #[inline]
        fn $method<E: de::Error>(self, $($arg: $type)?) -> Result<Self::Value, E> {
            self.0.$method($($arg)?)
        }
    )*};
}

/// Visits that an enum and a number pass on: those of JSON values that neither can be, and of plain numbers.
macro_rules! pass_on_common {
    () => {
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.0.expecting(f)
        }

        pass_on! {
            visit_bool(value: bool)
            visit_i64(value: i64)
            visit_u64(value: u64)
            visit_f64(value: f64)
            visit_unit()
        }

        fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<V::Value, A::Error> {
            self.0.visit_seq(list)
        }
    };
}

/// Visitor for a number. With serde_json's `arbitrary_precision` a number is a map of one entry, its digits.
pub(super) struct NumberVisitor<'m, V, const KINDS: u8>(pub(super) BudgetedVisitor<'m, V, KINDS>);

impl<'de, V: Visitor<'de>, const KINDS: u8> Visitor<'de> for NumberVisitor<'_, V, KINDS> {
    type Value = V::Value;

    pass_on_common! {}

    pass_on! {
        visit_str(value: &str)
        visit_borrowed_str(value: &'de str)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<V::Value, A::Error> {
        match map.next_key_seed(IsDigitsKey) {
            Ok(Some(true)) => {}
            _ => return Err(de::Error::invalid_type(Unexpected::Map, &self)),
        }
        let digits: String = map.next_value()?;
        if let Ok(number) = digits.parse() {
            self.visit_u64(number)
        } else if let Ok(number) = digits.parse() {
            self.visit_i64(number)
        } else {
            self.visit_f64(digits.parse().map_err(de::Error::custom)?)
        }
    }
}

/// Seed that decodes whether a key is that of a number's digits.
struct IsDigitsKey;

impl<'de> DeserializeSeed<'de> for IsDigitsKey {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, key: D) -> Result<bool, D::Error> {
        key.deserialize_str(self)
    }
}

impl Visitor<'_> for IsDigitsKey {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: de::Error>(self, key: &str) -> Result<bool, E> {
        Ok(key == "$serde_json::private::Number")
    }
}

/// Visitor for a key that stands for true or false.
pub(super) struct BoolKeyVisitor<'m, V, const KINDS: u8>(pub(super) BudgetedVisitor<'m, V, KINDS>);

impl<'de, V: Visitor<'de>, const KINDS: u8> Visitor<'de> for BoolKeyVisitor<'_, V, KINDS> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    fn visit_str<E: de::Error>(self, key: &str) -> Result<V::Value, E> {
        match key {
            "true" => self.0.visit_bool(true),
            "false" => self.0.visit_bool(false),
            other => Err(self.0.wrong(Unexpected::Str(other))),
        }
    }
}

/// Visitor for an enum: a text that names the variant, or a map of one entry, its name and contents.
pub(super) struct EnumVisitor<'m, V, const KINDS: u8>(pub(super) BudgetedVisitor<'m, V, KINDS>);

impl<'de, V: Visitor<'de>, const KINDS: u8> Visitor<'de> for EnumVisitor<'_, V, KINDS> {
    type Value = V::Value;

    pass_on_common! {}

    fn visit_str<E: de::Error>(self, name: &str) -> Result<V::Value, E> {
        let BudgetedVisitor { visitor, budget, .. } = self.0;
        let made = visitor.visit_enum(StrDeserializer::<DecodeError>::new(name));
        made.map_err(|error| budget.outward(error))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        let BudgetedVisitor { visitor, budget, .. } = self.0;
        let made = visitor.visit_enum(VariantEntry(Entries::new(map, budget, false)));
        made.map_err(|error| budget.outward(error))
    }
}

/// The one entry of such a map.
struct VariantEntry<M>(M);

impl<'de, M: MapAccess<'de, Error = DecodeError>> EnumAccess<'de> for VariantEntry<M> {
    type Error = DecodeError;
    type Variant = VariantEntry<M>;

    fn variant_seed<S: DeserializeSeed<'de>>(
        mut self,
        seed: S,
    ) -> Result<(S::Value, VariantEntry<M>), DecodeError> {
        match self.0.next_key_seed(seed)? {
            Some(variant) => Ok((variant, self)),
            None => {
                Err(de::Error::invalid_type(Unexpected::Map, &"the name of a variant with what it holds"))
            }
        }
    }
}

impl<'de, M: MapAccess<'de, Error = DecodeError>> VariantAccess<'de> for VariantEntry<M> {
    type Error = DecodeError;

    fn unit_variant(mut self) -> Result<(), DecodeError> {
        self.0.next_value()
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(mut self, seed: S) -> Result<S::Value, DecodeError> {
        self.0.next_value_seed(seed)
    }

    fn tuple_variant<V: Visitor<'de>>(mut self, count: usize, visitor: V) -> Result<V::Value, DecodeError> {
        self.0.next_value_seed(VariantContents { visitor, parts: Parts::Count(count) })
    }

    fn struct_variant<V: Visitor<'de>>(
        mut self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.0.next_value_seed(VariantContents { visitor, parts: Parts::Fields(fields) })
    }
}

/// Seed for the contents of a variant with several parts.
struct VariantContents<V> {
    visitor: V,
    parts: Parts,
}

enum Parts {
    Count(usize),
    Fields(&'static [&'static str]),
}

impl<'de, V: Visitor<'de>> DeserializeSeed<'de> for VariantContents<V> {
    type Value = V::Value;

    fn deserialize<D: Deserializer<'de>>(self, parts: D) -> Result<V::Value, D::Error> {
        match self.parts {
            Parts::Count(count) => parts.deserialize_tuple(count, self.visitor),
            Parts::Fields(fields) => parts.deserialize_struct("", fields, self.visitor),
        }
    }
}
