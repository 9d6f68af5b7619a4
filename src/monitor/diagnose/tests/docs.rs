//! The table of rules in the docs is that of the code.

use super::super::rules::RULES;
use crate::monitor::docs_page;
use std::fmt::Write;

/// `BLESS=1` writes the page.
#[test]
fn the_docs_have_the_table_of_rules() {
    let mut text = "| `kind` | holds if | lines | wrong if |\n|---|---|---|---|\n".to_owned();
    for rule in RULES {
        writeln!(text, "| `{}` | {} | {} | {} |", rule.kind, rule.when, rule.settings, rule.unless).unwrap();
    }
    docs_page::compare("docs/operations/slow.md", ["<!-- rules -->", "<!-- /rules -->"], &text);
}
