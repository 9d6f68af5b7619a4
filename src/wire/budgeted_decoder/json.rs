//! What JSON shows where a number, an enum or the key of a map is asked for.

use super::access::Entries;
use super::{Cut, Watchdog};
use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, Unexpected, VariantAccess, Visitor,
};
use std::fmt;

/// What is shown as it is, or refused.
macro_rules! others {
    ($($method:ident ($($arg:ident: $type:ty)?))*) => {$(
        #[inline]
        fn $method<E: de::Error>(self, $($arg: $type)?) -> Result<Self::Value, E> {
            self.0.$method($($arg)?)
        }
    )*};
}

/// Shows a number. Where serde_json keeps all its digits it shows them as a map of one entry.
pub(super) struct Number<'m, V, const KINDS: u8>(pub(super) Watchdog<'m, V, KINDS>);

impl<'de, V: Visitor<'de>, const KINDS: u8> Visitor<'de> for Number<'_, V, KINDS> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    others! {
        visit_bool(value: bool)
        visit_i64(value: i64)
        visit_u64(value: u64)
        visit_f64(value: f64)
        visit_str(value: &str)
        visit_borrowed_str(value: &'de str)
        visit_unit()
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<V::Value, A::Error> {
        self.0.visit_seq(list)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<V::Value, A::Error> {
        match map.next_key_seed(Digits) {
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

/// Is the key that of a number's digits?
struct Digits;

impl<'de> DeserializeSeed<'de> for Digits {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, key: D) -> Result<bool, D::Error> {
        key.deserialize_str(self)
    }
}

impl Visitor<'_> for Digits {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: de::Error>(self, key: &str) -> Result<bool, E> {
        Ok(key == "$serde_json::private::Number")
    }
}

/// Shows a key that stands for true or false.
pub(super) struct BoolKey<'m, V, const KINDS: u8>(pub(super) Watchdog<'m, V, KINDS>);

impl<'de, V: Visitor<'de>, const KINDS: u8> Visitor<'de> for BoolKey<'_, V, KINDS> {
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

/// Shows a variant: a text that names it, or a map of one entry, its name and what it holds.
pub(super) struct Variant<'m, V, const KINDS: u8>(pub(super) Watchdog<'m, V, KINDS>);

impl<'de, V: Visitor<'de>, const KINDS: u8> Visitor<'de> for Variant<'_, V, KINDS> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    others! {
        visit_bool(value: bool)
        visit_i64(value: i64)
        visit_u64(value: u64)
        visit_f64(value: f64)
        visit_unit()
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<V::Value, E> {
        let Watchdog { visitor, meter, .. } = self.0;
        let made = visitor.visit_enum(StrDeserializer::<Cut>::new(name));
        made.map_err(|cut| meter.outward(cut))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<V::Value, A::Error> {
        self.0.visit_seq(list)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        let Watchdog { visitor, meter, .. } = self.0;
        let made = visitor.visit_enum(Entry(Entries::new(map, meter, false)));
        made.map_err(|cut| meter.outward(cut))
    }
}

/// The one entry of such a map.
struct Entry<M>(M);

impl<'de, M: MapAccess<'de, Error = Cut>> EnumAccess<'de> for Entry<M> {
    type Error = Cut;
    type Variant = Entry<M>;

    fn variant_seed<S: DeserializeSeed<'de>>(mut self, seed: S) -> Result<(S::Value, Entry<M>), Cut> {
        match self.0.next_key_seed(seed)? {
            Some(variant) => Ok((variant, self)),
            None => {
                Err(de::Error::invalid_type(Unexpected::Map, &"the name of a variant with what it holds"))
            }
        }
    }
}

impl<'de, M: MapAccess<'de, Error = Cut>> VariantAccess<'de> for Entry<M> {
    type Error = Cut;

    fn unit_variant(mut self) -> Result<(), Cut> {
        self.0.next_value()
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(mut self, seed: S) -> Result<S::Value, Cut> {
        self.0.next_value_seed(seed)
    }

    fn tuple_variant<V: Visitor<'de>>(mut self, count: usize, visitor: V) -> Result<V::Value, Cut> {
        self.0.next_value_seed(Held { visitor, parts: Parts::Count(count) })
    }

    fn struct_variant<V: Visitor<'de>>(
        mut self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Cut> {
        self.0.next_value_seed(Held { visitor, parts: Parts::Fields(fields) })
    }
}

/// What a variant of several parts holds.
struct Held<V> {
    visitor: V,
    parts: Parts,
}

enum Parts {
    Count(usize),
    Fields(&'static [&'static str]),
}

impl<'de, V: Visitor<'de>> DeserializeSeed<'de> for Held<V> {
    type Value = V::Value;

    fn deserialize<D: Deserializer<'de>>(self, parts: D) -> Result<V::Value, D::Error> {
        match self.parts {
            Parts::Count(count) => parts.deserialize_tuple(count, self.visitor),
            Parts::Fields(fields) => parts.deserialize_struct("", fields, self.visitor),
        }
    }
}
