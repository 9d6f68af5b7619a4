//! The examples run and say what they should, each as the program its reader would start.
//!
//! Cargo builds them before this test unless it is picked alone with `--test`.

mod process;

use process::*;
use rustix::process::Signal;
use std::path::PathBuf;
use std::process::Command;

/// The built example: Cargo puts examples beside the directory of the tests.
fn example(name: &str, arguments: &[&str]) -> Command {
    let test = std::env::current_exe().expect("a test knows where it is");
    let file = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    let path: PathBuf = test.ancestors().nth(2).expect("target/debug/deps/test").join("examples").join(file);
    assert!(path.exists(), "{} is missing: run `cargo build --examples`", path.display());
    let mut command = command(path);
    command.args(arguments);
    command
}

fn passes(name: &str, arguments: &[&str]) -> String {
    let said = run(&mut example(name, arguments));
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{name}: {said:?}");
    said.out
}

fn serve(name: &str) -> (Running, String, Directory) {
    let directory = Directory::new();
    let file = directory.file("server.ini", &on_free_port(""));
    let file = file.to_str().expect("test directories have plain names");
    let server = Running::start(&mut example(name, &["serve", file]));
    let address = server.address();
    (server, address, directory)
}

#[test]
fn notes_can_be_called_from_its_own_command_line_and_from_typed_clients() {
    let (mut server, address, _directory) = serve("notes");
    let call = |arguments: &[&str]| run(example("notes", &["call", &address]).args(arguments));
    assert_eq!(call(&["notes.create", r#"{"title":"Bread","text":""}"#]).out, "1\n");
    assert_eq!(call(&["notes.read", "1"]).out, "{\"title\":\"Bread\",\"text\":\"\"}\n");
    assert_eq!(call(&["notes.list"]).out, "[[1,\"Bread\"]]\n");
    for (arguments, code, said) in [
        (["notes.read", "9"], 3, "application error: there is no note 9 (code 1)"),
        (["notes.create", r#"{"title":"","text":""}"#], 3, "a note needs a title (code 2)"),
        (["notes.create", r#"{"title":"x"}"#], 2, "missing field `text` at line 1 column 13"),
        (["notes.raed", "1"], 2, "did you mean \"notes.read\"?\n`notes methods 127.0.0.1:"),
    ] {
        let answer = call(&arguments);
        assert_eq!(answer.code, Some(code), "{answer:?}");
        assert!(answer.err.contains(said), "{answer:?}");
    }

    let out = passes("client", &[&address]);
    let lines: Vec<_> = out.lines().collect();
    let expected = ["note 2: Milk, two bottles", "   1 Bread", "   2 Milk"];
    assert_eq!(lines[..3], expected);
    assert_eq!(lines[3], format!("as it should be: there is no note {} (code 1)", u64::MAX));
    assert!(lines[4].starts_with("waited "), "{out}");

    let out = passes("pipelined", &[&address]);
    assert!(
        out.contains("1000 calls one after the other: ") && out.contains("1000 calls out at once: "),
        "{out}"
    );
    server.signal(Signal::TERM);
    assert_eq!(server.wait(), Some(0));
    server.line("Stopped, 0 lost");
}

#[test]
fn hello_greets_and_is_the_program_of_the_readme() {
    let (_server, address, _directory) = serve("hello");
    let said = run(&mut example("hello", &["call", &address, "hello.greet", "\"Ada\""]));
    assert!(said.out.starts_with("\"Hello Ada, you call from 127.0.0.1:"), "{said:?}");
    let (_, program) = include_str!("../examples/hello.rs").split_once("\n\n").expect("a head and a program");
    assert!(include_str!("../README.md").contains(program), "the README shows another program");
}

#[test]
fn embedded_starts_calls_and_stops() {
    let out = passes("embedded", &[]);
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(lines[0], "area: 1.5");
    assert!(lines[1].starts_with("Application: a negative length, 127.0.0.1:"), "{out}");
    assert_eq!(lines[2..], ["calls: 2", "lost: 0"]);
}

#[test]
fn three_ports_run_as_many_as_the_throttle_lets_and_no_more() {
    let out = passes("three_ports", &["1"]);
    assert!(out.contains("3 ports x 40 = 120 workers, 20 may run at once: 100 can only wait"), "{out}");
    for throttle in [20, 120] {
        assert!(out.contains(&format!("throttle {throttle}, 120 workers\n")), "{out}");
        assert!(out.contains(&format!("at most {throttle} ran at once\n")), "{out}");
    }
}
