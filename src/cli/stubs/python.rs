//! Python: a `TypedDict` for each structure, and for each service two classes, blocking and asyncio, over anything with
//! the package's `call`.

use super::errors::ErrorLists;
use super::names::{Declared, Names, StubMethod, function_name, quoted, services, type_name};
use crate::schema::{Scalar, Shape};

const TAKEN: [&str; 17] = [
    "Any",
    "AsyncCaller",
    "AsyncServices",
    "Caller",
    "Dict",
    "IntEnum",
    "Json",
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
# Written by `boneyard stubs --lang python`. Use it so, or with AsyncServices, boneyard.aio.Client and await:
#
#     Services(boneyard.Client(\"127.0.0.1:1352\")).notes.read(1)

import inspect
from typing import Any, Dict, List, Literal, Optional, Protocol, Sequence, TypedDict, Union

# A result, and no coroutine: a type checker then tells the two kinds of clients apart.
Json = Union[None, bool, int, float, str, List[Any], Dict[str, Any]]


class Caller(Protocol):
    def call(self, method: str, arguments: Any = None, /) -> Json: ...


class AsyncCaller(Protocol):
    async def call(self, method: str, arguments: Any = None, /) -> Any: ...

";

/// A way to call: what its code has of its own.
struct Flavor {
    /// Before the names of its classes, and of the type of its clients.
    prefix: &'static str,
    /// Before `def`.
    define: &'static str,
    /// Before a call.
    wait: &'static str,
    /// Refusal of the other kind of client, whose results would be coroutines.
    check: &'static str,
}

const FLAVORS: [Flavor; 2] = [
    Flavor {
        prefix: "",
        define: "def",
        wait: "",
        check: "        if inspect.iscoroutinefunction(caller.call):\n            \
                raise TypeError(\"this client is for asyncio: use AsyncServices\")\n",
    },
    Flavor { prefix: "Async", define: "async def", wait: "await ", check: "" },
];

pub(super) fn write(methods: &[StubMethod]) -> String {
    let mut types = Types(Declared::new(&TAKEN));
    let errors = ErrorLists::new(methods, &mut types.0.names);
    let classes = FLAVORS.map(|flavor| types.classes(methods, &flavor, &errors)).concat();
    let head = match errors.is_empty() {
        true => HEAD.to_owned(),
        false => HEAD.replacen("\nfrom typing", "\nfrom enum import IntEnum\nfrom typing", 1),
    };
    format!("{head}{}{}{classes}", errors.python(), types.0.text)
}

struct Types(Declared);

impl Types {
    /// A class for each service, and one of them all.
    fn classes(&mut self, methods: &[StubMethod], flavor: &Flavor, errors: &ErrorLists<'_>) -> String {
        let Flavor { prefix, check, .. } = flavor;
        let (mut classes, mut list) = (String::new(), String::new());
        let mut attributes = Names::new(&KEYWORDS);
        for (service, methods) in services(methods) {
            let class = self.0.names.unique(&format!("{prefix}{}Service", type_name(service)));
            classes += &format!(
                "\n\nclass {class}:\n    def __init__(self, caller: {prefix}Caller) -> None:\n        \
                 self._caller: Any = caller\n"
            );
            let mut names = Names::new(&KEYWORDS);
            names.unique("_caller");
            names.unique("__init__");
            for method in methods {
                let name = names.unique(&function_name(method.service_and_name().1));
                classes += &self.function(method, &name, flavor, errors);
            }
            list +=
                &format!("        self.{} = {class}(caller)\n", attributes.unique(&function_name(service)));
        }
        format!(
            "{classes}\n\nclass {prefix}Services:\n    \
             def __init__(self, caller: {prefix}Caller) -> None:\n{check}{list}"
        )
    }

    fn function(
        &mut self,
        method: &StubMethod,
        name: &str,
        flavor: &Flavor,
        errors: &ErrorLists<'_>,
    ) -> String {
        let (takes, gives) = method.types("Any", |shape, wanted| self.of(shape, wanted));
        let (parameter, argument) = match takes.as_str() {
            "None" => (String::new(), "None"),
            takes => (format!(", arguments: {takes}"), "arguments"),
        };
        let why = method.why("        # ", "\n") + &errors.of(method, "        # ", "\n");
        let called = quoted(&method.name);
        let Flavor { define, wait, .. } = flavor;
        format!(
            "\n    {define} {name}(self{parameter}) -> {gives}:\n{why}        \
             result: {gives} = {wait}self._caller.call({called}, {argument})\n        return result\n"
        )
    }

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
