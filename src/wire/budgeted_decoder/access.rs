//! The parts of lists, maps and enums, each charged for as it comes.

use super::super::decode_budget::{element_price, entry_price};
use super::{Cut, DecodeBudget, Part, Watchdog, kinds};
use serde::de::{DeserializeSeed, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor};

/// Elements of a list, or parts of a tuple.
pub(super) struct Elements<'m, A> {
    inner: A,
    meter: &'m DecodeBudget<'m>,
    grows: bool,
    first: bool,
}

impl<'m, A> Elements<'m, A> {
    pub(super) fn new(inner: A, meter: &'m DecodeBudget<'m>, grows: bool) -> Elements<'m, A> {
        Elements { inner, meter, grows, first: true }
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Elements<'_, A> {
    type Error = Cut;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Cut> {
        let first = std::mem::take(&mut self.first);
        let price = self.grows.then(|| element_price(size_of::<S::Value>(), first));
        let part = Part { seed, meter: self.meter, key: false, price };
        self.inner.next_element_seed(part).map_err(|error| self.meter.inward(error))
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

/// Entries of a map, or fields of a structure.
pub(super) struct Entries<'m, A> {
    inner: A,
    meter: &'m DecodeBudget<'m>,
    grows: bool,
    number: usize,
    key_size: usize,
}

impl<'m, A> Entries<'m, A> {
    pub(super) fn new(inner: A, meter: &'m DecodeBudget<'m>, grows: bool) -> Entries<'m, A> {
        Entries { inner, meter, grows, number: 0, key_size: 0 }
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Entries<'_, A> {
    type Error = Cut;

    #[inline]
    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Cut> {
        self.key_size = size_of::<S::Value>();
        let part = Part { seed, meter: self.meter, key: true, price: None };
        self.inner.next_key_seed(part).map_err(|error| self.meter.inward(error))
    }

    #[inline]
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Cut> {
        let price = self.grows.then(|| entry_price(self.key_size + size_of::<S::Value>(), self.number));
        self.number += 1;
        let part = Part { seed, meter: self.meter, key: false, price };
        self.inner.next_value_seed(part).map_err(|error| self.meter.inward(error))
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

/// A variant of an enum, and what it holds.
pub(super) struct Choice<'m, A> {
    pub(super) inner: A,
    pub(super) meter: &'m DecodeBudget<'m>,
}

impl<'de, 'm, A: EnumAccess<'de>> EnumAccess<'de> for Choice<'m, A> {
    type Error = Cut;
    type Variant = Choice<'m, A::Variant>;

    #[inline]
    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self::Variant), Cut> {
        let Choice { inner, meter } = self;
        let part = Part { seed, meter, key: false, price: None };
        let (variant, inner) = inner.variant_seed(part).map_err(|error| meter.inward(error))?;
        Ok((variant, Choice { inner, meter }))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Choice<'_, A> {
    type Error = Cut;

    #[inline]
    fn unit_variant(self) -> Result<(), Cut> {
        self.inner.unit_variant().map_err(|error| self.meter.inward(error))
    }

    #[inline]
    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Cut> {
        let Choice { inner, meter } = self;
        inner
            .newtype_variant_seed(Part { seed, meter, key: false, price: None })
            .map_err(|error| meter.inward(error))
    }

    #[inline]
    fn tuple_variant<V: Visitor<'de>>(self, count: usize, visitor: V) -> Result<V::Value, Cut> {
        let Choice { inner, meter } = self;
        let watch = Watchdog::<V, { kinds::ALL }>::new(visitor, meter);
        inner.tuple_variant(count, watch).map_err(|error| meter.inward(error))
    }

    #[inline]
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Cut> {
        let Choice { inner, meter } = self;
        let watch = Watchdog::<V, { kinds::ALL }>::new(visitor, meter);
        inner.struct_variant(fields, watch).map_err(|error| meter.inward(error))
    }
}
