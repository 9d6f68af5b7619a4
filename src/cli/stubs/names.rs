//! Methods of the server as generated code has them: unique names, comments, and types that have a declaration of their
//! own.

use crate::schema::{MethodErrors, Shape, Shapes};
use std::collections::{BTreeMap, HashSet};

/// Identifiers in use.
pub(super) struct Names(HashSet<String>);

impl Names {
    pub(super) fn new(taken: &[&str]) -> Names {
        Names(taken.iter().map(|name| (*name).to_owned()).collect())
    }

    /// Returns this name, or a similar one that is not in use.
    pub(super) fn unique(&mut self, wanted: &str) -> String {
        let numbered = (2u32..).map(|number| format!("{wanted}_{number}"));
        let mut others = std::iter::once(format!("{wanted}_")).chain(numbered);
        let mut name = wanted.to_owned();
        while !self.0.insert(name.clone()) {
            name = others.next().unwrap_or_default();
        }
        name
    }
}

/// Name of a type: letters and digits, each word with an upper-case initial.
pub(super) fn type_name(name: &str) -> String {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let name: String =
        words.map(|word| format!("{}{}", word[..1].to_ascii_uppercase(), &word[1..])).collect();
    if name.starts_with(|c: char| c.is_ascii_alphabetic()) { name } else { format!("Type{name}") }
}

/// Name of a function: lower-case letters, digits and `_`.
pub(super) fn function_name(name: &str) -> String {
    let sign = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
    let name: String = name.chars().map(sign).collect();
    if name.starts_with(|c: char| c.is_ascii_digit()) { format!("_{name}") } else { name }
}

/// Text as a literal, the same in JSON, Python and TypeScript.
pub(super) fn quoted(text: &str) -> String {
    // Escaped, because an editor or a compiler could read it as the end of a line.
    let text = serde_json::Value::from(text).to_string();
    let sign = |c: char| if c.is_ascii() { c.to_string() } else { escaped(c) };
    text.chars().map(sign).collect()
}

fn escaped(c: char) -> String {
    let mut units = [0; 2];
    c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")).collect()
}

/// Types that have a declaration of their own: each once, with its name in the stub.
pub(super) struct Declared {
    pub(super) names: Names,
    types: Vec<(Shape, String)>,
    /// The declarations.
    pub(super) text: String,
}

impl Declared {
    pub(super) fn new(taken: &[&str]) -> Declared {
        Declared { names: Names::new(taken), types: Vec::new(), text: String::new() }
    }

    /// Returns the name of a structure or an enum; `write` declares a new one of that name.
    pub(super) fn name(&mut self, shape: &Shape, wanted: &str, write: impl FnOnce(&str) -> String) -> String {
        if let Some((_, name)) = self.types.iter().find(|(known, _)| known == shape) {
            return name.clone();
        }
        let name = self.names.unique(&type_name(wanted));
        self.types.push((shape.clone(), name.clone()));
        self.text += &write(&name);
        name
    }
}

/// A method of the server.
pub(super) struct StubMethod {
    /// `service.method`
    pub(super) name: String,
    /// Types in JSON; `None` if unknown.
    pub(super) shapes: Option<Shapes>,
    /// Reason why they are unknown.
    pub(super) unknown: String,
    /// Fingerprint of its types; 0 where they are not known.
    pub(super) fingerprint: u64,
    /// Application errors that it lists.
    pub(super) errors: MethodErrors,
}

impl StubMethod {
    /// Names of the service and of the method in it.
    pub(super) fn service_and_name(&self) -> (&str, &str) {
        self.name.rsplit_once('.').unwrap_or(("", &self.name))
    }

    /// Types of arguments and result, or why they are unknown.
    pub(super) fn described(&self) -> String {
        match &self.shapes {
            Some(Shapes { request, response }) if self.errors.is_empty() => {
                format!("{request} -> {response}")
            }
            Some(Shapes { request, response }) => format!("{request} -> {response} ! {}", self.errors),
            None => format!("types not known: {}", self.unknown),
        }
    }

    /// Types of arguments and result in a language: `of` a shape, with a name for one that has none, or `any`.
    pub(super) fn types(&self, any: &str, mut of: impl FnMut(&Shape, &str) -> String) -> (String, String) {
        match &self.shapes {
            Some(shapes) => (of(&shapes.request, "Request"), of(&shapes.response, "Response")),
            None => (any.to_owned(), any.to_owned()),
        }
    }

    /// Comment with the reason why its types are unknown; empty if they are known.
    pub(super) fn why(&self, begin: &str, end: &str) -> String {
        match self.shapes {
            Some(_) => String::new(),
            None => format!("{begin}{}{end}", comment(&self.described())),
        }
    }
}

/// Returns text that ends no comment of any of the languages.
pub(super) fn comment(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
    text.chars().map(plain).collect::<String>().replace("*/", "* /")
}

pub(super) fn services(methods: &[StubMethod]) -> BTreeMap<&str, Vec<&StubMethod>> {
    let mut services: BTreeMap<&str, Vec<&StubMethod>> = BTreeMap::new();
    for method in methods {
        services.entry(method.service_and_name().0).or_default().push(method);
    }
    services
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_identifiers_and_nothing_else() {
        assert_eq!(
            [type_name("note"), type_name("my note"), type_name("1"), type_name("ä")],
            ["Note", "MyNote", "Type1", "Type"]
        );
        assert_eq!(
            [function_name("Read-it"), function_name("1x"), function_name("é")],
            ["read_it", "_1x", "_"]
        );
        let mut names = Names::new(&["class"]);
        assert_eq!(["class", "a", "a", "a"].map(|name| names.unique(name)), ["class_", "a", "a_", "a_2"]);
        assert_eq!(quoted("a\"\u{2028}\n😀"), r#""a\"\u2028\n\ud83d\ude00""#);
    }

    #[test]
    fn a_comment_cannot_be_ended_from_within() {
        let shapes = || "{ \"*/ x\\n\u{2028}\": u8 }".parse::<Shape>().unwrap();
        let shapes = Some(Shapes { request: shapes(), response: shapes() });
        let method = StubMethod {
            name: "a.b".to_owned(),
            shapes,
            unknown: String::new(),
            fingerprint: 0,
            errors: MethodErrors::default(),
        };
        assert!(comment(&method.described()).contains("x\\n?"), "{}", comment(&method.described()));
        assert!(!comment(&method.described()).contains("*/") && !comment(&method.described()).contains('\n'));
    }
}
