//! Rules about the shape of the tree: one name for one type, facades without logic, no ring of files, plain openings of
//! comments.
//!
//! Files are scanned for items and `use` trees, and each path is followed through `use` and `pub use` to the file that
//! defines the name. Test code does not count. Names that a macro makes and method calls are not seen.

use super::{Source, is_word, reachable, unfold, written_paths};
use std::collections::{BTreeMap, BTreeSet};

/// Type names that may occur twice: name, reason.
const NAMES_TWICE: [(&str, &str); 3] = [
    ("ClientTransport", "a socket in memory under a model checker"),
    ("Mutex", "locks of the model checkers beside those of the product"),
    ("Registration", "a reactor that a model checker's threads stand for"),
];

/// Rings of files that may stay: their files, reason.
const RINGS: [(&[&str], &str); 2] = [
    (
        &["wire/budgeted_decoder.rs", "wire/budgeted_decoder/access.rs", "wire/budgeted_decoder/json.rs"],
        "serde's traits recurse: a decoder shows parts, and each part is decoded by a decoder",
    ),
    (
        &["schema/trace/access.rs", "schema/trace/deserializer.rs"],
        "serde's traits recurse: a deserializer gives parts, and each part is given by a deserializer",
    ),
];

/// Words that make a question or a half sentence of the first line of a comment.
const OPENINGS: [&str; 8] = ["Who", "What", "Whose", "Those", "Has", "Is", "Does", "Are"];

/// Everything that is wrong with the shape of a tree of sources.
pub(super) fn check(files: &BTreeMap<String, String>) -> Vec<String> {
    let tree = Tree::new(files);
    let mut found = tree.names_twice();
    found.extend(tree.facades_with_logic());
    found.extend(tree.rings());
    for (name, text) in files {
        found.extend(openings(name, text));
    }
    found
}

/// Comments that begin with one of [`OPENINGS`].
fn openings(name: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut marker_above = "";
    for (number, line) in text.lines().enumerate() {
        let line = line.trim_start();
        let marker =
            ["///", "//!", "//", ""].into_iter().find(|marker| line.starts_with(marker)).unwrap_or("");
        let first = line[marker.len()..].split_whitespace().next().unwrap_or_default();
        if !marker.is_empty() && marker != marker_above && OPENINGS.contains(&first) {
            found.push(format!("{name}:{}: a comment begins with {first}", number + 1));
        }
        marker_above = marker;
    }
    found
}

/// Path of a module from the crate's root; empty for the root.
type ModulePath = Vec<String>;

/// An import: the path and the name that it binds (`*` for all), and whether it is passed on.
struct Import {
    offset: usize,
    path: String,
    binds: String,
    public: bool,
}

/// What a module has at its top level.
#[derive(Default)]
struct Module {
    file: String,
    children: BTreeSet<String>,
    defined: BTreeSet<String>,
    imports: Vec<Import>,
}

struct Tree<'a> {
    files: BTreeMap<&'a str, Source<'a>>,
    modules: BTreeMap<ModulePath, Module>,
    /// Types wider than private: name, and where each is.
    types: BTreeMap<String, Vec<String>>,
}

impl<'a> Tree<'a> {
    fn new(texts: &'a BTreeMap<String, String>) -> Tree<'a> {
        let mut tree = Tree { files: BTreeMap::new(), modules: BTreeMap::new(), types: BTreeMap::new() };
        for (name, test) in reachable(texts) {
            let (name, text) = texts.get_key_value(&name).expect("only files of the tree are reached");
            let source = Source::new(name, text, test);
            if !test && name != "main.rs" {
                tree.scan(&source);
            }
            tree.files.insert(name, source);
        }
        tree
    }

    /// Reads the items of one file.
    fn scan(&mut self, source: &Source) {
        let code = source.shipped.as_str();
        let mut here = module_of(source.name);
        self.modules.entry(here.clone()).or_default().file = source.name.to_owned();
        // Whether each open brace is a module's.
        let mut open: Vec<bool> = Vec::new();
        let (mut at, mut public) = (0, false);
        while at < code.len() {
            let rest = &code[at..];
            let word: &str = &rest[..rest.find(|c: char| !is_word(c)).unwrap_or(rest.len())];
            if word.is_empty() {
                match rest.as_bytes()[0] {
                    b'{' => open.push(false),
                    b'}' if open.pop() == Some(true) => drop(here.pop()),
                    _ => {}
                }
                public &= !rest.starts_with(['{', '}', ';']);
                at += rest.chars().next().map_or(1, char::len_utf8);
                continue;
            }
            let start = at;
            at += word.len();
            let top = open.iter().all(|module| *module);
            match word {
                "pub" => {
                    public = true;
                    if code[at..].starts_with('(') {
                        at += code[at..].find(')').unwrap_or(0);
                    }
                }
                "use" => {
                    let end = start + code[start..].find(';').unwrap_or(code.len() - start);
                    self.import(&here, start, &code[at..end], public && top);
                    at = end;
                }
                "mod" | "struct" | "enum" | "trait" | "type" | "union" | "fn" | "const" | "static"
                | "macro_rules"
                    if top =>
                {
                    let after = code[at..].trim_start_matches(['!', ' ', '\n']);
                    let name: String = after.chars().take_while(|c| is_word(*c)).collect();
                    let module = self.modules.entry(here.clone()).or_default();
                    if word == "mod" {
                        module.children.insert(name.clone());
                        let file = module.file.clone();
                        let end = at + code[at..].find(['{', ';']).unwrap_or(0);
                        if code[end..].starts_with('{') {
                            here.push(name);
                            self.modules.entry(here.clone()).or_default().file = file;
                            open.push(true);
                            at = end + 1;
                        } else {
                            at = end;
                        }
                    } else {
                        module.defined.insert(name.clone());
                        if public && ["struct", "enum", "trait", "type", "union"].contains(&word) {
                            self.types.entry(name).or_default().push(source.at(start));
                        }
                    }
                }
                _ => {}
            }
        }
    }

    fn import(&mut self, here: &ModulePath, offset: usize, tree: &str, public: bool) {
        let tree = tree.split_whitespace().collect::<Vec<_>>().join(" ");
        let module = self.modules.entry(here.clone()).or_default();
        // `unfold` gives the path without the new name; the names are read off a tree where `as` is a step of the path.
        let mut bound = Vec::new();
        unfold("", &tree.replace(" as ", "::"), &mut |path| bound.push(last(path).to_owned()));
        let mut bound = bound.into_iter();
        unfold("", &tree, &mut |path| {
            let binds = bound.next().unwrap_or_default();
            module.imports.push(Import { offset, path: path.to_owned(), binds, public });
        });
    }

    /// Two types wider than private with one name.
    fn names_twice(&self) -> Vec<String> {
        let twice = self.types.iter().filter(|(name, places)| {
            let excused = NAMES_TWICE.iter().any(|(excused, _)| excused == name);
            places.len() > 1 && !excused
        });
        twice
            .map(|(name, places)| format!("{}: {name} is also at {}", places[0], places[1..].join(", ")))
            .collect()
    }

    /// Files called `mod.rs` that have more than attributes, `mod` lines and imports.
    fn facades_with_logic(&self) -> Vec<String> {
        let facades = self.files.values().filter(|file| file.name.ends_with("/mod.rs"));
        let mut found = Vec::new();
        for file in facades {
            let code = without_attributes(&file.code);
            for item in code.split(';').map(str::trim).filter(|item| !item.is_empty()) {
                let item = item.strip_prefix("pub").map_or(item, |rest| match rest.strip_prefix('(') {
                    Some(scope) => scope.split_once(')').map_or(rest, |(_, item)| item),
                    None => rest,
                });
                let word = item.split_whitespace().next().unwrap_or_default();
                if !["mod", "use"].contains(&word) || word == "mod" && item.contains('{') {
                    let line = item.lines().next().unwrap_or_default();
                    found.push(format!("{}: a facade has `mod` and `use` only, not `{line}`", file.name));
                    break;
                }
            }
        }
        found
    }

    /// The file that defines what `words` name in module `here`.
    fn file_of(&self, here: &[String], words: &[&str], seen: &mut BTreeSet<String>) -> Option<&str> {
        let module = self.modules.get(here)?;
        let Some((first, rest)) = words.split_first() else { return Some(&module.file) };
        let up = &here[..here.len().saturating_sub(1)];
        match *first {
            "crate" => return self.file_of(&[], rest, seen),
            "self" => return self.file_of(here, rest, seen),
            "super" => return self.file_of(up, rest, seen),
            _ => {}
        }
        if module.children.contains(*first) {
            let child: ModulePath = here.iter().cloned().chain([first.to_string()]).collect();
            return self.file_of(&child, rest, seen);
        }
        if module.defined.contains(*first) {
            return Some(&module.file);
        }
        if !seen.insert(format!("{}::{first}", here.join("::"))) {
            return None;
        }
        module.imports.iter().find_map(|import| {
            let mut path: Vec<&str> = import.path.split("::").collect();
            if import.binds == "*" {
                path.pop();
                path.push(first);
            } else if import.binds != *first {
                return None;
            }
            path.extend(rest);
            self.file_of(here, &path, seen)
        })
    }

    /// For each file those it names, and where.
    fn edges(&self) -> BTreeMap<&str, BTreeMap<String, String>> {
        let mut edges: BTreeMap<&str, BTreeMap<String, String>> = BTreeMap::new();
        for (module_path, module) in &self.modules {
            let Some(source) = self.files.get(module.file.as_str()) else { continue };
            let mut add = |offset: usize, words: &[&str]| {
                if let Some(target) = self.file_of(module_path, words, &mut BTreeSet::new())
                    && target != source.name
                {
                    let place = format!("{} {}", source.at(offset), words.join("::"));
                    edges.entry(source.name).or_default().entry(target.to_owned()).or_insert(place);
                }
            };
            for import in module.imports.iter().filter(|import| !import.public || used(source, &import.binds))
            {
                let path: Vec<&str> = import.path.split("::").filter(|word| *word != "*").collect();
                add(import.offset, &path);
            }
            // Paths inside an inline module are resolved from its file's top, which is right for all but `super`.
            if module_of(&module.file) == *module_path {
                for (offset, path) in written_paths(&without_imports(&source.shipped)) {
                    add(offset, &path.split("::").collect::<Vec<_>>());
                }
            }
        }
        edges
    }

    /// Files that name each other in a circle, with the names that close it.
    fn rings(&self) -> Vec<String> {
        let edges = self.edges();
        let mut reached: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for file in edges.keys() {
            let (mut seen, mut open) = (BTreeSet::new(), vec![*file]);
            while let Some(file) = open.pop() {
                let targets = edges.get(file).into_iter().flat_map(BTreeMap::keys);
                open.extend(targets.map(String::as_str).filter(|target| seen.insert(*target)));
            }
            reached.insert(file, seen);
        }
        let mut rings: BTreeSet<BTreeSet<&str>> = BTreeSet::new();
        for (file, seen) in reached.iter().filter(|(file, seen)| seen.contains(*file)) {
            rings.insert(
                seen.iter()
                    .copied()
                    .filter(|other| reached.get(other).is_some_and(|seen| seen.contains(file)))
                    .collect(),
            );
        }
        let excused = |ring: &BTreeSet<&str>| {
            RINGS.iter().any(|(files, _)| ring.iter().all(|file| files.contains(file)))
        };
        let mut found = Vec::new();
        for ring in rings.iter().filter(|ring| !excused(ring)) {
            let inside =
                |file: &&str| edges[*file].iter().filter(|(target, _)| ring.contains(target.as_str()));
            let named: Vec<String> =
                ring.iter().flat_map(inside).map(|(target, place)| format!("{place} -> {target}")).collect();
            found.push(format!(
                "{}: a ring of {} files:\n    {}",
                ring.first().unwrap_or(&""),
                ring.len(),
                named.join("\n    ")
            ));
        }
        found
    }
}

/// The module that a file is.
fn module_of(name: &str) -> ModulePath {
    let path = name.trim_end_matches(".rs").trim_end_matches("/mod");
    path.split('/').filter(|part| *part != "lib").map(str::to_owned).collect()
}

fn last(path: &str) -> &str {
    path.rsplit("::").next().unwrap_or(path)
}

/// Whether the file's own code has the word, besides its imports.
fn used(source: &Source, word: &str) -> bool {
    super::has_word(&without_imports(&source.shipped), word)
}

/// The code with its imports blank, byte for byte as long as before.
fn without_imports(code: &str) -> String {
    let mut rest = code.to_owned();
    for (start, _) in code.match_indices("use ").filter(|(at, _)| !code[..*at].ends_with(is_word)) {
        let end = start + code[start..].find(';').unwrap_or(code.len() - start);
        rest.replace_range(start..end, &super::blank(&code[start..end]));
    }
    rest
}

/// The code without attributes.
fn without_attributes(code: &str) -> String {
    let (mut kept, mut rest) = (String::new(), code);
    while let Some(at) = rest.find('#') {
        kept.push_str(&rest[..at]);
        let mut depth = 0;
        let end = rest[at..].char_indices().find(|(_, c)| {
            depth += i32::from(*c == '[') - i32::from(*c == ']');
            *c == ']' && depth == 0
        });
        rest = end.map_or("", |(length, _)| &rest[at + length + 1..]);
    }
    kept + rest
}

#[test]
fn planted_names_that_stand_twice_are_found() {
    let files = |texts: [&str; 2]| {
        let [a, b] = texts.map(|text| format!("//! Planted.\n{text}\n"));
        let head = "//! Module.\nmod a;\nmod b;\n".to_owned();
        let root = "//! Root.\nmod wire;\n".to_owned();
        BTreeMap::from([
            ("lib.rs".to_owned(), root),
            ("wire/mod.rs".to_owned(), head),
            ("wire/a.rs".to_owned(), a),
            ("wire/b.rs".to_owned(), b),
        ])
    };
    for bad in [
        ["pub struct Frame;", "pub(crate) enum Frame { A }"],
        ["pub(super) trait Frame {}", "mod inner {\n    pub(in crate::wire) type Frame = u8;\n}"],
        ["#[derive(Debug)]\npub struct Frame {\n    a: u8,\n}", "pub struct Frame<'a>(&'a u8);"],
    ] {
        assert_eq!(check(&files(bad)).len(), 1, "{bad:?}\n{:?}", check(&files(bad)));
    }
    for good in [
        ["pub struct Frame;", "struct Frame;"],
        ["pub struct Frame;", "#[cfg(test)]\nmod tests {\n    pub struct Frame;\n}"],
        ["pub struct Frame;", "fn f() {\n    struct Frame;\n}\n/* pub struct Frame; */"],
        ["pub struct Frame;", "pub fn f() {}\nstruct Frame;"],
    ] {
        assert_eq!(check(&files(good)), [""; 0], "{good:?}");
    }
}

#[test]
fn planted_logic_in_a_facade_is_found() {
    let findings = |text: &str| {
        check(&BTreeMap::from([
            ("lib.rs".to_owned(), "//! Root.\nmod frames;\n".to_owned()),
            ("frames/mod.rs".to_owned(), format!("//! Planted.\n{text}\n")),
            ("frames/a.rs".to_owned(), "//! A.\npub(crate) struct A;\n".to_owned()),
        ]))
    };
    for bad in [
        "const A: u8 = 1;",
        "pub(crate) fn f() {}",
        "mod inner {}",
        "mod a;\nimpl a::A {}",
        "struct A;\nmod a;",
    ] {
        assert_eq!(findings(bad).len(), 1, "{bad}\n{:?}", findings(bad));
    }
    for good in [
        "#![allow(dead_code)]\n/// A.\nmod a;\npub use a::{A, self};\n#[cfg(test)]\nmod tests;",
        "#[cfg(any(loom, feature = \"a[0]\"))]\npub(crate) mod a;\n// A word.\npub(in crate::frames) use a::A as B;",
    ] {
        assert_eq!(findings(good), [""; 0], "{good}");
    }
}

#[test]
fn planted_rings_are_found() {
    let findings = |head: &str, a: &str, b: &str| {
        check(&BTreeMap::from([
            ("lib.rs".to_owned(), "//! Root.\nmod wire;\n".to_owned()),
            ("wire/mod.rs".to_owned(), format!("//! Module.\nmod a;\nmod b;\n{head}\n")),
            ("wire/a.rs".to_owned(), format!("//! A.\npub struct A;\n{a}\n")),
            ("wire/b.rs".to_owned(), format!("//! B.\npub struct B;\n{b}\n")),
        ]))
    };
    let facade = "pub use a::*;\npub use b::B as C;";
    for (head, a, b) in [
        ("", "use super::b::B;", "use super::a::A;"),
        ("", "use crate::wire::b;", "fn f() { super::a::A }"),
        (facade, "use super::{C, other};", "fn f() -> crate::wire::A { g() }"),
        (facade, "fn f() {\n    use super::C;\n}", "use super::A as Mine;"),
        ("use a::A;\nuse b::B;", "use super::B;", "use super::A;"),
        ("", "mod inner {\n    use super::super::b::B;\n}", "use super::a;"),
    ] {
        assert_eq!(findings(head, a, b).len(), 1, "{head} {a} {b}\n{:?}", findings(head, a, b));
    }
    for (head, a, b) in [
        (facade, "use super::C;", "fn a() -> A { super::c() }"),
        (facade, "use super::C;", "#[cfg(test)]\nmod tests {\n    use super::super::A;\n}"),
        ("", "use super::b::B;", "/// [`super::a::A`]\nuse std::fmt;\nuse super::limits;"),
    ] {
        assert_eq!(findings(head, a, b), [""; 0], "{head} {a} {b}");
    }
}

#[test]
fn planted_questions_are_found() {
    for bad in [
        "/// What it is.",
        "fn f() {\n    // Is it so?\n}",
        "code();\n//! Who\n/// is fine",
        "/// Fine.\n// Does it",
    ] {
        assert_eq!(openings("a.rs", bad).len(), 1, "{bad}");
    }
    for good in ["/// Whatever.", "/// The one\n/// Who", "// is so", "let a = 1; // Is it", "/// Island"] {
        assert_eq!(openings("a.rs", good), [""; 0], "{good}");
    }
}
