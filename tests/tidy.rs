//! The sources keep to their own rules: imports run downward only, each file names only what its layer may, and no
//! file or function grows beyond what a reader can hold.
//!
//! The rules are data at the top. The checker reads text, not syntax trees: it blanks out comments and literals, then
//! looks at paths, braces and lines. Its own tests plant a bad source for each rule.

#[path = "tidy/structure.rs"]
mod structure;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Each module and the modules it may use, itself not named. `docs/ARCHITECTURE.md` has the same table.
const LAYERS: [(&str, &[&str]); 18] = [
    ("sync", &[]),
    ("tcp", &[]),
    ("wire", &[]),
    ("files", &[]),
    ("config", &["files"]),
    ("schema", &[]),
    ("service", &["schema", "sync", "wire"]),
    ("metrics", &["service", "sync"]),
    ("admission", &["metrics", "service", "wire"]),
    ("proto", &["admission", "metrics", "service", "sync", "wire"]),
    ("pool", &["admission", "metrics", "proto", "service", "sync", "wire"]),
    ("monitor", &["config", "metrics", "service", "sync"]),
    ("admin", &["config", "files", "monitor", "service", "sync", "tcp"]),
    (
        "server",
        &[
            "admin",
            "admission",
            "config",
            "files",
            "metrics",
            "monitor",
            "pool",
            "proto",
            "service",
            "sync",
            "tcp",
            "wire",
        ],
    ),
    ("testing", &["server", "service", "sync"]),
    ("client", &["proto", "schema", "service", "sync", "tcp", "wire"]),
    ("bench", &["service", "tcp", "wire"]),
    ("cli", &[EVERYTHING]),
];
const EVERYTHING: &str = "everything";

/// Modules that touch neither sockets nor threads.
const PURE: [&str; 7] = ["wire", "config", "schema", "service", "admission", "proto", "monitor"];
/// Modules that never read the clock: the time comes in as a value.
const CLOCKLESS: [&str; 9] =
    ["wire", "config", "schema", "service", "metrics", "admission", "proto", "monitor", "sync"];
/// What a pure module may name of `std::net`: addresses are values.
const ADDRESSES: [&str; 6] = ["IpAddr", "Ipv4Addr", "Ipv6Addr", "SocketAddr", "SocketAddrV4", "SocketAddrV6"];

/// Files that break a rule for a reason: file, path they may name, reason.
const EXCEPTIONS: [(&str, &str, &str); 4] = [
    (
        "service/transaction.rs",
        "Instant::now",
        "a handler asks how long its caller still waits; no event brings the time",
    ),
    ("service/load_service.rs", "std::thread::sleep", "load.sleep is a handler, and sleeping is its work"),
    ("sync.rs", "Instant::now", "the one clock of the pool, which stands still under a model checker"),
    ("sync/modelled.rs", "Instant::now", "the clock that stands still begins somewhere"),
];

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;
const COLUMNS_MAX: usize = 120;
const EXPECT_WORDS_MIN: usize = 3;

#[test]
fn the_sources_keep_the_rules() {
    let found = check_tree(&sources());
    assert!(found.is_empty(), "{} findings:\n{}", found.len(), found.join("\n"));
}

#[test]
fn the_layers_are_those_of_the_architecture_page() {
    let page =
        std::fs::read_to_string(root().join("docs/ARCHITECTURE.md")).expect("docs/ARCHITECTURE.md exists");
    let ours: BTreeMap<String, BTreeSet<String>> = LAYERS
        .iter()
        .map(|(name, uses)| (name.to_string(), uses.iter().map(|u| u.to_string()).collect()))
        .collect();
    assert_eq!(layers_of(&page), ours, "docs/ARCHITECTURE.md (left) and tests/tidy.rs (right) differ");
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()
}

/// All of `src`, by path below it.
fn sources() -> BTreeMap<String, String> {
    let (src, mut files) = (root().join("src"), BTreeMap::new());
    let mut folders = vec![src.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else if entry.extension().is_some_and(|ending| ending == "rs") {
                let name = entry.strip_prefix(&src).unwrap().to_str().unwrap().to_owned();
                files.insert(name, std::fs::read_to_string(entry).unwrap());
            }
        }
    }
    files
}

/// The table between the two markers of the page.
fn layers_of(page: &str) -> BTreeMap<String, BTreeSet<String>> {
    let table = page.split("<!-- layers -->").nth(1).expect("the page has <!-- layers -->");
    let table = table.split("<!-- /layers -->").next().unwrap_or_default();
    let mut layers = BTreeMap::new();
    for line in table.lines().filter(|line| line.starts_with('|')).skip(2) {
        let cells: Vec<String> =
            line.split('|').map(|cell| cell.replace('`', "").trim().to_owned()).collect();
        assert!(cells.len() >= 4, "a row has a module and what it may use: {line}");
        let uses =
            cells[2].split(',').map(|name| name.split('(').next().unwrap_or_default().trim().to_owned());
        let uses: BTreeSet<String> =
            uses.filter(|name| !["", "-", "none", "nothing"].contains(&name.as_str())).collect();
        assert!(layers.insert(cells[1].clone(), uses).is_none(), "a module twice: {}", cells[1]);
    }
    layers
}

/// Everything that is wrong with a tree of sources.
fn check_tree(files: &BTreeMap<String, String>) -> Vec<String> {
    let mut found = structure::check(files);
    let reached = reachable(files);
    for (name, text) in files {
        match reached.get(name) {
            None => found.push(format!("{name}: no `mod` line leads here")),
            Some(test) => {
                let file = Source::new(name, text, *test);
                file.check_text(&mut found);
                file.check_paths(&mut found);
                file.check_functions(&mut found);
            }
        }
    }
    found
}

/// Files that `mod` lines lead to, and whether only test code leads there.
fn reachable(files: &BTreeMap<String, String>) -> BTreeMap<String, bool> {
    let mut reached = BTreeMap::new();
    let mut open = vec![("lib.rs".to_owned(), false), ("main.rs".to_owned(), false)];
    while let Some((name, test)) = open.pop() {
        let Some(text) = files.get(&name) else { continue };
        if reached.insert(name.clone(), test).is_some() {
            continue;
        }
        let code = mask(text);
        let folder = match name.rsplit_once('/') {
            Some((folder, "mod.rs")) => format!("{folder}/"),
            Some(_) => name.replace(".rs", "/"),
            None if name == "lib.rs" || name == "main.rs" => String::new(),
            None => name.replace(".rs", "/"),
        };
        let mut for_tests = false;
        for line in code.lines().map(str::trim) {
            if line.starts_with("#[") {
                for_tests |= line == "#[cfg(test)]";
                continue;
            }
            let words: Vec<&str> = line.split_whitespace().collect();
            if let [.., "mod", child] = words[..]
                && let Some(child) = child.strip_suffix(';')
            {
                open.push((format!("{folder}{child}.rs"), test || for_tests));
                open.push((format!("{folder}{child}/mod.rs"), test || for_tests));
            }
            for_tests = false;
        }
    }
    reached
}

/// One file, with the views of it that the rules need. All views have the same line breaks.
struct Source<'a> {
    name: &'a str,
    text: &'a str,
    /// Comments and the insides of literals are blank.
    code: String,
    /// The same without test code.
    shipped: String,
}

impl<'a> Source<'a> {
    fn new(name: &'a str, text: &'a str, test: bool) -> Source<'a> {
        let code = mask(text);
        let shipped = if test { blank(&code) } else { without_tests(&code) };
        Source { name, text, code, shipped }
    }

    /// The top module it belongs to; empty for lib.rs and main.rs.
    fn module(&self) -> &'a str {
        let top = self.name.split('/').next().unwrap_or_default().trim_end_matches(".rs");
        if ["lib", "main"].contains(&top) { "" } else { top }
    }

    fn at(&self, offset: usize) -> String {
        format!("{}:{}", self.name, self.code[..offset].matches('\n').count() + 1)
    }

    fn check_text(&self, found: &mut Vec<String>) {
        let name = self.name;
        if !self.text.starts_with("//!") {
            found.push(format!("{name}: does not begin with //!"));
        }
        let lines = self.text.lines().count();
        if lines > FILE_LINES_MAX {
            found.push(format!("{name}: {lines} lines, more than {FILE_LINES_MAX}"));
        }
        for (number, (line, code)) in self.text.lines().zip(self.code.lines()).enumerate() {
            // A literal cannot always be broken; the code around it can.
            let literal: usize = code.matches('\0').count();
            let columns = line.chars().count() - literal.min(line.chars().count());
            if columns > COLUMNS_MAX && !line.contains("://") {
                found.push(format!("{name}:{}: {columns} columns, more than {COLUMNS_MAX}", number + 1));
            }
            for mark in ["TODO", "FIXME", "XXX"].iter().filter(|mark| has_word(line, mark)) {
                found.push(format!("{name}:{}: {mark} is left over", number + 1));
            }
            for call in ["dbg!", "todo!", "unimplemented!"].iter().filter(|call| code.contains(**call)) {
                found.push(format!("{name}:{}: {call} is left over", number + 1));
            }
        }
        for (offset, _) in self.shipped.match_indices(".unwrap()") {
            found.push(format!(
                "{}: unwrap() outside tests; say with expect why it cannot fail",
                self.at(offset)
            ));
        }
        for (offset, call) in self.shipped.match_indices(".expect(") {
            let words = literal_after(self.text, offset + call.len())
                .map_or(0, |text| text.split_whitespace().count());
            if words < EXPECT_WORDS_MIN {
                found.push(format!("{}: expect does not say why it cannot fail", self.at(offset)));
            }
        }
    }

    fn check_paths(&self, found: &mut Vec<String>) {
        let excused = |path: &str| {
            EXCEPTIONS.iter().any(|(file, allowed, _)| *file == self.name && path.ends_with(allowed))
        };
        for (offset, path) in self.paths(&self.code) {
            if let Some(problem) = self.upward(&path).filter(|_| !excused(&path)) {
                found.push(format!("{}: {path}: {problem}", self.at(offset)));
            }
        }
        for (offset, path) in self.paths(&self.shipped) {
            if let Some(problem) = self.must_not_name(&path).filter(|_| !excused(&path)) {
                found.push(format!("{}: {path}: {problem}", self.at(offset)));
            }
        }
    }

    /// What is wrong with a path of ours, if anything. `path` begins at the crate if it climbs out of its module.
    fn upward(&self, path: &str) -> Option<String> {
        let mut words = path.split("::");
        let (first, target) = (words.next(), words.next());
        if first != Some("crate") || self.module().is_empty() {
            return None;
        }
        let (own, target) = (self.module(), target.unwrap_or("*"));
        let layer = LAYERS.iter().find(|(name, _)| *name == own);
        let Some((_, uses)) = layer else { return Some(format!("{own} is not in the table of layers")) };
        if !LAYERS.iter().any(|(name, _)| *name == target) {
            return Some("names no module; name the module that has it".to_owned());
        }
        if target != own && !uses.contains(&target) && !uses.contains(&EVERYTHING) {
            return Some(format!("{own} may not use {target}"));
        }
        let arc = words.next() == Some("Arc");
        (own == "proto" && target == "sync" && !arc).then(|| "proto may use of sync only Arc".to_owned())
    }

    fn must_not_name(&self, path: &str) -> Option<&'static str> {
        let words: Vec<&str> = path.split("::").collect();
        let pure = PURE.contains(&self.module());
        match words[..] {
            ["mio", ..] if pure => Some("a layer without sockets names mio"),
            ["std", "net", ref rest @ ..]
                if pure && !rest.first().is_some_and(|name| ADDRESSES.contains(name)) =>
            {
                Some("a layer without sockets names std::net for more than an address")
            }
            ["std", "thread", ..] if pure => Some("a layer without threads names std::thread"),
            [.., "Instant", "now"] | [.., "SystemTime", "now"] if CLOCKLESS.contains(&self.module()) => {
                Some("a layer without a clock asks for the time")
            }
            ["parking_lot" | "crossbeam_channel", ..] if self.module() != "sync" => {
                Some("only sync.rs names locks and channels")
            }
            ["std", "sync", ref rest @ ..] if self.module() != "sync" && rest != ["OnceLock"] => {
                Some("only sync.rs names std::sync, save for OnceLock")
            }
            ["bincode", ..] if self.name != "wire/codec.rs" => Some("only wire/codec.rs names bincode"),
            _ => None,
        }
    }

    /// The paths of the code. A path through `super` that leaves the top module is given from `crate`; one that stays
    /// is left out.
    fn paths(&self, code: &str) -> Vec<(usize, String)> {
        let mut found = written_paths(code);
        found.retain_mut(|(at, path)| self.resolve(code, *at, path));
        found
    }

    /// Writes a path through `super` from the crate's root. False when it stays inside its top module.
    fn resolve(&self, code: &str, at: usize, path: &mut String) -> bool {
        let plain = path.trim_start_matches("self::").to_owned();
        let words: Vec<&str> = plain.split("::").collect();
        let climbs = words.iter().take_while(|word| **word == "super").count();
        if climbs == 0 {
            *path = plain;
            return true;
        }
        let own = self.name.trim_end_matches(".rs").trim_end_matches("/mod");
        let depth = own.split('/').count() + inline_modules(&code[..at]);
        let rest = words[climbs..].join("::");
        *path = format!("crate::{rest}");
        climbs >= depth
    }

    fn check_functions(&self, found: &mut Vec<String>) {
        for (start, _) in self.code.match_indices("fn ") {
            if self.code[..start].ends_with(is_word) {
                continue;
            }
            let rest = &self.code[start..];
            let name: String = rest[3..].chars().take_while(|c| is_word(*c)).collect();
            let body = rest.find('{').filter(|open| !rest[..*open].contains(';'));
            let Some(open) = body.filter(|_| !name.is_empty()) else { continue };
            let lines = rest[..open + braced(&rest[open..])].matches('\n').count() + 1;
            if lines > FUNCTION_LINES_MAX {
                found.push(format!(
                    "{}: fn {name} has {lines} lines, more than {FUNCTION_LINES_MAX}",
                    self.at(start)
                ));
            }
        }
    }
}

/// Every path of two words or more, and every `use`, unfolded.
fn written_paths(code: &str) -> Vec<(usize, String)> {
    let mut rest = code.to_owned();
    let mut found = Vec::new();
    for (start, _) in code.match_indices("use ") {
        let before = code[..start].chars().next_back();
        if before.is_some_and(|c| is_word(c) || c == '\'') {
            continue;
        }
        let Some(end) = code[start..].find(';').map(|length| start + length) else { continue };
        let tree: String = code[start + 4..end].split_whitespace().collect::<Vec<_>>().join(" ");
        unfold("", &tree, &mut |path| found.push((start, path.to_owned())));
        rest.replace_range(start..end, &" ".repeat(end - start));
    }
    let mut offset = 0;
    for word in rest.split(|c: char| !is_word(c) && c != ':') {
        let path = word.trim_matches(':');
        if path.contains("::") {
            found.push((offset + word.len() - word.trim_start_matches(':').len(), path.to_owned()));
        }
        // Every separator is one byte of code; in a literal it is blank.
        offset += word.len() + rest[offset + word.len()..].chars().next().map_or(0, char::len_utf8);
    }
    found
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word)
        .any(|(at, _)| !line[..at].ends_with(is_word) && !line[at + word.len()..].starts_with(is_word))
}

/// Calls `found` with each path of a tree of imports.
fn unfold(prefix: &str, tree: &str, found: &mut impl FnMut(&str)) {
    let tree = tree.trim();
    if let Some(open) = tree.find('{') {
        let prefix = format!("{prefix}{}", tree[..open].trim());
        let (mut depth, mut start, inside) = (0, open + 1, &tree[..tree.rfind('}').unwrap_or(tree.len())]);
        for (at, c) in tree.char_indices().skip(open + 1) {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    unfold(&prefix, &tree[start..at], found);
                    start = at + 1;
                }
                _ => {}
            }
        }
        return unfold(&prefix, &inside[start.min(inside.len())..], found);
    }
    if !tree.is_empty() {
        let path = tree.split(" as ").next().unwrap_or(tree).trim();
        found(format!("{prefix}{path}").trim_start_matches("::").trim_end_matches("::self"));
    }
}

/// How many inline modules are open at the end of `code`.
fn inline_modules(code: &str) -> usize {
    let opened = code.match_indices("mod ").filter(|(at, _)| !code[..*at].ends_with(is_word));
    opened
        .filter_map(|(at, _)| code[at..].find(['{', ';']).map(|length| at + length))
        .filter(|at| code[*at..].starts_with('{') && braced(&code[*at..]) > code.len() - at)
        .count()
}

/// Length of a braced block, brackets included; more than `code` has when it does not end there.
fn braced(code: &str) -> usize {
    let mut depth = 0usize;
    for (at, c) in code.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => continue,
        }
        if depth == 0 {
            return at + 1;
        }
    }
    code.len() + 1
}

fn blank(code: &str) -> String {
    code.chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect()
}

/// Blanks what `#[cfg(test)]` stands before.
fn without_tests(code: &str) -> String {
    let mut shipped = code.to_owned();
    for (start, _) in code.match_indices("#[cfg(test)]") {
        let rest = &code[start..];
        let end = match rest.find(['{', ';']) {
            Some(at) if rest[at..].starts_with('{') => at + braced(&rest[at..]),
            Some(at) => at + 1,
            None => rest.len(),
        };
        let end = (start + end).min(code.len());
        shipped.replace_range(start..end, &blank(&code[start..end]));
    }
    shipped
}

/// The string literal that begins at or after `offset`, with only blanks before it.
fn literal_after(text: &str, offset: usize) -> Option<&str> {
    let rest = text[offset..].trim_start().strip_prefix('"')?;
    rest.split('"').next()
}

/// The code with comments blank and the insides of literals `\0`, byte for byte as long as before.
fn mask(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &text[at..];
        let (quote, length) = if rest.starts_with("//") {
            (b' ', rest.find('\n').unwrap_or(rest.len()))
        } else if rest.starts_with("/*") {
            (b' ', rest.find("*/").map_or(rest.len(), |end| end + 2))
        } else if let Some(length) = raw_string(rest).filter(|_| !text[..at].ends_with(is_word)) {
            (0, length)
        } else if rest.starts_with('"') {
            (0, quoted(bytes, at, b'"'))
        } else if rest.starts_with('\'') && is_char(rest) {
            (0, quoted(bytes, at, b'\''))
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
            continue;
        };
        let inside = if quote == 0 { at + 1..at + length - 1 } else { at..at + length };
        for byte in &mut out[inside] {
            if *byte != b'\n' {
                *byte = quote;
            }
        }
        at += length;
    }
    String::from_utf8(out).expect("what is blanked is blanked whole")
}

fn raw_string(rest: &str) -> Option<usize> {
    let body = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r'))?;
    let hashes = body.len() - body.trim_start_matches('#').len();
    let end = format!("\"{}", "#".repeat(hashes));
    let inside = body[hashes..].strip_prefix('"')?;
    let length = inside.find(&end)? + end.len();
    Some(rest.len() - inside.len() + length)
}

fn is_char(rest: &str) -> bool {
    let mut chars = rest.chars().skip(1);
    chars.next().is_some_and(|c| c == '\\' || chars.next() == Some('\''))
}

fn quoted(bytes: &[u8], start: usize, quote: u8) -> usize {
    let mut at = start + 1;
    while at < bytes.len() && bytes[at] != quote {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(bytes.len()) - start
}

/// Findings in a tree that has one planted file beside what leads to it.
#[track_caller]
fn plant(name: &str, text: &str) -> Vec<String> {
    let top = name.split('/').next().unwrap_or_default().trim_end_matches(".rs");
    let mut files = BTreeMap::from([("lib.rs".to_owned(), format!("//! Root.\nmod {top};\n"))]);
    if let Some((_, child)) = name.split_once('/') {
        let child = child.trim_end_matches(".rs");
        files.insert(format!("{top}/mod.rs"), format!("//! Module.\nmod {child};\n"));
    }
    files.insert(name.to_owned(), format!("//! Planted.\n{text}\n"));
    check_tree(&files)
}

#[test]
fn planted_upward_imports_are_found() {
    for (file, bad) in [
        ("wire/a.rs", "use crate::proto::Call;"),
        ("wire/a.rs", "use crate::{service::Status, wire::FrameKind};"),
        ("service/a.rs", "use crate::{\n    wire::{Codec, body::Fault},\n    server::Server,\n};"),
        ("service/a.rs", "fn f() -> crate::metrics::Counter { g() }"),
        ("proto/a.rs", "use super::super::pool::Queue;"),
        ("proto/a.rs", "fn f() { super::super::server::run() }"),
        ("proto/a.rs", "mod inner {\n    use super::super::super::pool::Queue;\n}"),
        ("metrics/a.rs", "use self::super::super::proto::Call;"),
        ("proto/a.rs", "use crate::sync::Mutex;"),
        ("admission/a.rs", "use crate::sync::Mutex;"),
        ("pool/a.rs", "use crate::Method;"),
        ("pool/a.rs", "use crate as all;"),
        ("client/a.rs", "use crate::config::Config;"),
        ("novel/a.rs", "use crate::wire::FrameKind;"),
        ("sync.rs", "use super::wire::FrameKind;"),
        ("wire/a.rs", "#[cfg(test)]\nmod tests {\n    use crate::server::Server;\n}"),
    ] {
        assert_eq!(plant(file, bad).len(), 1, "{file}: {bad}\n{:?}", plant(file, bad));
    }
    for (file, good) in [
        ("wire/a.rs", "use crate::wire::FrameKind;\nuse super::limits;\n/// [`crate::server`]\nfn f() {}"),
        (
            "proto/a.rs",
            "use crate::{sync::Arc, wire::{FrameKind, Codec as C}, metrics};\nconst S: &str = \"crate::pool::X\";",
        ),
        ("proto/a.rs", "mod inner {\n    use super::super::Call;\n}\nmod other {}\nuse super::Call;"),
        ("cli/a.rs", "use crate::{server::Server, config, client};"),
    ] {
        assert_eq!(plant(file, good), [""; 0], "{file}: {good}");
    }
}

#[test]
fn planted_names_are_found_outside_tests_only() {
    for (file, bad) in [
        ("proto/a.rs", "use mio::Poll;"),
        ("wire/a.rs", "fn f(s: std::net::TcpStream) {}"),
        ("config/a.rs", "use std::{fmt, net::{IpAddr, ToSocketAddrs}};"),
        ("service/a.rs", "use std::thread;"),
        ("proto/a.rs", "fn f() { let now = Instant::now(); }"),
        ("metrics/a.rs", "fn f() { std::time::Instant::now(); }"),
        ("pool/a.rs", "use parking_lot::Mutex;"),
        ("server/a.rs", "use std::sync::atomic::AtomicU8;"),
        ("client/a.rs", "use std::sync::mpsc;"),
        ("client/a.rs", "fn f() { crossbeam_channel::bounded(1); }"),
        ("service/a.rs", "fn f() { bincode::config::legacy(); }"),
    ] {
        assert_eq!(plant(file, bad).len(), 1, "{file}: {bad}\n{:?}", plant(file, bad));
        let tested = format!("#[cfg(test)]\nmod tests {{\n{bad}\n}}\n");
        assert_eq!(plant(file, &tested), [""; 0], "{file}: {bad} in a test");
    }
    assert_eq!(
        plant("config/a.rs", "use std::net::{IpAddr, SocketAddr};\nuse std::sync::OnceLock;"),
        [""; 0]
    );
    assert_eq!(
        plant("service/transaction.rs", "fn f() { Instant::now(); }"),
        [""; 0],
        "a reasoned exception"
    );
    assert_eq!(plant("wire/codec.rs", "use bincode::config;"), [""; 0]);
    assert_eq!(plant("server/a.rs", "use mio::Poll;\nfn f() { Instant::now(); }"), [""; 0]);
}

#[test]
fn planted_text_is_found() {
    let long_function = format!("fn long() {{\n{}}}", "    step();\n".repeat(FUNCTION_LINES_MAX));
    let long_file = "const A: u8 = 1;\n".repeat(FILE_LINES_MAX);
    let long_line = format!("// {}", "word ".repeat(COLUMNS_MAX / 5));
    for bad in [
        "fn f() { g().unwrap(); }",
        "fn f() { g().expect(\"no\"); }",
        "fn f() { g().expect(why); }",
        "fn f() { dbg!(1); }",
        "fn f() { todo!(); }",
        "// TODO: later",
        "/// FIXME",
        &long_function,
        &long_file,
        &long_line,
    ] {
        assert_eq!(plant("wire/a.rs", bad).len(), 1, "{bad}\n{:?}", plant("wire/a.rs", bad));
    }
    for good in [
        "fn f() { g().expect(\"it was made above\"); }",
        "fn f() {\n    g()\n        .expect(\n            \"it was made above\",\n        );\n}",
        "#[cfg(test)]\nmod tests {\n    fn f() { g().unwrap() }\n}",
        "const A: char = '\"';\nconst B: &str = r#\"dbg!( \"todo!()\" .unwrap()\"#;\nfn f<'a>(a: &'a str) {}",
        "// see https://example.org/a/path/that/is/longer/than/any/line/may/be/and/cannot/be/broken/anywhere/in/between/at/all",
    ] {
        assert_eq!(plant("wire/a.rs", good), [""; 0], "{good}");
    }
}

#[test]
fn a_file_without_head_and_one_that_nothing_leads_to_are_found() {
    let mut files = BTreeMap::from([
        ("lib.rs".to_owned(), "//! Root.\nmod wire;\n#[cfg(test)]\nmod tests;\n".to_owned()),
        ("wire.rs".to_owned(), "mod inner;\n".to_owned()),
        ("wire/inner.rs".to_owned(), "//! Inner.\n".to_owned()),
        ("tests.rs".to_owned(), "//! Tests.\nfn f() { g().unwrap() }\n".to_owned()),
        ("wire/lost.rs".to_owned(), "//! Lost.\n".to_owned()),
    ]);
    assert_eq!(
        check_tree(&files),
        ["wire.rs: does not begin with //!", "wire/lost.rs: no `mod` line leads here"]
    );
    files.insert("lib.rs".to_owned(), "//! Root.\nmod wire;\nmod tests;\n".to_owned());
    assert_eq!(check_tree(&files).len(), 3, "what is no test may not unwrap");
}

#[test]
fn the_table_of_the_page_is_read_as_written() {
    let page = "x\n<!-- layers -->\n| module | may use |\n|---|---|\n| `a` | nothing |\n| b | `a`, c (only D) |\n<!-- /layers -->\n| z | y |";
    let set = |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<BTreeSet<_>>();
    let expected = BTreeMap::from([("a".to_owned(), set(&[])), ("b".to_owned(), set(&["a", "c"]))]);
    assert_eq!(layers_of(page), expected);
}
