//! A method of the server, its types, and its comments in generated code.

use crate::schema::{Shape, Shapes};
use std::collections::BTreeMap;

/// A method of the server.
pub(super) struct StubMethod {
    /// `service.method`
    pub(super) name: String,
    /// Types in JSON; `None` if unknown.
    pub(super) shapes: Option<Shapes>,
    /// Reason why they are unknown.
    pub(super) unknown: String,
}

impl StubMethod {
    /// Names of the service and of the method in it.
    pub(super) fn service_and_name(&self) -> (&str, &str) {
        self.name.rsplit_once('.').unwrap_or(("", &self.name))
    }

    /// Types of arguments and result, or why they are unknown.
    pub(super) fn described(&self) -> String {
        match &self.shapes {
            Some(Shapes { request, response }) => format!("{request} -> {response}"),
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

/// Methods by service.
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
    fn a_comment_cannot_be_ended_from_within() {
        let shapes = || "{ \"*/ x\\n\u{2028}\": u8 }".parse::<Shape>().unwrap();
        let shapes = Some(Shapes { request: shapes(), response: shapes() });
        let method = StubMethod { name: "a.b".to_owned(), shapes, unknown: String::new() };
        assert!(comment(&method.described()).contains("x\\n?"), "{}", comment(&method.described()));
        assert!(!comment(&method.described()).contains("*/") && !comment(&method.described()).contains('\n'));
    }
}
