//! Generated part of a page of the docs, between two marks: compared, or written with `BLESS=1`.

use std::path::Path;

/// Panics where the page has something else between the marks.
#[track_caller]
pub(super) fn compare(page: &str, [begins, ends]: [&str; 2], text: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
    let found = std::fs::read_to_string(&file).unwrap();
    let (before, rest) = found.split_once(begins).expect("the page has the marks");
    let (_, after) = rest.split_once(ends).expect("the page has the marks");
    let wanted = format!("{before}{begins}\n{text}{ends}{after}");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&file, wanted).unwrap();
        return;
    }
    assert!(found == wanted, "{page} shows something else; BLESS=1 writes it:\n{text}");
}
