//! The table of rules in the docs is that of the code.

use super::super::rules::RULES;
use std::fmt::Write;
use std::path::Path;

const BEGINS: &str = "<!-- rules -->";
const ENDS: &str = "<!-- /rules -->";

/// `BLESS=1` writes the page.
#[test]
fn the_docs_have_the_table_of_rules() {
    let mut text = "| `kind` | holds if | lines | wrong if |\n|---|---|---|---|\n".to_owned();
    for rule in RULES {
        writeln!(text, "| `{}` | {} | {} | {} |", rule.kind, rule.when, rule.settings, rule.unless).unwrap();
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations/slow.md");
    let page = std::fs::read_to_string(&file).unwrap();
    let (before, rest) = page.split_once(BEGINS).expect("the page has the marks");
    let (_, after) = rest.split_once(ENDS).expect("the page has the marks");
    let wanted = format!("{before}{BEGINS}\n{text}{ENDS}{after}");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&file, wanted).unwrap();
        return;
    }
    assert!(page == wanted, "docs/operations/slow.md shows something else; BLESS=1 writes it:\n{text}");
}
