//! Every list of statuses outside `src/service/status.rs` is written from it.
//!
//! `BLESS=1 cargo test --test statuses` writes them anew; `BLESS=1 cargo test --test header` in `capi/` then writes the
//! C header. Look at the difference before committing it.

use boneyard::service::{Repeat, Status};
use std::fmt::Write;
use std::path::Path;

/// Compares what stands between each `<statuses>` and its end in a file with the texts of `expected`, in their order, or
/// writes them under `BLESS=1`.
fn compare(file: &str, expected: &[String]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"));
    let (mut written, mut expected, mut inside) = (String::new(), expected.iter(), false);
    for line in text.split_inclusive('\n') {
        if line.contains("</statuses>") || line.contains("<!-- /statuses -->") {
            inside = false;
        }
        if !inside {
            written.push_str(line);
        }
        if line.contains("<statuses>") || line.contains("<!-- statuses -->") {
            inside = true;
            written.push_str(expected.next().unwrap_or_else(|| panic!("{file} has one list more")));
        }
    }
    assert!(expected.next().is_none() && !inside, "{file} has each list and its end");
    if written != text {
        assert!(std::env::var_os("BLESS").is_some(), "{file} lists other statuses: BLESS=1 writes it");
        std::fs::write(&path, written).expect("the file can be written");
    }
}

/// Returns one block for each status, with nothing between.
fn each(block: impl Fn(Status) -> String) -> String {
    Status::ALL.into_iter().map(block).collect()
}

/// Fills lines of at most `width` columns with words, each line after `indent`.
fn fill(words: impl Iterator<Item = String>, indent: &str, width: usize) -> String {
    let (mut filled, mut line) = (String::new(), String::new());
    for word in words {
        if !line.is_empty() && indent.len() + line.len() + 1 + word.len() > width {
            writeln!(filled, "{indent}{line}").unwrap();
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(&word);
    }
    writeln!(filled, "{indent}{line}").unwrap();
    filled
}

/// `QueueFull` as C names it: `BONEYARD_QUEUE_FULL`.
fn c_name(status: Status) -> String {
    let mut name = "BONEYARD".to_owned();
    for letter in format!("{status:?}").chars() {
        name.extend(letter.is_uppercase().then_some('_'));
        name.push(letter.to_ascii_uppercase());
    }
    name
}

#[test]
fn the_table_of_the_protocol_is_written_from_the_list() {
    let row = |status: Status| {
        let meaning = status.meaning().trim_end_matches('.');
        let blame = status.blame().map_or("nobody".to_owned(), |blame| format!("{blame:?}").to_lowercase());
        let (repeat, client) = match status.repeat() {
            Repeat::ByCaller(when) => (format!("yes, {when}"), "no"),
            Repeat::ByClient(when) => (format!("yes, {when}"), "yes"),
            _ => ("no".to_owned(), "no"),
        };
        format!("| {} | {status:?} | {meaning} | {blame} | {repeat} | {client} |\n", status.code())
    };
    let head = "| Number | Name | Meaning | Whose fault | May be repeated | Client repeats |\n|---|---|---|---|---|---|\n";
    compare("docs/PROTOCOL.md", &[head.to_owned() + &each(row)]);
}

#[test]
fn the_enum_and_the_texts_of_the_c_library_are_written_from_the_list() {
    let variant = |status: Status| {
        let words = status.meaning().split(' ').map(str::to_owned);
        format!("{}    {} = {},\n", fill(words, "    /// ", 110), c_name(status), status.code())
    };
    let row = |status: Status| {
        let (name, meaning) = (c_name(status), status.meaning().trim_end_matches('.').replace('`', "'"));
        let (first, rest) = meaning.split_at(1);
        let text = first.to_lowercase() + rest;
        // As rustfmt has it.
        match format!("    ({name}, c\"{name}\", c\"{text}\"),\n") {
            line if line.len() <= 111 => line,
            _ => format!("    (\n        {name},\n        c\"{name}\",\n        c\"{text}\",\n    ),\n"),
        }
    };
    compare("capi/src/status.rs", &[each(variant), each(row)]);
}

#[test]
fn the_exceptions_of_python_are_written_from_the_list() {
    let class = |status: Status| {
        if status == Status::Ok {
            return String::new();
        }
        let above = if status.never_started() { "Refused" } else { "Failed" };
        let words = format!("\"\"\"{}\"\"\"", status.meaning());
        let doc = fill(words.split(' ').map(str::to_owned), "    ", 118);
        format!("class {status:?}({above}):\n{doc}\n\n")
    };
    compare("python/boneyard/errors.py", &[each(class)]);
}

#[test]
fn the_statuses_of_the_example_in_python_are_written_from_the_list() {
    let pairs = Status::ALL.into_iter().map(|status| format!("{}: \"{status:?}\",", status.code()));
    let pairs = fill(pairs, "    ", 112);
    compare("examples/client.py", &[format!("STATUSES = {{{}}}\n", pairs.trim())]);
}

#[test]
fn the_statuses_of_the_client_for_node_are_written_from_the_list() {
    let pairs = Status::ALL.into_iter().map(|status| format!("{}: \"{status:?}\",", status.code()));
    compare("src/cli/stubs/transport.ts", &[fill(pairs, "  ", 112)]);
}
