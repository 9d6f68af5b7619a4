//! TypeScript: a type for each structure and enum, a class for each service, over a function that the program provides.

use super::errors::ErrorLists;
use super::names::{Declared, Names, StubMethod, function_name, quoted, services, type_name};
use crate::schema::{Scalar, Shape};

const TAKEN: [&str; 11] = [
    "Array",
    "BigInteger",
    "Boolean",
    "Call",
    "Function",
    "Number",
    "Object",
    "Promise",
    "Record",
    "Services",
    "String",
];

/// Names that a method of a class cannot have; the field is ours.
const METHODS_TAKEN: [&str; 2] = ["constructor", "caller"];

const HEAD: &str = "\
// Written by `boneyard stubs --lang typescript`. `Call` sends a method's name and its arguments as JSON to the server,
// and gives the result. Whole numbers of 64 bits and more are `bigint` where that reads JSON so; JSON.parse rounds them.

export type Call = (method: string, args: unknown) => Promise<unknown>;

export type BigInteger = number | bigint;
";

pub(super) fn write(methods: &[StubMethod]) -> String {
    let mut types = Types(Declared::new(&TAKEN));
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
    format!("{HEAD}{}{}{classes}{services}", errors.typescript(), types.0.text)
}

fn function(method: &StubMethod, name: &str, types: &mut Types, errors: &ErrorLists<'_>) -> String {
    let (takes, gives) = method.types("unknown", |shape, wanted| types.of(shape, wanted));
    let (parameter, argument) = match takes.as_str() {
        "null" => (String::new(), "null"),
        takes => (format!("args: {takes}"), "args"),
    };
    let why = method.why("  /* ", " */\n") + &errors.of(method, "  /* ", " */\n");
    let called = quoted(&method.name);
    format!(
        "\n{why}  async {name}({parameter}): Promise<{gives}> {{\n    \
         return (await this.caller({called}, {argument})) as {gives};\n  }}\n"
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
