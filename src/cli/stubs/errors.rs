//! Application errors that methods list, as generated code has them: each list once, with a unique name.
//!
//! Numbers come as constants: generated code has no exceptions of its own, since it leaves it to the client that it is
//! given how an error is reported.

use super::names::{Names, StubMethod, comment, type_name};
use crate::schema::MethodErrors;

/// Names that a member of a Python class cannot have.
const PYTHON_TAKEN: [&str; 3] = ["False", "None", "True"];

/// Lists of errors, each with its name in the generated code.
pub(super) struct ErrorLists<'m>(Vec<(&'m MethodErrors, String)>);

impl<'m> ErrorLists<'m> {
    /// Collects the lists of all methods; their names become unique among `names`.
    pub(super) fn new(methods: &'m [StubMethod], names: &mut Names) -> ErrorLists<'m> {
        let mut lists = ErrorLists(Vec::new());
        for errors in methods.iter().map(|method| &method.errors).filter(|errors| !errors.is_empty()) {
            if lists.name(errors).is_none() {
                lists.0.push((errors, names.unique(&type_name(&errors.name))));
            }
        }
        lists
    }

    /// Returns whether no method lists errors.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn name(&self, errors: &MethodErrors) -> Option<&str> {
        self.0.iter().find(|(known, _)| *known == errors).map(|(_, name)| name.as_str())
    }

    /// Returns a comment that names the list of a method; empty if it has none.
    pub(super) fn of(&self, method: &StubMethod, begin: &str, end: &str) -> String {
        self.name(&method.errors)
            .map_or(String::new(), |name| format!("{begin}Application errors: {name}{end}"))
    }

    /// C: a constant for each error, `CODE_` with the names of its list and itself.
    pub(super) fn c(&self, names: &mut Names) -> String {
        self.each(
            "\n/* NAME: boneyard_error.code where the status is BONEYARD_APPLICATION. */\n",
            "",
            |list, error| {
                let constant = names.unique(&format!("CODE_{}_{}", upper(list), upper(&error.name)));
                format!("#define {constant} UINT32_C({}) /* {} */\n", error.number, error.text)
            },
        )
    }

    /// Python: an `IntEnum` for each list.
    pub(super) fn python(&self) -> String {
        let head = "\n\nclass NAME(IntEnum):\n    # The `code` of the exception `Application`.\n";
        self.each(head, "", |_, error| format!("    {} = {}  # {}\n", error.name, error.number, error.text))
    }

    /// TypeScript: an object of constants for each list, and the type of their values.
    pub(super) fn typescript(&self) -> String {
        let head = "\n/** The `code` of a Fault whose status is Application. */\n\
                    export type NAME = (typeof NAME)[keyof typeof NAME];\n\nexport const NAME = {\n";
        self.each(head, "} as const;\n", |_, error| {
            format!("  /** {} */\n  {}: {},\n", error.text, error.name, error.number)
        })
    }

    /// Writes each list: `head` with its name for NAME, what `line` makes of each error, `end`.
    fn each(&self, head: &str, end: &str, mut line: impl FnMut(&str, &Member) -> String) -> String {
        let mut text = String::new();
        for (errors, list) in &self.0 {
            text += &head.replace("NAME", list);
            let mut members = Names::new(&PYTHON_TAKEN);
            for error in &errors.codes {
                let name = members.unique(&type_name(&error.name));
                text += &line(list, &Member { name, number: error.code, text: comment(&error.text) });
            }
            text += end;
        }
        text
    }
}

/// An error in the generated code.
struct Member {
    name: String,
    number: u32,
    /// For a comment.
    text: String,
}

/// `NotFound` as C names it: `NOT_FOUND`.
fn upper(name: &str) -> String {
    let mut written = String::new();
    let mut small_before = false;
    for letter in name.chars() {
        if small_before && letter.is_ascii_uppercase() {
            written.push('_');
        }
        small_before = !letter.is_ascii_uppercase() && letter != '_';
        written.push(letter.to_ascii_uppercase());
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_texts_of_a_server_are_identifiers_and_comments() {
        let errors = MethodErrors::new("int", &[(1, "max */ x", "*/\n"), (2, "None", ""), (3, "none", "")]);
        let method = StubMethod {
            name: "a.b".to_owned(),
            shapes: None,
            unknown: String::new(),
            fingerprint: 0,
            errors,
        };
        let methods = [method];
        let lists = ErrorLists::new(&methods, &mut Names::new(&["Int"]));
        let (c, python) = (lists.c(&mut Names::new(&[])), lists.python());
        assert!(c.contains("#define CODE_INT__MAX_X UINT32_C(1) /* * /? */\n"), "{c}");
        assert!(python.contains("class Int_(IntEnum):"), "{python}");
        assert!(python.contains("    None_ = 2  # \n    None_2 = 3  # \n"), "{python}");
    }
}
