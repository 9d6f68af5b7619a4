//! Parts that a `TracingDeserializer` gives: elements, fields, entries and variants.

use super::deserializer::TracingDeserializer;
use super::node::{Context, Enum, Node, Structure, TraceError, VariantShape};
use serde::de::value::{BorrowedStrDeserializer, U32Deserializer};
use serde::de::{DeserializeSeed, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor};

/// Parts in their order.
pub(super) struct InOrder<'t, Nodes> {
    pub(super) nodes: Nodes,
    pub(super) context: &'t Context,
    pub(super) depth: usize,
}

impl<'t, Nodes: Iterator<Item = &'t mut Node>> SeqAccess<'static> for InOrder<'t, Nodes> {
    type Error = TraceError;

    fn next_element_seed<T: DeserializeSeed<'static>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, TraceError> {
        let Some(node) = self.nodes.next() else { return Ok(None) };
        seed.deserialize(TracingDeserializer::inner(self.context, self.depth, node)).map(Some)
    }
}

/// The fields of a structure, by name.
pub(super) struct ByName<'t, 'g> {
    pub(super) structure: &'g mut Structure,
    pub(super) order: &'g [usize],
    pub(super) given: &'g mut Vec<&'static str>,
    pub(super) asked: &'g mut bool,
    pub(super) context: &'t Context,
    pub(super) depth: usize,
}

impl MapAccess<'static> for ByName<'_, '_> {
    type Error = TraceError;

    fn next_key_seed<K: DeserializeSeed<'static>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, TraceError> {
        *self.asked = true;
        let Some(index) = self.order.get(self.given.len()) else { return Ok(None) };
        let name = self.structure.fields[*index].0;
        self.given.push(name);
        seed.deserialize(BorrowedStrDeserializer::new(name)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'static>>(&mut self, seed: V) -> Result<V::Value, TraceError> {
        let Some(index) = self.given.len().checked_sub(1).map(|last| self.order[last]) else {
            return Err(self.context.end("it asks for a value before its key"));
        };
        seed.deserialize(TracingDeserializer::inner(
            self.context,
            self.depth,
            &mut self.structure.fields[index].1,
        ))
    }
}

/// One key and its value.
pub(super) struct OneEntry<'t> {
    pub(super) key: Option<&'t mut Node>,
    pub(super) value: &'t mut Node,
    pub(super) context: &'t Context,
    pub(super) depth: usize,
}

impl MapAccess<'static> for OneEntry<'_> {
    type Error = TraceError;

    fn next_key_seed<K: DeserializeSeed<'static>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, TraceError> {
        let Some(node) = self.key.take() else { return Ok(None) };
        seed.deserialize(TracingDeserializer::inner(self.context, self.depth, node)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'static>>(&mut self, seed: V) -> Result<V::Value, TraceError> {
        seed.deserialize(TracingDeserializer::inner(self.context, self.depth, self.value))
    }
}

/// A variant of an enum.
pub(super) struct Chosen<'t> {
    pub(super) several: &'t mut Enum,
    pub(super) index: usize,
    pub(super) taken: &'t mut bool,
    pub(super) context: &'t Context,
    pub(super) depth: usize,
}

impl EnumAccess<'static> for Chosen<'_> {
    type Error = TraceError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'static>>(self, seed: V) -> Result<(V::Value, Self), TraceError> {
        let name = self.several.variants.get(self.index).map_or("", |(name, _)| name);
        let variant = if self.several.by_name {
            seed.deserialize(BorrowedStrDeserializer::new(name))?
        } else {
            seed.deserialize(U32Deserializer::new(self.index as u32))?
        };
        *self.taken = true;
        Ok((variant, self))
    }
}

impl<'t> Chosen<'t> {
    /// Returns the deserializer of the chosen variant's value.
    fn held(self) -> Result<TracingDeserializer<'t>, TraceError> {
        let context = self.context;
        let held = &mut self.several.variants[self.index].1;
        if matches!(held, VariantShape::Unknown) {
            *held = VariantShape::Value(Node::Unknown);
        }
        match held {
            VariantShape::Value(node) => Ok(TracingDeserializer::inner(context, self.depth, node)),
            _ => Err(context.end("its shape depends on its data")),
        }
    }
}

impl VariantAccess<'static> for Chosen<'_> {
    type Error = TraceError;

    fn unit_variant(self) -> Result<(), TraceError> {
        let held = &mut self.several.variants[self.index].1;
        match held {
            VariantShape::Unknown => {
                *held = VariantShape::Nothing;
                self.context.found()
            }
            VariantShape::Nothing => Ok(()),
            VariantShape::Value(_) => Err(self.context.end("its shape depends on its data")),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'static>>(self, seed: T) -> Result<T::Value, TraceError> {
        seed.deserialize(self.held()?)
    }

    fn tuple_variant<V: Visitor<'static>>(self, count: usize, visitor: V) -> Result<V::Value, TraceError> {
        self.held()?.tuple_of(count, visitor)
    }

    fn struct_variant<V: Visitor<'static>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, TraceError> {
        self.held()?.structure("", fields, visitor)
    }
}
