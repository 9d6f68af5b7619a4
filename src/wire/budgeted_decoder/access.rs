//! Access to the parts of lists, maps and enums; each part is charged before it is decoded.

use super::super::decode_budget::{DecodeBudget, DecodeError, element_price, entry_price};
use super::{BudgetedVisitor, Part, kinds};
use serde::de::{DeserializeSeed, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor};

/// Elements of a list, or parts of a tuple.
pub(super) struct Elements<'m, A> {
    inner: A,
    budget: &'m DecodeBudget<'m>,
    grows: bool,
    first: bool,
}

impl<'m, A> Elements<'m, A> {
    pub(super) fn new(inner: A, budget: &'m DecodeBudget<'m>, grows: bool) -> Elements<'m, A> {
        Elements { inner, budget, grows, first: true }
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Elements<'_, A> {
    type Error = DecodeError;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, DecodeError> {
        let first = std::mem::take(&mut self.first);
        let price = self.grows.then(|| element_price(size_of::<S::Value>(), first));
        let part = Part { seed, budget: self.budget, key: false, price };
        self.inner.next_element_seed(part).map_err(|error| self.budget.inward(error))
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

/// Entries of a map, or fields of a structure.
pub(super) struct Entries<'m, A> {
    inner: A,
    budget: &'m DecodeBudget<'m>,
    grows: bool,
    number: usize,
    key_size: usize,
}

impl<'m, A> Entries<'m, A> {
    pub(super) fn new(inner: A, budget: &'m DecodeBudget<'m>, grows: bool) -> Entries<'m, A> {
        Entries { inner, budget, grows, number: 0, key_size: 0 }
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Entries<'_, A> {
    type Error = DecodeError;

    #[inline]
    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, DecodeError> {
        self.key_size = size_of::<S::Value>();
        let part = Part { seed, budget: self.budget, key: true, price: None };
        self.inner.next_key_seed(part).map_err(|error| self.budget.inward(error))
    }

    #[inline]
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, DecodeError> {
        let price = self.grows.then(|| entry_price(self.key_size + size_of::<S::Value>(), self.number));
        self.number += 1;
        let part = Part { seed, budget: self.budget, key: false, price };
        self.inner.next_value_seed(part).map_err(|error| self.budget.inward(error))
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

/// A variant of an enum, and its contents.
pub(super) struct Choice<'m, A> {
    pub(super) inner: A,
    pub(super) budget: &'m DecodeBudget<'m>,
}

impl<'de, 'm, A: EnumAccess<'de>> EnumAccess<'de> for Choice<'m, A> {
    type Error = DecodeError;
    type Variant = Choice<'m, A::Variant>;

    #[inline]
    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Self::Variant), DecodeError> {
        let Choice { inner, budget } = self;
        let part = Part { seed, budget, key: false, price: None };
        let (variant, inner) = inner.variant_seed(part).map_err(|error| budget.inward(error))?;
        Ok((variant, Choice { inner, budget }))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Choice<'_, A> {
    type Error = DecodeError;

    #[inline]
    fn unit_variant(self) -> Result<(), DecodeError> {
        self.inner.unit_variant().map_err(|error| self.budget.inward(error))
    }

    #[inline]
    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, DecodeError> {
        let Choice { inner, budget } = self;
        inner
            .newtype_variant_seed(Part { seed, budget, key: false, price: None })
            .map_err(|error| budget.inward(error))
    }

    #[inline]
    fn tuple_variant<V: Visitor<'de>>(self, count: usize, visitor: V) -> Result<V::Value, DecodeError> {
        let Choice { inner, budget } = self;
        let visitor = BudgetedVisitor::<V, { kinds::ALL }>::new(visitor, budget);
        inner.tuple_variant(count, visitor).map_err(|error| budget.inward(error))
    }

    #[inline]
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        let Choice { inner, budget } = self;
        let visitor = BudgetedVisitor::<V, { kinds::ALL }>::new(visitor, budget);
        inner.struct_variant(fields, visitor).map_err(|error| budget.inward(error))
    }
}
