//! `boneyard stubs` and `methods --schema`: what they write of a running server, and that it works in its language.
//!
//! What is written is compared with `tests/stubs/`, so that a reader sees it. That it compiles, type-checks and calls
//! needs the languages themselves: `tests/stubs/check`.

mod common;
mod process;

use boneyard::service::{Bytes, HandlerError};
use boneyard::{Method, RunningServer, Server};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

#[derive(Debug, Clone, Serialize, Deserialize)]
enum Color {
    Red,
    Gray(u8),
    Rgb(u8, u8, u8),
    Named { name: String },
}

boneyard::application_errors! {
    enum NoteError {
        NoSuchNote = 1 => "there is no such note",
        None = 2 => "*/ nothing",
        Last = 4_294_967_295 => "the number is \"large\"",
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Note {
    title: String,
    color: Color,
    due: Option<u64>,
    tags: Vec<String>,
    #[serde(rename = "seen by")]
    seen: BTreeMap<u32, (String, bool)>,
    raw: Bytes,
}

const CREATE: Method<Note, u64> = Method::new("notes.create");
const READ: Method<u64, Option<Note>> = Method::new("notes.read");
/// Lists errors, some of whose names mean something else in one of the languages.
const DELETE: Method<u64, (), NoteError> = Method::new("notes.delete");
const LIST: Method<(), Vec<(u64, String)>> = Method::new("notes.list");
/// Words that mean something else in each of the languages.
const IMPORT: Method<(Color, Color), Vec<Color>> = Method::new("more-notes.async.import");
const ANY: Method<serde_json::Value, serde_json::Value> = Method::new("notes.any");
const SECRET: Method<(), &'static str> = Method::undescribed("notes.class");

fn server() -> RunningServer {
    let notes = Arc::new(Mutex::new(Vec::<Note>::new()));
    let (read, list) = (Arc::clone(&notes), Arc::clone(&notes));
    let create = move |note| {
        let mut notes = notes.lock().unwrap();
        notes.push(note);
        Ok::<_, HandlerError>(notes.len() as u64)
    };
    let titles = move || {
        let notes = list.lock().unwrap();
        notes.iter().zip(1..).map(|(note, number)| (number, note.title.clone())).collect()
    };
    Server::new(common::config(""))
        .handle(CREATE, move |_, note| create(note))
        .handle(READ, move |_, number| Ok(read.lock().unwrap().get(number as usize - 1).cloned()))
        .handle(DELETE, |_, _| Err(NoteError::NoSuchNote.into()))
        .handle(LIST, move |_, ()| Ok(titles()))
        .handle(IMPORT, |_, (one, other)| Ok(vec![one, other]))
        .handle(ANY, |_, any| Ok(any))
        .handle(SECRET, |_, ()| Ok("of the program"))
        .start()
        .unwrap()
}

fn kept(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stubs").join(name)
}

/// What the command says of the server.
fn said(server: &RunningServer, arguments: &[&str]) -> String {
    let address = server.address().to_string();
    let output =
        process::command(env!("CARGO_BIN_EXE_boneyard")).args(arguments).arg(&address).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What the command says is what is kept; if not, the new text is put beside the build for whoever meant it.
#[track_caller]
fn compare(said: &str, name: &str) {
    let kept = std::fs::read_to_string(kept(name)).unwrap_or_default();
    if said != kept {
        let found = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::write(&found, said).unwrap();
        panic!("tests/stubs/{name} is not what is written now: {}", found.display());
    }
}

#[test]
fn what_is_written_is_what_is_kept() {
    let server = server();
    compare(&said(&server, &["methods", "--schema"]), "methods.txt");
    compare(&said(&server, &["stubs", "--lang", "python"]), "stubs.py");
    compare(&said(&server, &["stubs", "--lang", "typescript"]), "stubs.ts");
    compare(&said(&server, &["stubs", "--lang", "node"]), "node.ts");
    compare(&said(&server, &["stubs", "--lang", "c"]), "stubs.h");
}

#[test]
fn schemas_are_json_for_programs() {
    let server = server();
    let said: serde_json::Value =
        serde_json::from_str(&said(&server, &["methods", "--schema", "--json"])).unwrap();
    assert_eq!(said["notes.read"]["bincode"]["request"], "u64");
    assert_eq!(said["notes.read"]["fingerprint"], READ.schema().fingerprint());
    assert_eq!(said["notes.any"]["bincode"], serde_json::Value::Null);
    assert_eq!(said["notes.any"]["json"]["request"], "any");
    assert_eq!(said["notes.delete"]["errors"]["codes"][0]["name"], "NoSuchNote");
    assert_eq!(said["notes.delete"]["fingerprint"], DELETE.schema().fingerprint());
    assert_eq!(said["notes.read"]["errors"], serde_json::Value::Null);
    assert_eq!(said["notes.class"]["unknown"], "it was declared without a description");
}

/// Runs a program of another language to its end.
#[track_caller]
fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let texts = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(output.status.success(), "{command:?}\n{}", texts.join("\n"));
}

#[test]
#[ignore = "needs mypy, which tests/stubs/check brings: .ci/run has it run this"]
fn python_calls_and_its_types_hold() {
    let server = server();
    run(Command::new("python3").arg(kept("use.py")).arg(server.address().to_string()));
    run(Command::new("python3").args(["-m", "mypy", "--strict", "--no-incremental"]).arg(kept("use.py")));
}

/// Options of `tsc` under which all that is written compiles.
const STRICT: [&str; 9] = [
    "--strict",
    "--exactOptionalPropertyTypes",
    "--noImplicitOverride",
    "--noUncheckedIndexedAccess",
    "--erasableSyntaxOnly",
    "--target",
    "es2022",
    "--module",
    "nodenext",
];

#[test]
#[ignore = "needs tsc, which tests/stubs/check brings: .ci/run has it run this"]
fn typescript_compiles_and_its_types_hold() {
    run(Command::new("tsc").args(STRICT).arg("--noEmit").arg(kept("use.ts")));
}

#[test]
#[ignore = "needs tsc and node, which tests/stubs/check brings: .ci/run has it run this"]
fn the_client_for_node_compiles_and_calls() {
    let (server, directory) = (server(), process::Directory::new());
    let folder = directory.path();
    run(Command::new("tsc").args(STRICT).arg("--outDir").arg(folder).arg(kept("use_node.ts")));
    run(Command::new("node").arg(folder.join("use_node.js")).arg(server.address().to_string()));
    let tests = kept("node.test.mjs");
    run(Command::new("node").arg(tests).arg(folder).arg(env!("CARGO_BIN_EXE_boneyard")));
}

#[test]
#[ignore = "needs a C compiler, which .ci/install brings: tests/stubs/check runs this"]
fn c_compiles_without_a_warning() {
    let include = Path::new(env!("CARGO_MANIFEST_DIR")).join("capi/include");
    for (language, standard) in [("c", "-std=c11"), ("c++", "-std=c++17")] {
        let warnings = ["-Wall", "-Wextra", "-Werror", "-fsyntax-only", standard, "-x", language];
        run(Command::new("cc").args(warnings).arg("-I").arg(&include).arg(kept("use.c")));
    }
}
