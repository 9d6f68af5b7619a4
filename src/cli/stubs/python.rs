//! Python: a `TypedDict` for each structure, a class for each service, over anything with the package's `call`.

use super::errors::ErrorLists;
use super::names::{Declared, Names, StubMethod, function_name, quoted, services, type_name};
use crate::schema::{Scalar, Shape};

const TAKEN: [&str; 14] = [
    "Any",
    "Caller",
    "Dict",
    "IntEnum",
    "List",
    "Literal",
    "None",
    "Optional",
    "Protocol",
    "Sequence",
    "Services",
    "True",
    "TypedDict",
    "Union",
];

const KEYWORDS: [&str; 33] = [
    "and", "as", "assert", "async", "await", "break", "class", "continue", "def", "del", "elif", "else",
    "except", "finally", "for", "from", "global", "if", "import", "in", "is", "lambda", "nonlocal", "not",
    "or", "pass", "raise", "return", "self", "try", "while", "with", "yield",
];

const HEAD: &str = "\
# Written by `boneyard stubs --lang python`. Use it so: Services(boneyard.Client(\"127.0.0.1:1352\")).notes.read(1)

from typing import Any, Dict, List, Literal, Optional, Protocol, Sequence, TypedDict, Union


class Caller(Protocol):
    def call(self, method: str, arguments: Any = None, /) -> Any: ...

";

pub(super) fn write(methods: &[StubMethod]) -> String {
    let mut types = Types(Declared::new(&TAKEN));
    let errors = ErrorLists::new(methods, &mut types.0.names);
    let (mut classes, mut list) = (String::new(), String::new());
    let mut attributes = Names::new(&KEYWORDS);
    for (service, methods) in services(methods) {
        let class = types.0.names.unique(&format!("{}Service", type_name(service)));
        classes += &format!(
            "\n\nclass {class}:\n    def __init__(self, caller: Caller) -> None:\n        self._caller = caller\n"
        );
        let mut names = Names::new(&KEYWORDS);
        names.unique("_caller");
        names.unique("__init__");
        for method in methods {
            classes += &function(
                method,
                &names.unique(&function_name(method.service_and_name().1)),
                &mut types,
                &errors,
            );
        }
        list += &format!("        self.{} = {class}(caller)\n", attributes.unique(&function_name(service)));
    }
    let types = types.0.text;
    let services = format!("\n\nclass Services:\n    def __init__(self, caller: Caller) -> None:\n{list}");
    let head = match errors.is_empty() {
        true => HEAD.to_owned(),
        false => HEAD.replacen("\nfrom typing", "\nfrom enum import IntEnum\nfrom typing", 1),
    };
    format!("{head}{}{types}{classes}{services}", errors.python())
}

fn function(method: &StubMethod, name: &str, types: &mut Types, errors: &ErrorLists<'_>) -> String {
    let (takes, gives) = method.types("Any", |shape, wanted| types.of(shape, wanted));
    let (parameter, argument) = match takes.as_str() {
        "None" => (String::new(), "None"),
        takes => (format!(", arguments: {takes}"), "arguments"),
    };
    let why = method.why("        # ", "\n") + &errors.of(method, "        # ", "\n");
    let called = quoted(&method.name);
    format!(
        "\n    def {name}(self{parameter}) -> {gives}:\n{why}        \
         result: {gives} = self._caller.call({called}, {argument})\n        return result\n"
    )
}

struct Types(Declared);

impl Types {
    /// Type of a shape; declares those that need it. `wanted` is the name of a structure without one.
    fn of(&mut self, shape: &Shape, wanted: &str) -> String {
        match shape {
            Shape::Scalar(scalar) => scalar_type(*scalar).to_owned(),
            Shape::Option(inner) => format!("Optional[{}]", self.of(inner, wanted)),
            Shape::List(element) | Shape::Array(element, _) => format!("List[{}]", self.of(element, wanted)),
            // A key is always text in JSON.
            Shape::Map(_, value) => format!("Dict[str, {}]", self.of(value, wanted)),
            Shape::Tuple(parts) => {
                let mut parts: Vec<String> = parts.iter().map(|part| self.of(part, wanted)).collect();
                parts.sort();
                parts.dedup();
                if parts.is_empty() {
                    "Sequence[Any]".to_owned()
                } else {
                    format!("Sequence[{}]", either(&parts))
                }
            }
            Shape::Structure { name, fields } => {
                let wanted = if name.is_empty() { wanted } else { name };
                let fields: Vec<String> = fields
                    .iter()
                    .map(|(field, shape)| {
                        format!("{}: {}", quoted(field), self.of(shape, &format!("{wanted} {field}")))
                    })
                    .collect();
                let fields = fields.join(", ");
                let write = |name: &str| format!("\n{name} = TypedDict(\"{name}\", {{{fields}}})\n");
                self.0.name(shape, wanted, write)
            }
            Shape::Enum { name, variants } => {
                let wanted = if name.is_empty() { wanted } else { name };
                let variants: Vec<String> = variants
                    .iter()
                    .map(|(variant, held)| self.variant(wanted, variant, held.as_ref()))
                    .collect();
                self.0.name(shape, wanted, |name| format!("\n{name} = {}\n", either(&variants)))
            }
        }
    }

    /// A variant without data is its name, another an object of one field.
    fn variant(&mut self, name: &str, variant: &str, held: Option<&Shape>) -> String {
        match held {
            None => format!("Literal[{}]", quoted(variant)),
            Some(held) => {
                let fields = vec![(variant.to_owned(), held.clone())];
                self.of(&Shape::Structure { name: format!("{name} {variant}"), fields }, "")
            }
        }
    }
}

fn either(types: &[String]) -> String {
    match types {
        [] => "None".to_owned(),
        [one] => one.clone(),
        types => format!("Union[{}]", types.join(", ")),
    }
}

fn scalar_type(scalar: Scalar) -> &'static str {
    match scalar {
        Scalar::Nothing => "None",
        Scalar::Bool => "bool",
        Scalar::Char | Scalar::Text => "str",
        Scalar::Bytes => "List[int]",
        // JSON has no NaN: a result has null instead.
        Scalar::F32 | Scalar::F64 => "float",
        Scalar::Any => "Any",
        _ => "int",
    }
}
