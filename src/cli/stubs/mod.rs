//! `stubs`: typed client code for the methods of a running server, in other languages.
//!
//! Each language has a file, which knows how its types look and what it calls the client. This one asks the server and
//! gives types their names. What a server says is foreign text: a name becomes an identifier or a quoted string, never
//! code.

mod c;
mod python;
mod typescript;

use super::call::{Server, say_error};
use super::escape::one_line;
use super::{Exit, eprint_error, print};
use crate::client::{Client, ClientError};
use crate::schema::{Shape, Shapes};
use crate::service::builtin::{MethodSchema, SCHEMA};
use clap::{Args, ValueEnum};
use std::collections::{BTreeMap, HashSet};

/// Arguments of `stubs`.
#[derive(Debug, Args)]
pub(super) struct Stubs {
    #[command(flatten)]
    server: Server,
    /// The language.
    #[arg(long)]
    lang: Language,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Language {
    /// Classes over the `Client` of the Python package.
    Python,
    /// Functions over `boneyard_call` of the C library.
    C,
    /// Classes over a function that the program gives.
    #[value(name = "typescript")]
    TypeScript,
}

/// A method as a stub has it.
struct Method {
    /// `service.method`
    name: String,
    /// As JSON has them; `None` where they are not known.
    shapes: Option<Shapes>,
    /// Why not.
    unknown: String,
}

impl Stubs {
    pub(super) fn run(self) -> Exit {
        let methods = match self.server.client().and_then(|client| methods(&client)) {
            Ok(methods) => methods,
            Err(error) => return say_error(&error, &self.server.address),
        };
        for Method { name, unknown, .. } in methods.iter().filter(|method| method.shapes.is_none()) {
            eprint_error(&one_line(&format!("the types of {name} are not known: {unknown}")));
        }
        print(&match self.lang {
            Language::Python => python::write(&methods),
            Language::C => c::write(&methods),
            Language::TypeScript => typescript::write(&methods),
        })
    }
}

/// All methods with what the server says of them, by name.
///
/// # Errors
/// See [`Client::call`].
pub(super) fn schemas(client: &Client) -> Result<BTreeMap<String, MethodSchema>, ClientError> {
    let schema = |name: String| Ok((name.clone(), client.call(SCHEMA, &name)?));
    client.methods()?.into_iter().map(schema).collect()
}

fn methods(client: &Client) -> Result<Vec<Method>, ClientError> {
    // Sessions are the client library's: their numbers are good on one connection only.
    let own = |(name, _): &(String, MethodSchema)| !name.starts_with("session.");
    let method = |(name, schema): (String, MethodSchema)| {
        let read = schema.json.as_ref().map(|texts| texts.read()).transpose();
        let (shapes, unknown) = match read {
            Ok(shapes) => (shapes, schema.unknown),
            Err(error) => (None, format!("what the server says of them is {error}")),
        };
        Method { name, shapes, unknown }
    };
    Ok(schemas(client)?.into_iter().filter(own).map(method).collect())
}

impl Method {
    /// The words before the last dot, and the last.
    fn words(&self) -> (&str, &str) {
        self.name.rsplit_once('.').unwrap_or(("", &self.name))
    }

    /// What it takes and gives, or why that is not known.
    fn described(&self) -> String {
        match &self.shapes {
            Some(Shapes { request, response }) => format!("{request} -> {response}"),
            None => format!("types not known: {}", self.unknown),
        }
    }

    /// What it takes and gives, as a language writes them: `of` a shape, with a name for one that has none, or `any`.
    fn types(&self, any: &str, mut of: impl FnMut(&Shape, &str) -> String) -> (String, String) {
        match &self.shapes {
            Some(shapes) => (of(&shapes.request, "Request"), of(&shapes.response, "Response")),
            None => (any.to_owned(), any.to_owned()),
        }
    }

    /// Why its types are not known, as a comment that begins and ends so; nothing where they are.
    fn why(&self, begin: &str, end: &str) -> String {
        match self.shapes {
            Some(_) => String::new(),
            None => format!("{begin}{}{end}", comment(&self.described())),
        }
    }
}

/// Text that ends no comment of any of the languages.
fn comment(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
    text.chars().map(plain).collect::<String>().replace("*/", "* /")
}

/// Methods by service.
fn services(methods: &[Method]) -> BTreeMap<&str, Vec<&Method>> {
    let mut services: BTreeMap<&str, Vec<&Method>> = BTreeMap::new();
    for method in methods {
        services.entry(method.words().0).or_default().push(method);
    }
    services
}

/// Identifiers that are taken.
struct Names(HashSet<String>);

impl Names {
    fn new(taken: &[&str]) -> Names {
        Names(taken.iter().map(|name| (*name).to_owned()).collect())
    }

    /// This name, or one like it that is not taken.
    fn unique(&mut self, wanted: &str) -> String {
        let numbered = (2u32..).map(|number| format!("{wanted}_{number}"));
        let mut others = std::iter::once(format!("{wanted}_")).chain(numbered);
        let mut name = wanted.to_owned();
        while !self.0.insert(name.clone()) {
            name = others.next().unwrap_or_default();
        }
        name
    }
}

/// `aName` as a type is called: letters and digits, the first large.
fn large(name: &str) -> String {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let name: String =
        words.map(|word| format!("{}{}", word[..1].to_ascii_uppercase(), &word[1..])).collect();
    if name.starts_with(|c: char| c.is_ascii_alphabetic()) { name } else { format!("Type{name}") }
}

/// A name as a function is called: small letters, digits and `_`.
fn small(name: &str) -> String {
    let sign = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
    let name: String = name.chars().map(sign).collect();
    if name.starts_with(|c: char| c.is_ascii_digit()) { format!("_{name}") } else { name }
}

/// Text as a literal, the same in JSON, Python and TypeScript.
fn quoted(text: &str) -> String {
    // Escaped where an editor or a compiler could take it for the end of a line.
    let text = serde_json::Value::from(text).to_string();
    let sign = |c: char| if c.is_ascii() { c.to_string() } else { escaped(c) };
    text.chars().map(sign).collect()
}

fn escaped(c: char) -> String {
    let mut units = [0; 2];
    c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")).collect()
}

/// Types that have a declaration of their own: each once, with the name it has in the stub.
struct Declared {
    names: Names,
    types: Vec<(Shape, String)>,
    /// The declarations.
    text: String,
}

impl Declared {
    fn new(taken: &[&str]) -> Declared {
        Declared { names: Names::new(taken), types: Vec::new(), text: String::new() }
    }

    /// The name of a structure or an enum; `write` declares a new one of that name.
    fn name(&mut self, shape: &Shape, wanted: &str, write: impl FnOnce(&str) -> String) -> String {
        if let Some((_, name)) = self.types.iter().find(|(known, _)| known == shape) {
            return name.clone();
        }
        let name = self.names.unique(&large(wanted));
        self.types.push((shape.clone(), name.clone()));
        self.text += &write(&name);
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_identifiers_and_nothing_else() {
        assert_eq!(
            [large("note"), large("my note"), large("1"), large("ä")],
            ["Note", "MyNote", "Type1", "Type"]
        );
        assert_eq!([small("Read-it"), small("1x"), small("é")], ["read_it", "_1x", "_"]);
        let mut names = Names::new(&["class"]);
        assert_eq!(["class", "a", "a", "a"].map(|name| names.unique(name)), ["class_", "a", "a_", "a_2"]);
        assert_eq!(quoted("a\"\u{2028}\n😀"), r#""a\"\u2028\n\ud83d\ude00""#);
    }

    #[test]
    fn a_comment_cannot_be_ended_from_within() {
        let shapes = || "{ \"*/ x\\n\u{2028}\": u8 }".parse::<Shape>().unwrap();
        let shapes = Some(Shapes { request: shapes(), response: shapes() });
        let method = Method { name: "a.b".to_owned(), shapes, unknown: String::new() };
        assert!(comment(&method.described()).contains("x\\n?"), "{}", comment(&method.described()));
        assert!(!comment(&method.described()).contains("*/") && !comment(&method.described()).contains('\n'));
    }
}
