//! Deserializer that answers with made-up values and records each request.

use super::access::{ByName, Chosen, InOrder, OneEntry};
use super::node::{Context, DEPTH_MAX, Enum, NODES_MAX, Node, Structure, TraceError, VariantShape};
use crate::schema::shape::Scalar;
use serde::de::{Deserializer, Visitor};

/// Texts, each of which some type accepts.
const TEXTS: [&str; 13] = [
    "",
    "a",
    "1",
    "127.0.0.1",
    "127.0.0.1:1",
    "::1",
    "[::1]:1",
    "2000-01-01T00:00:00Z",
    "2000-01-01",
    "00:00:00",
    "00000000-0000-0000-0000-000000000000",
    "http://a/",
    "1.0.0",
];

/// Numbers, each of which some type accepts; all fit in a signed byte.
const NUMBERS: [u8; 4] = [1, 0, 2, 10];

/// Byte strings of lengths, each of which some type accepts.
const BYTES: [&[u8]; 4] = [&[], &[0; 16], &[0; 32], &[0; 4]];

/// Limit on how often a type is open at once: a helper that decodes a type may have its name.
const SAME_TYPE_MAX: usize = 3;

/// Gives one value.
pub(super) struct TracingDeserializer<'t> {
    pub(super) node: &'t mut Node,
    pub(super) context: &'t Context,
    pub(super) depth: usize,
}

impl<'t> TracingDeserializer<'t> {
    /// Makes the deserializer of a part.
    pub(super) fn inner(context: &'t Context, depth: usize, node: &'t mut Node) -> TracingDeserializer<'t> {
        TracingDeserializer { node, context, depth: depth + 1 }
    }

    /// Checks the limits, and records a type without parts.
    fn plain(self, plain: Scalar) -> Result<usize, TraceError> {
        let context = self.context;
        context.visit()?;
        let same = |node: &'t mut Node| match node {
            Node::Scalar(known) if *known == plain => Some(known),
            _ => None,
        };
        self.node.settle(context, || Node::Scalar(plain), same)?;
        Ok(context.sample.get())
    }

    /// Opens a type with parts while `give` gives them.
    fn opened<V: Visitor<'static>>(
        self,
        visitor: V,
        give: impl FnOnce(TracingDeserializer<'t>, V) -> Result<V::Value, TraceError>,
    ) -> Result<V::Value, TraceError> {
        let context = self.context;
        if self.depth > DEPTH_MAX {
            return Err(context.end(format!("it is nested more than {DEPTH_MAX} deep")));
        }
        context.visit()?;
        let name = std::any::type_name::<V::Value>();
        let open = context.open.borrow().iter().filter(|open| **open == name).count();
        if open >= SAME_TYPE_MAX {
            return Err(context.end(format!("{name} contains itself")));
        }
        let depth = context.open.borrow().len();
        context.open.borrow_mut().push(name);
        let given = give(self, visitor);
        context.open.borrow_mut().truncate(depth);
        given
    }

    pub(super) fn tuple_of<V: Visitor<'static>>(
        self,
        count: usize,
        visitor: V,
    ) -> Result<V::Value, TraceError> {
        let TracingDeserializer { node, context, depth } = self;
        if count > NODES_MAX {
            return Err(context.end(format!("it has more than {NODES_MAX} parts")));
        }
        let new = || Node::Tuple((0..count).map(|_| Node::Unknown).collect());
        let parts = node.settle(context, new, |node| match node {
            Node::Tuple(parts) if parts.len() == count => Some(parts.as_mut_slice()),
            _ => None,
        })?;
        visitor.visit_seq(InOrder { nodes: parts.iter_mut(), context, depth })
    }

    pub(super) fn structure<V: Visitor<'static>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, TraceError> {
        let TracingDeserializer { node, context, depth } = self;
        let new = || {
            let fields = fields.iter().map(|name| (*name, Node::Unknown)).collect();
            Node::Structure(Structure { name, fields, in_order: false })
        };
        let known = node.settle(context, new, |node| match node {
            Node::Structure(known) if known.name == name => Some(known),
            _ => None,
        })?;
        if known.in_order {
            let nodes = known.fields.iter_mut().map(|(_, node)| node).collect::<Vec<_>>().into_iter();
            return visitor.visit_seq(InOrder { nodes, context, depth });
        }
        let order = order(&known.fields, context.sample.get());
        let mut given = Vec::new();
        let mut asked = false;
        let access =
            ByName { structure: known, order: &order, given: &mut given, asked: &mut asked, context, depth };
        let outcome = visitor.visit_map(access);
        match &outcome {
            Err(TraceError::Duplicate(field)) => known.forget_alias(field, &given, context)?,
            Err(_) if !asked && !known.fields.is_empty() => {
                context.found()?;
                known.in_order = true;
            }
            _ => {}
        }
        outcome
    }

    fn one_of<V: Visitor<'static>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, TraceError> {
        let TracingDeserializer { node, context, depth } = self;
        let new = || {
            let variants = variants.iter().map(|name| (*name, VariantShape::Unknown)).collect();
            Node::Enum(Enum { name, variants, by_name: false })
        };
        let known = node.settle(context, new, |node| match node {
            Node::Enum(known) if known.name == name => Some(known),
            _ => None,
        })?;
        let gaps: Vec<usize> =
            (0..known.variants.len()).filter(|index| !known.variants[*index].1.is_complete()).collect();
        // All are seen: any variant will do, as long as the type accepts it.
        let sample = context.sample.get();
        let index = match gaps.len() {
            0 => sample.checked_rem(known.variants.len()).unwrap_or(0),
            gap_count => gaps[sample % gap_count],
        };
        let mut taken = false;
        let outcome = visitor.visit_enum(Chosen { several: known, index, taken: &mut taken, context, depth });
        if outcome.is_err() && !taken && index < known.variants.len() {
            if known.by_name || index > 0 {
                return Err(context.end("its variants have more than one name each"));
            }
            context.found()?;
            known.by_name = true;
        }
        outcome
    }
}

/// Returns the order in which fields are given: first those with gaps, and each of these at the front now and then.
fn order(fields: &[(&'static str, Node)], sample: usize) -> Vec<usize> {
    let (full, mut gaps): (Vec<_>, Vec<_>) =
        (0..fields.len()).partition(|index| fields[*index].1.is_complete());
    if !gaps.is_empty() {
        let turn = sample % gaps.len();
        gaps.rotate_left(turn);
    }
    gaps.into_iter().chain(full).collect()
}

impl Structure {
    /// Removes an alias after `field` was given under two names. The names of one field stand side by side in serde's
    /// list.
    fn forget_alias(
        &mut self,
        field: &'static str,
        given: &[&'static str],
        context: &Context,
    ) -> Result<(), TraceError> {
        let place = |name: &str| self.fields.iter().position(|(known, _)| *known == name);
        let alias = match given.last() {
            Some(last) if *last != field => place(last),
            _ => place(field).and_then(|own| {
                let was_given =
                    |index: &usize| self.fields.get(*index).is_some_and(|(name, _)| given.contains(name));
                own.checked_sub(1).filter(was_given).or(Some(own + 1).filter(was_given))
            }),
        };
        match alias {
            Some(alias) => {
                self.fields.remove(alias);
                context.found()
            }
            None => Err(context.end(format!("it says that field {field} was given twice"))),
        }
    }
}

/// Records a part of this kind, and gives what it holds.
macro_rules! settle {
    ($node:expr, $context:expr, $kind:ident) => {
        $node.settle(
            $context,
            || Node::$kind(Box::default()),
            |node| match node {
                Node::$kind(held) => Some(held.as_mut()),
                _ => None,
            },
        )
    };
}

macro_rules! scalar_methods {
    ($($method:ident $plain:ident $visit:ident $value:expr;)*) => {$(
        fn $method<V: Visitor<'static>>(self, visitor: V) -> Result<V::Value, TraceError> {
            let sample = self.plain(Scalar::$plain)?;
            let value: fn(usize) -> _ = $value;
            visitor.$visit(value(sample))
        }
    )*};
}

fn number(sample: usize) -> u8 {
    NUMBERS[sample % NUMBERS.len()]
}

impl<'t> Deserializer<'static> for TracingDeserializer<'t> {
    type Error = TraceError;

    fn is_human_readable(&self) -> bool {
        self.context.human
    }

    scalar_methods! {
        deserialize_bool Bool visit_bool |sample| sample % 2 == 1;
        deserialize_u8 U8 visit_u8 number;
        deserialize_u16 U16 visit_u16 |sample| number(sample).into();
        deserialize_u32 U32 visit_u32 |sample| number(sample).into();
        deserialize_u64 U64 visit_u64 |sample| number(sample).into();
        deserialize_u128 U128 visit_u128 |sample| number(sample).into();
        deserialize_i8 I8 visit_i8 |sample| number(sample) as i8;
        deserialize_i16 I16 visit_i16 |sample| number(sample).into();
        deserialize_i32 I32 visit_i32 |sample| number(sample).into();
        deserialize_i64 I64 visit_i64 |sample| number(sample).into();
        deserialize_i128 I128 visit_i128 |sample| number(sample).into();
        deserialize_f32 F32 visit_f32 |sample| number(sample).into();
        deserialize_f64 F64 visit_f64 |sample| number(sample).into();
        deserialize_char Char visit_char |sample| char::from(b'a' + number(sample));
        deserialize_str Text visit_borrowed_str |sample| TEXTS[sample % TEXTS.len()];
        deserialize_string Text visit_borrowed_str |sample| TEXTS[sample % TEXTS.len()];
        deserialize_bytes Bytes visit_borrowed_bytes |sample| BYTES[sample % BYTES.len()];
        deserialize_byte_buf Bytes visit_borrowed_bytes |sample| BYTES[sample % BYTES.len()];
    }

    fn deserialize_any<V: Visitor<'static>>(self, visitor: V) -> Result<V::Value, TraceError> {
        if !self.context.human {
            return Err(self
                .context
                .end("it needs to see its data to know its shape, which bincode does not carry"));
        }
        self.plain(Scalar::Any)?;
        visitor.visit_unit()
    }

    fn deserialize_ignored_any<V: Visitor<'static>>(self, visitor: V) -> Result<V::Value, TraceError> {
        self.deserialize_any(visitor)
    }

    fn deserialize_identifier<V: Visitor<'static>>(self, visitor: V) -> Result<V::Value, TraceError> {
        self.deserialize_any(visitor)
    }

    fn deserialize_unit<V: Visitor<'static>>(self, visitor: V) -> Result<V::Value, TraceError> {
        self.plain(Scalar::Nothing)?;
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'static>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, TraceError> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'static>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, TraceError> {
        // Neither codec writes anything for the wrapper.
        self.opened(visitor, |this, visitor| {
            let TracingDeserializer { node, context, depth } = this;
            visitor.visit_newtype_struct(TracingDeserializer::inner(context, depth, node))
        })
    }

    fn deserialize_option<V: Visitor<'static>>(self, visitor: V) -> Result<V::Value, TraceError> {
        self.opened(visitor, |TracingDeserializer { node, context, depth }, visitor| {
            let inner = settle!(node, context, Option)?;
            visitor.visit_some(TracingDeserializer::inner(context, depth, inner))
        })
    }

    fn deserialize_seq<V: Visitor<'static>>(self, visitor: V) -> Result<V::Value, TraceError> {
        self.opened(visitor, |TracingDeserializer { node, context, depth }, visitor| {
            let element = settle!(node, context, List)?;
            visitor.visit_seq(InOrder { nodes: std::iter::once(element), context, depth })
        })
    }

    fn deserialize_map<V: Visitor<'static>>(self, visitor: V) -> Result<V::Value, TraceError> {
        self.opened(visitor, |TracingDeserializer { node, context, depth }, visitor| {
            let parts = settle!(node, context, Map)?;
            visitor.visit_map(OneEntry { key: Some(&mut parts.0), value: &mut parts.1, context, depth })
        })
    }

    fn deserialize_tuple<V: Visitor<'static>>(
        self,
        count: usize,
        visitor: V,
    ) -> Result<V::Value, TraceError> {
        self.opened(visitor, |this, visitor| this.tuple_of(count, visitor))
    }

    fn deserialize_tuple_struct<V: Visitor<'static>>(
        self,
        _: &'static str,
        count: usize,
        visitor: V,
    ) -> Result<V::Value, TraceError> {
        self.deserialize_tuple(count, visitor)
    }

    fn deserialize_struct<V: Visitor<'static>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, TraceError> {
        self.opened(visitor, |this, visitor| this.structure(name, fields, visitor))
    }

    fn deserialize_enum<V: Visitor<'static>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, TraceError> {
        self.opened(visitor, |this, visitor| this.one_of(name, variants, visitor))
    }
}
