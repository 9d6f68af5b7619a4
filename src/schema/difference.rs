//! Finds the first difference between a client's and a server's shapes; `None` where each side can read what the other
//! writes.
//!
//! Invariant: two shapes with the same nameless text never differ. Two that bincode would misread always do.

use super::method_schema::Shapes;
use super::shape::Shape;

/// Characters of a shape that a message shows.
const SHOWN_CHARS_MAX: usize = 80;

/// Returns the first difference that matters: `response.tags[]: text here, u32 at the server`.
///
/// An enum may have more variants behind the others on the side that reads it. Everything else must be the same, names
/// of fields and variants included; names of types do not matter.
pub fn first_difference(here: &Shapes, server: &Shapes) -> Option<String> {
    let mut request = Comparison { path: "request".to_owned(), here_reads: false };
    let mut response = Comparison { path: "response".to_owned(), here_reads: true };
    request
        .compare(&here.request, &server.request)
        .or_else(|| response.compare(&here.response, &server.response))
}

struct Comparison {
    path: String,
    here_reads: bool,
}

impl Comparison {
    fn compare(&mut self, here: &Shape, server: &Shape) -> Option<String> {
        match (here, server) {
            (Shape::Option(here), Shape::Option(server)) => self.inside("", here, server),
            (Shape::List(here), Shape::List(server)) => self.inside("[]", here, server),
            (Shape::Array(here, count), Shape::Array(server, other)) if count == other => {
                self.inside("[]", here, server)
            }
            (Shape::Map(key, value), Shape::Map(other_key, other_value)) => {
                self.inside("[key]", key, other_key).or_else(|| self.inside("[value]", value, other_value))
            }
            (Shape::Tuple(here), Shape::Tuple(server)) if here.len() == server.len() => {
                let mut pairs = here.iter().zip(server).enumerate();
                pairs.find_map(|(index, (here, server))| self.inside(&format!(".{index}"), here, server))
            }
            (Shape::Structure { fields: here, .. }, Shape::Structure { fields: server, .. }) => {
                self.fields(here, server)
            }
            (Shape::Enum { variants: here, .. }, Shape::Enum { variants: server, .. }) => {
                self.variants(here, server)
            }
            (Shape::Scalar(here), Shape::Scalar(server)) if here == server => None,
            _ => Some(self.describe(&shown(here), &shown(server))),
        }
    }

    fn inside(&mut self, step: &str, here: &Shape, server: &Shape) -> Option<String> {
        self.at(step, |inner| inner.compare(here, server))
    }

    fn at<T>(&mut self, step: &str, run: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.path.len();
        self.path.push_str(step);
        let found = run(self);
        self.path.truncate(length);
        found
    }

    fn fields(&mut self, here: &[(String, Shape)], server: &[(String, Shape)]) -> Option<String> {
        for (index, (name, shape)) in here.iter().enumerate() {
            match server.get(index) {
                Some((other, _)) if other != name => {
                    return Some(self.describe(&nth("field", index, name), &nth("field", index, other)));
                }
                Some((_, other)) => {
                    let found = self.inside(&format!(".{name}"), shape, other);
                    if found.is_some() {
                        return found;
                    }
                }
                None => return Some(self.describe(&nth("field", index, name), "no more fields")),
            }
        }
        let (name, _) = server.get(here.len())?;
        Some(self.describe("no more fields", &nth("field", here.len(), name)))
    }

    fn variants(
        &mut self,
        here: &[(String, Option<Shape>)],
        server: &[(String, Option<Shape>)],
    ) -> Option<String> {
        for (index, ((name, held), (other, other_held))) in here.iter().zip(server).enumerate() {
            if name != other {
                return Some(self.describe(&nth("variant", index, name), &nth("variant", index, other)));
            }
            let holds = |held: &Option<Shape>| held.as_ref().map_or("nothing".to_owned(), shown);
            let found = self.at(&format!(".{name}"), |inner| match (held, other_held) {
                (None, None) => None,
                (Some(held), Some(other)) => inner.compare(held, other),
                _ => Some(inner.describe(&holds(held), &holds(other_held))),
            });
            if found.is_some() {
                return found;
            }
        }
        // The reading side may know more variants than the writing side.
        let last = |variants: &[(String, Option<Shape>)], index: usize| {
            variants.get(index).map_or("no more variants".to_owned(), |(name, _)| nth("variant", index, name))
        };
        let common = here.len().min(server.len());
        let unknown = if self.here_reads { server.len() > common } else { here.len() > common };
        unknown.then(|| self.describe(&last(here, common), &last(server, common)))
    }

    fn describe(&self, here: &str, server: &str) -> String {
        format!("{}: {here} here, {server} at the server", self.path)
    }
}

fn nth(what: &str, index: usize, name: &str) -> String {
    format!("{what} {} is {name:?}", index + 1)
}

/// Returns a shape's text, cut where it is long.
fn shown(shape: &Shape) -> String {
    let text = shape.to_string();
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        None => text,
        Some((end, _)) => format!("{}...", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difference(here: &str, server: &str) -> (Option<String>, Option<String>) {
        let shape = |text: &str| text.parse::<Shape>().unwrap();
        let nothing = || shape("nothing");
        let request = |text| Shapes { request: shape(text), response: nothing() };
        let response = |text| Shapes { request: nothing(), response: shape(text) };
        (
            first_difference(&request(here), &request(server)),
            first_difference(&response(here), &response(server)),
        )
    }

    #[test]
    fn the_first_difference_is_named() {
        for (here, server, expected) in [
            ("u32", "u64", ": u32 here, u64 at the server"),
            ("[A { tags: [text] }]", "[B { tags: [u32] }]", "[].tags[]: text here, u32 at the server"),
            ("(u8, u8?)", "(u8, u16?)", ".1: u8 here, u16 at the server"),
            ("(u8, u8)", "(u8)", ": (u8, u8) here, (u8) at the server"),
            ("[u8; 4]", "[u8; 5]", ": [u8; 4] here, [u8; 5] at the server"),
            ("[text: u8]", "[u8: u8]", "[key]: text here, u8 at the server"),
            ("[text: u8]", "[text: i8]", "[value]: u8 here, i8 at the server"),
            (
                "{ a: u8, b: u8 }",
                "{ b: u8, a: u8 }",
                ": field 1 is \"a\" here, field 1 is \"b\" at the server",
            ),
            ("{ a: u8 }", "{ a: u8, b: u8 }", ": no more fields here, field 2 is \"b\" at the server"),
            ("{ a: u8, b: u8 }", "{ a: u8 }", ": field 2 is \"b\" here, no more fields at the server"),
            ("<A | B>", "<B | A>", ": variant 1 is \"A\" here, variant 1 is \"B\" at the server"),
            ("<A: u8>", "<A>", ".A: u8 here, nothing at the server"),
            ("<A: u8>", "<A: { x: u8 }>", ".A: u8 here, { x: u8 } at the server"),
            ("u8", "u8?", ": u8 here, u8? at the server"),
        ] {
            let both = (Some(format!("request{expected}")), Some(format!("response{expected}")));
            assert_eq!(difference(here, server), both, "{here} / {server}");
        }
        assert_eq!(
            difference("A { x: B <C> }", "D { x: E <C> }"),
            (None, None),
            "names of types do not matter"
        );
    }

    #[test]
    fn the_reading_side_may_know_more_variants() {
        let (request, response) = difference("<A>", "<A | B>");
        let expected = "response: no more variants here, variant 2 is \"B\" at the server";
        assert_eq!((request, response.as_deref()), (None, Some(expected)));
        let (request, response) = difference("<A | B>", "<A>");
        let expected = "request: variant 2 is \"B\" here, no more variants at the server";
        assert_eq!((request.as_deref(), response), (Some(expected), None));
    }
}
