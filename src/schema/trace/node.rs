//! The part of a type that has been seen so far: a shape with gaps; and the state and limits of a trace.

use crate::schema::shape::{Scalar, Shape};
use serde::de;
use std::cell::{Cell, RefCell};
use thiserror::Error;

/// A part of a type.
#[derive(Debug, Default)]
pub(super) enum Node {
    #[default]
    Unknown,
    Scalar(Scalar),
    Option(Box<Node>),
    List(Box<Node>),
    Map(Box<(Node, Node)>),
    Tuple(Vec<Node>),
    Structure(Structure),
    Enum(Enum),
}

#[derive(Debug)]
pub(super) struct Structure {
    pub(super) name: &'static str,
    pub(super) fields: Vec<(&'static str, Node)>,
    /// It does not take its fields by name.
    pub(super) in_order: bool,
}

#[derive(Debug)]
pub(super) struct Enum {
    pub(super) name: &'static str,
    pub(super) variants: Vec<(&'static str, VariantShape)>,
    /// It does not take its variants by number.
    pub(super) by_name: bool,
}

/// Value of a variant.
#[derive(Debug)]
pub(super) enum VariantShape {
    Unknown,
    Nothing,
    Value(Node),
}

impl Node {
    /// Returns whether all of it has been seen.
    pub(super) fn is_complete(&self) -> bool {
        match self {
            Node::Unknown => false,
            Node::Scalar(_) => true,
            Node::Option(inner) | Node::List(inner) => inner.is_complete(),
            Node::Map(parts) => parts.0.is_complete() && parts.1.is_complete(),
            Node::Tuple(parts) => parts.iter().all(Node::is_complete),
            Node::Structure(structure) => structure.fields.iter().all(|(_, node)| node.is_complete()),
            Node::Enum(several) => several.variants.iter().all(|(_, held)| held.is_complete()),
        }
    }

    /// Returns the shape; parts not seen become `any`.
    pub(super) fn shape(self) -> Shape {
        match self {
            Node::Unknown => Shape::Scalar(Scalar::Any),
            Node::Scalar(plain) => Shape::Scalar(plain),
            Node::Option(inner) => Shape::Option(Box::new(inner.shape())),
            Node::List(element) => Shape::List(Box::new(element.shape())),
            Node::Map(parts) => Shape::Map(Box::new(parts.0.shape()), Box::new(parts.1.shape())),
            Node::Tuple(parts) => tuple(parts.into_iter().map(Node::shape).collect()),
            Node::Structure(Structure { name, fields, .. }) => {
                let fields = fields.into_iter().map(|(name, node)| (name.to_owned(), node.shape()));
                Shape::Structure { name: name.to_owned(), fields: fields.collect() }
            }
            Node::Enum(Enum { name, variants, .. }) => {
                let held =
                    |held| if let VariantShape::Value(node) = held { Some(node.shape()) } else { None };
                let variants = variants.into_iter().map(|(name, value)| (name.to_owned(), held(value)));
                Shape::Enum { name: name.to_owned(), variants: variants.collect() }
            }
        }
    }

    /// The part is of this kind: writes it down if it is new. `kind` gives what it holds if it is of that kind.
    pub(super) fn settle<'n, T: ?Sized>(
        &'n mut self,
        context: &Context,
        new: impl FnOnce() -> Node,
        kind: impl FnOnce(&'n mut Node) -> Option<&'n mut T>,
    ) -> Result<&'n mut T, TraceError> {
        if matches!(self, Node::Unknown) {
            context.found()?;
            *self = new();
        }
        kind(self).ok_or_else(|| context.end("its shape depends on its data"))
    }
}

impl VariantShape {
    pub(super) fn is_complete(&self) -> bool {
        match self {
            VariantShape::Unknown => false,
            VariantShape::Nothing => true,
            VariantShape::Value(node) => node.is_complete(),
        }
    }
}

/// Returns an array for four or more equal parts, and a tuple otherwise.
fn tuple(mut parts: Vec<Shape>) -> Shape {
    let alike = parts.windows(2).all(|pair| pair[0] == pair[1]);
    match parts.len() {
        count @ 4.. if alike => Shape::Array(Box::new(parts.swap_remove(0)), count),
        _ => Shape::Tuple(parts),
    }
}

/// Limit on the nesting of types.
pub(super) const DEPTH_MAX: usize = 32;

/// Limit on the parts of a type.
pub(super) const NODES_MAX: usize = 4096;

/// Limit on the parts visited over all passes: some hundredths of a second.
const VISITS_MAX: usize = 200_000;

/// State that all parts of a trace share.
#[derive(Default)]
pub(super) struct Context {
    pub(super) human: bool,
    /// Index of the made-up values that are given.
    pub(super) sample: Cell<usize>,
    /// Number of parts seen for the first time.
    pub(super) found: Cell<usize>,
    pub(super) visits: Cell<usize>,
    /// Names of the types that are being decoded, the outermost first.
    pub(super) open: RefCell<Vec<&'static str>>,
    /// Reason why there is no shape. Kept here since a `Deserialize` may swallow the error.
    pub(super) ended: RefCell<Option<String>>,
}

impl Context {
    pub(super) fn end(&self, reason: impl Into<String>) -> TraceError {
        self.ended.borrow_mut().get_or_insert(reason.into());
        TraceError::Value("the trace has ended".to_owned())
    }

    /// Counts a visit.
    pub(super) fn visit(&self) -> Result<(), TraceError> {
        self.visits.set(self.visits.get() + 1);
        if self.visits.get() > VISITS_MAX {
            return Err(self.end("it takes too long to trace"));
        }
        Ok(())
    }

    /// Counts a new part.
    pub(super) fn found(&self) -> Result<(), TraceError> {
        self.found.set(self.found.get() + 1);
        if self.found.get() > NODES_MAX {
            return Err(self.end(format!("it has more than {NODES_MAX} parts")));
        }
        Ok(())
    }
}

/// Error that a `Deserialize` returns for a value.
#[derive(Debug, Error)]
pub(super) enum TraceError {
    #[error("{0}")]
    Value(String),
    /// The field of this name was given twice, so the last name given was another name of it.
    #[error("duplicate field {0}")]
    Duplicate(&'static str),
}

impl de::Error for TraceError {
    fn custom<T: std::fmt::Display>(message: T) -> TraceError {
        TraceError::Value(message.to_string())
    }

    fn duplicate_field(field: &'static str) -> TraceError {
        TraceError::Duplicate(field)
    }
}
