//! Parses a shape from its text. The text comes from a peer: its length and depth are bounded, and the shape is never
//! larger than a fixed multiple of its text.

use super::shape::{Scalar, Shape, is_word, is_word_char};
use thiserror::Error;

/// Limit on the nesting that is parsed. Traced shapes are less deep.
const DEPTH_MAX: usize = 64;

/// Limit on the text, in bytes: a shape takes some dozen times its text. Traced shapes have at most 4096 parts.
const TEXT_BYTES_MAX: usize = 1 << 20;

/// A text is not a shape.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("not a shape, from byte {at} on: expected {expected}")]
pub struct Unreadable {
    /// Offset in the text, in bytes.
    pub at: usize,
    /// Description of what should be there.
    pub expected: &'static str,
}

impl std::str::FromStr for Shape {
    type Err = Unreadable;

    fn from_str(text: &str) -> Result<Shape, Unreadable> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(Unreadable { at: TEXT_BYTES_MAX, expected: "the end" });
        }
        let mut reader = Reader { text, at: 0 };
        let shape = reader.shape(0)?;
        if reader.peek().is_some() { Err(reader.wrong("the end")) } else { Ok(shape) }
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn wrong(&self, expected: &'static str) -> Unreadable {
        Unreadable { at: self.at, expected }
    }

    /// Skips blanks and returns the next character.
    fn peek(&mut self) -> Option<char> {
        let rest = &self.text[self.at..];
        self.at = self.text.len() - rest.trim_start_matches([' ', '\n']).len();
        self.text[self.at..].chars().next()
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    fn demand(&mut self, wanted: char, expected: &'static str) -> Result<(), Unreadable> {
        if self.take(wanted) { Ok(()) } else { Err(self.wrong(expected)) }
    }

    fn shape(&mut self, depth: usize) -> Result<Shape, Unreadable> {
        if depth > DEPTH_MAX {
            return Err(self.wrong("something less deep"));
        }
        let mut shape = match self.peek() {
            Some('[') => self.bracket(depth)?,
            Some('(') => self.tuple(depth)?,
            Some('{') => self.structure(String::new(), depth)?,
            Some('<') => self.variants(String::new(), depth)?,
            Some(_) => self.named(depth)?,
            None => return Err(self.wrong("a shape")),
        };
        let mut options = 0;
        while self.take('?') {
            options += 1;
            if depth + options > DEPTH_MAX {
                return Err(self.wrong("something less deep"));
            }
            shape = Shape::Option(Box::new(shape));
        }
        Ok(shape)
    }

    fn bracket(&mut self, depth: usize) -> Result<Shape, Unreadable> {
        self.demand('[', "[")?;
        let element = Box::new(self.shape(depth + 1)?);
        let shape = if self.take(':') {
            Shape::Map(element, Box::new(self.shape(depth + 1)?))
        } else if self.take(';') {
            Shape::Array(element, self.number()?)
        } else {
            Shape::List(element)
        };
        self.demand(']', "]")?;
        Ok(shape)
    }

    fn number(&mut self) -> Result<usize, Unreadable> {
        self.peek();
        let rest = &self.text[self.at..];
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let number = rest[..digits].parse().map_err(|_| self.wrong("a number"))?;
        self.at += digits;
        Ok(number)
    }

    fn tuple(&mut self, depth: usize) -> Result<Shape, Unreadable> {
        self.demand('(', "(")?;
        let mut parts = Vec::new();
        while !self.take(')') {
            if !parts.is_empty() {
                self.demand(',', ", or )")?;
            }
            parts.push(self.shape(depth + 1)?);
        }
        Ok(Shape::Tuple(parts))
    }

    fn structure(&mut self, name: String, depth: usize) -> Result<Shape, Unreadable> {
        self.demand('{', "{")?;
        let mut fields = Vec::new();
        while !self.take('}') {
            if !fields.is_empty() {
                self.demand(',', ", or }")?;
            }
            let field = self.name()?;
            self.demand(':', ":")?;
            fields.push((field, self.shape(depth + 1)?));
        }
        Ok(Shape::Structure { name, fields })
    }

    fn variants(&mut self, name: String, depth: usize) -> Result<Shape, Unreadable> {
        self.demand('<', "<")?;
        let mut variants = Vec::new();
        while !self.take('>') {
            if !variants.is_empty() {
                self.demand('|', "| or >")?;
            }
            let variant = self.name()?;
            let held = if self.take(':') { Some(self.shape(depth + 1)?) } else { None };
            variants.push((variant, held));
        }
        Ok(Shape::Enum { name, variants })
    }

    fn named(&mut self, depth: usize) -> Result<Shape, Unreadable> {
        let start = self.at;
        let name = self.name()?;
        match self.peek() {
            Some('{') => self.structure(name, depth),
            Some('<') => self.variants(name, depth),
            _ => match Scalar::ALL.iter().find(|(_, known)| *known == name) {
                Some((plain, _)) => Ok(Shape::Scalar(*plain)),
                None => Err(Unreadable { at: start, expected: "a type" }),
            },
        }
    }

    /// Parses a word, or any text in quotes.
    fn name(&mut self) -> Result<String, Unreadable> {
        let quoted = self.peek() == Some('"');
        let rest = &self.text[self.at..];
        if quoted {
            let mut names = serde_json::Deserializer::from_str(rest).into_iter::<String>();
            let name = names.next().and_then(Result::ok).ok_or_else(|| self.wrong("a name in quotes"))?;
            self.at += names.byte_offset();
            return Ok(name);
        }
        let word = &rest[..rest.find(|c| !is_word_char(c)).unwrap_or(rest.len())];
        if !is_word(word) {
            return Err(self.wrong("a name"));
        }
        self.at += word.len();
        Ok(word.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_shape_is_parsed_again() {
        for text in [
            "u64",
            "text??",
            "[[u8]]",
            "[text: [u32: nothing]?]",
            "[u8; 16]",
            "()",
            "(u32, (bool), any)",
            "Note { id: u64, \"a b\": [text], text: text }",
            "Empty { }",
            "Color <Red | Rgb: (u8, u8, u8) | Named: { a: u8 } | \"\": nothing>",
            "\"My Type\" <\"an \\\"A\\\"\" | b-c>",
            "{ a: <A | B> }",
        ] {
            let shape: Shape = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(shape.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_shape_is_refused() {
        for text in [
            "",
            "u65",
            "[u8",
            "[u8; x]",
            "(u8",
            "(u8 u8)",
            "{ a u8 }",
            "A {",
            "A <B",
            "u8 u8",
            "\"x",
            "?",
            "[u8; 99999999999999999999]",
            "é",
            "u8é",
        ] {
            assert!(text.parse::<Shape>().is_err(), "{text}");
        }
        let deep = format!("{}u8{}", "[".repeat(1 << 18), "]".repeat(1 << 18));
        assert!(deep.parse::<Shape>().is_err());
        assert!(format!("u8{}", "?".repeat(1 << 18)).parse::<Shape>().is_err());
        let long = |elements: usize| format!("({}u8)", "u8,".repeat(elements)).parse::<Shape>();
        assert!(long(1 << 18).is_ok());
        assert_eq!(long(1 << 19), Err(Unreadable { at: TEXT_BYTES_MAX, expected: "the end" }));
    }
}
