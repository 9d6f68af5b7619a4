//! TypeScript: a type for each structure and enum, a class for each service, over a function that the program provides
//! or, for Node, over the client of `transport.ts`, which is then part of the same file.

use super::errors::ErrorLists;
use super::names::{Declared, Names, StubMethod, function_name, quoted, services, type_name};
use crate::schema::{Scalar, Shape};

/// Client of one file for Node. It needs [`TYPES`].
const TRANSPORT: &str = include_str!("transport.ts");

const TAKEN: [&str; 13] = [
    "AbortSignal",
    "Array",
    "BigInteger",
    "Boolean",
    "Call",
    "CallOptions",
    "Function",
    "Number",
    "Object",
    "Promise",
    "Record",
    "Services",
    "String",
];

/// Types and values of [`TRANSPORT`], and those that it uses.
const TAKEN_BY_TRANSPORT: [&str; 35] = [
    "BigInt",
    "BoneyardError",
    "Client",
    "ClientOptions",
    "Connection",
    "DataView",
    "Error",
    "FINGERPRINTS",
    "Failed",
    "Fault",
    "JSON",
    "KIND",
    "Lost",
    "Map",
    "Math",
    "PendingCall",
    "RangeError",
    "Reader",
    "Readonly",
    "ReadonlyMap",
    "Refused",
    "Required",
    "ReturnType",
    "STATUSES",
    "ServerMethod",
    "Set",
    "Socket",
    "Status",
    "TOKENS",
    "TextDecoder",
    "TextEncoder",
    "TypeError",
    "Uint8Array",
    "VERSION",
    "Welcome",
];

/// Names that a method of a class cannot have; the field is ours.
const METHODS_TAKEN: [&str; 2] = ["constructor", "caller"];

const HEAD: &str = "\
// Written by `boneyard stubs --lang typescript`. `Call` sends a method's name and its arguments as JSON to the server,
// and gives the result. Whole numbers of 64 bits and more are `bigint` where that reads JSON so; JSON.parse rounds them.
";

const NODE_HEAD: &str = "\
// Written by `boneyard stubs --lang node`. Use it so, in a file beside it:
//
//     const client = new Client(\"127.0.0.1:1352\");
//     const note = await new Services(client.call).notes.read(1, { timeoutMs: 500 });
//
// Whole numbers that a number would round are bigints.

";

const TYPES: &str = "
export type CallOptions = {
  /** Time for the call in milliseconds; null waits without end. */
  readonly timeoutMs?: number | null;
  /** Cancels the call. */
  readonly signal?: AbortSignal;
};

export type Call = (method: string, args: unknown, options?: CallOptions) => Promise<unknown>;

export type BigInteger = number | bigint;
";

/// Flavors of the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Caller {
    /// A function that the program provides.
    Function,
    /// The client for Node.
    Node,
}

pub(super) fn write(methods: &[StubMethod], caller: Caller) -> String {
    let (head, taken) = match caller {
        Caller::Function => (HEAD.to_owned(), &[][..]),
        Caller::Node => (format!("{NODE_HEAD}{TRANSPORT}{}", fingerprints(methods)), &TAKEN_BY_TRANSPORT[..]),
    };
    let mut types = Types(Declared::new(&[&TAKEN[..], taken].concat()));
    let errors = ErrorLists::new(methods, &mut types.0.names);
    let (mut classes, mut fields, mut made) = (String::new(), String::new(), String::new());
    let mut attributes = Names::new(&METHODS_TAKEN);
    for (service, methods) in services(methods) {
        let class = types.0.names.unique(&format!("{}Service", type_name(service)));
        classes += &format!(
            "\nexport class {class} {{\n  private readonly caller: Call;\n\n  \
             constructor(caller: Call) {{\n    this.caller = caller;\n  }}\n"
        );
        let mut names = Names::new(&METHODS_TAKEN);
        for method in methods {
            classes += &function(
                method,
                &names.unique(&function_name(method.service_and_name().1)),
                &mut types,
                &errors,
            );
        }
        classes += "}\n";
        let attribute = attributes.unique(&function_name(service));
        fields += &format!("  readonly {attribute}: {class};\n");
        made += &format!("    this.{attribute} = new {class}(caller);\n");
    }
    let services =
        format!("\nexport class Services {{\n{fields}\n  constructor(caller: Call) {{\n{made}  }}\n}}\n");
    format!("{head}{TYPES}{}{}{classes}{services}", errors.typescript(), types.0.text)
}

/// Fingerprints of the methods' types, for a client that wants to know whether the server has others now.
fn fingerprints(methods: &[StubMethod]) -> String {
    let line = |method: &StubMethod| format!("  {}: 0x{:016x}n,\n", quoted(&method.name), method.fingerprint);
    let lines: String = methods.iter().map(line).collect();
    format!(
        "\n/** Types of the methods as the server had them, for `Client.changed`. */\n\
         export const FINGERPRINTS: Readonly<Record<string, bigint>> = {{\n{lines}}};\n"
    )
}

fn function(method: &StubMethod, name: &str, types: &mut Types, errors: &ErrorLists<'_>) -> String {
    let (takes, gives) = method.types("unknown", |shape, wanted| types.of(shape, wanted));
    let (parameter, argument) = match takes.as_str() {
        "null" => (String::new(), "null"),
        takes => (format!("args: {takes}, "), "args"),
    };
    let why = method.why("  /* ", " */\n") + &errors.of(method, "  /* ", " */\n");
    let called = quoted(&method.name);
    format!(
        "\n{why}  async {name}({parameter}options?: CallOptions): Promise<{gives}> {{\n    \
         return (await this.caller({called}, {argument}, options)) as {gives};\n  }}\n"
    )
}

struct Types(Declared);

impl Types {
    /// Type of a shape; declares those that need it. `wanted` is the name of a structure without one.
    fn of(&mut self, shape: &Shape, wanted: &str) -> String {
        match shape {
            Shape::Scalar(scalar) => scalar_type(*scalar).to_owned(),
            Shape::Option(inner) => format!("{} | null", self.of(inner, wanted)),
            Shape::List(element) | Shape::Array(element, _) => format!("Array<{}>", self.of(element, wanted)),
            // A key is always text in JSON.
            Shape::Map(_, value) => format!("Record<string, {}>", self.of(value, wanted)),
            Shape::Tuple(parts) => {
                let parts: Vec<String> = parts.iter().map(|part| self.of(part, wanted)).collect();
                format!("[{}]", parts.join(", "))
            }
            Shape::Structure { name, fields } if !name.is_empty() => {
                let object = self.object(name, fields);
                self.declare(shape, name, &object)
            }
            Shape::Structure { fields, .. } => self.object(wanted, fields),
            Shape::Enum { name, variants } => {
                let wanted = if name.is_empty() { wanted } else { name };
                let mut alternatives = Vec::new();
                for (variant, held) in variants {
                    let inner = format!("{wanted} {variant}");
                    alternatives.push(match held {
                        None => quoted(variant),
                        Some(held) => format!("{{ {}: {} }}", quoted(variant), self.of(held, &inner)),
                    });
                }
                let text =
                    if alternatives.is_empty() { "never".to_owned() } else { alternatives.join(" | ") };
                self.declare(shape, wanted, &text)
            }
        }
    }

    fn object(&mut self, name: &str, fields: &[(String, Shape)]) -> String {
        if fields.is_empty() {
            return "Record<string, never>".to_owned();
        }
        let mut text = Vec::new();
        for (field, shape) in fields {
            text.push(format!("{}: {}", quoted(field), self.of(shape, &format!("{name} {field}"))));
        }
        format!("{{ {} }}", text.join("; "))
    }

    fn declare(&mut self, shape: &Shape, wanted: &str, text: &str) -> String {
        self.0.name(shape, wanted, |name| format!("\nexport type {name} = {text};\n"))
    }
}

fn scalar_type(scalar: Scalar) -> &'static str {
    match scalar {
        Scalar::Nothing => "null",
        Scalar::Bool => "boolean",
        Scalar::Char | Scalar::Text => "string",
        Scalar::Bytes => "Array<number>",
        Scalar::I64 | Scalar::U64 | Scalar::I128 | Scalar::U128 => "BigInteger",
        Scalar::Any => "unknown",
        _ => "number",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Shapes;

    #[test]
    fn types_of_a_server_do_not_take_the_names_of_the_client() {
        let shape = || "Client { a: u8 }".parse::<Shape>().unwrap();
        let shapes = Some(Shapes { request: shape(), response: shape() });
        let errors = Default::default();
        let method =
            StubMethod { name: "a.b".to_owned(), shapes, unknown: String::new(), fingerprint: 7, errors };
        let methods = [method];
        assert!(write(&methods, Caller::Function).contains("\nexport type Client = {"));
        let node = write(&methods, Caller::Node);
        assert!(
            node.contains("\nexport type Client_ = {")
                && node.contains("\n  \"a.b\": 0x0000000000000007n,\n")
        );

        // A type's name begins with a capital letter and has no `_`.
        let declared = TRANSPORT.lines().filter_map(|line| {
            let mut words =
                line.trim_start_matches("export ").split(|c: char| !c.is_alphanumeric() && c != '_');
            ["class", "const", "interface", "type"].contains(&words.next()?).then_some(words.next()?)
        });
        let taken =
            declared.filter(|name| name.starts_with(|c: char| c.is_ascii_uppercase()) && !name.contains('_'));
        let taken: Vec<_> = taken.collect();
        assert!(taken.contains(&"Client") && taken.contains(&"KIND"), "{taken:?}");
        assert!(taken.iter().all(|name| TAKEN_BY_TRANSPORT.contains(name)), "{taken:?}");
    }
}
