//! A type's shape, and how it is written for people.
//!
//! ```text
//! u64   text   bytes   nothing            plain
//! u64?                                    an option
//! [text]   [text: u64]   [u8; 16]         a list, a map, a fixed array
//! (u32, text)                             a tuple
//! Note { id: u64, tags: [text] }          a structure
//! Color <Red | Rgb: (u8, u8, u8)>         an enum; behind the colon what a variant holds
//! ```
//! A name that is not a word stands in quotes, as JSON writes it. `read.rs` reads what is written here.

use std::fmt::{self, Display, Formatter};

/// A type without parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Scalar {
    Nothing,
    Bool,
    I8,
    I16,
    I32,
    I64,
    I128,
    U8,
    U16,
    U32,
    U64,
    U128,
    F32,
    F64,
    Char,
    Text,
    Bytes,
    /// Anything JSON can say; bincode cannot.
    Any,
}

impl Scalar {
    /// All, with their names.
    pub const ALL: [(Scalar, &str); 18] = [
        (Scalar::Nothing, "nothing"),
        (Scalar::Bool, "bool"),
        (Scalar::I8, "i8"),
        (Scalar::I16, "i16"),
        (Scalar::I32, "i32"),
        (Scalar::I64, "i64"),
        (Scalar::I128, "i128"),
        (Scalar::U8, "u8"),
        (Scalar::U16, "u16"),
        (Scalar::U32, "u32"),
        (Scalar::U64, "u64"),
        (Scalar::U128, "u128"),
        (Scalar::F32, "f32"),
        (Scalar::F64, "f64"),
        (Scalar::Char, "char"),
        (Scalar::Text, "text"),
        (Scalar::Bytes, "bytes"),
        (Scalar::Any, "any"),
    ];

    /// Its name in the language of shapes.
    pub fn name(self) -> &'static str {
        Scalar::ALL.iter().find(|(plain, _)| *plain == self).map_or("", |(_, name)| name)
    }
}

/// The parts of a type. A structure of one part without a name is that part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    /// No parts.
    Scalar(Scalar),
    /// There or not.
    Option(Box<Shape>),
    /// Any number of elements.
    List(Box<Shape>),
    /// So many elements: a tuple of four or more that are alike.
    Array(Box<Shape>, usize),
    /// Keys and values.
    Map(Box<Shape>, Box<Shape>),
    /// Parts without names.
    Tuple(Vec<Shape>),
    /// Parts with names, in the order of bincode.
    Structure {
        /// The type's name; empty for the parts of an enum's variant.
        name: String,
        /// Names and shapes.
        fields: Vec<(String, Shape)>,
    },
    /// One of several.
    Enum {
        /// The type's name.
        name: String,
        /// Names, in the order of bincode, and what each holds.
        variants: Vec<(String, Option<Shape>)>,
    },
}

impl Shape {
    /// The same without the names of types, which neither codec writes.
    pub(super) fn nameless(&self) -> impl Display {
        Written { shape: self, named: false }
    }
}

impl Display for Shape {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Written { shape: self, named: true }.fmt(f)
    }
}

struct Written<'a> {
    shape: &'a Shape,
    named: bool,
}

impl Display for Written<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let part = |shape| Written { shape, named: self.named };
        match self.shape {
            Shape::Scalar(plain) => f.write_str(plain.name()),
            Shape::Option(inner) => write!(f, "{}?", part(inner)),
            Shape::List(element) => write!(f, "[{}]", part(element)),
            Shape::Array(element, count) => write!(f, "[{}; {count}]", part(element)),
            Shape::Map(key, value) => write!(f, "[{}: {}]", part(key), part(value)),
            Shape::Tuple(parts) => {
                f.write_str("(")?;
                separated(f, ", ", parts, |f, shape| part(shape).fmt(f))?;
                f.write_str(")")
            }
            Shape::Structure { name, fields } => {
                self.name(f, name)?;
                f.write_str("{ ")?;
                separated(f, ", ", fields, |f, (name, shape)| write!(f, "{}: {}", Name(name), part(shape)))?;
                f.write_str(if fields.is_empty() { "}" } else { " }" })
            }
            Shape::Enum { name, variants } => {
                self.name(f, name)?;
                f.write_str("<")?;
                separated(f, " | ", variants, |f, (name, shape)| match shape {
                    None => Name(name).fmt(f),
                    Some(shape) => write!(f, "{}: {}", Name(name), part(shape)),
                })?;
                f.write_str(">")
            }
        }
    }
}

impl Written<'_> {
    fn name(&self, f: &mut Formatter<'_>, name: &str) -> fmt::Result {
        if self.named && !name.is_empty() { write!(f, "{} ", Name(name)) } else { Ok(()) }
    }
}

/// A name as it is written: a word, or quoted.
struct Name<'a>(&'a str);

impl Display for Name<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if is_word(self.0) {
            f.write_str(self.0)
        } else {
            f.write_str(&serde_json::Value::from(self.0).to_string())
        }
    }
}

/// Letters, digits, `_` and `-`, and no digit or `-` first.
pub(super) fn is_word(name: &str) -> bool {
    let first = name.chars().next();
    first.is_some_and(|c| c.is_ascii_alphabetic() || c == '_') && name.chars().all(is_word_char)
}

pub(super) fn is_word_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-')
}

fn separated<'p, T>(
    f: &mut Formatter<'_>,
    separator: &str,
    parts: &'p [T],
    mut write: impl FnMut(&mut Formatter<'_>, &'p T) -> fmt::Result,
) -> fmt::Result {
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            f.write_str(separator)?;
        }
        write(f, part)?;
    }
    Ok(())
}
