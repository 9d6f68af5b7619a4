//! A program with a name and settings of its own: everything that is seen of it is its author's. Real processes.

mod http;
mod process;

use process::*;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The built example: Cargo puts examples beside the directory of the tests.
fn journal(arguments: &[&str]) -> Command {
    let test = std::env::current_exe().expect("a test knows where it is");
    let folder = test.ancestors().nth(2).expect("target/debug/deps/test").join("examples");
    let path = folder.join(format!("journal{}", std::env::consts::EXE_SUFFIX));
    assert!(path.exists(), "{} is missing: run `cargo build --examples`", path.display());
    let mut command = command(path);
    command.args(arguments);
    command
}

fn text(path: &Path) -> &str {
    path.to_str().expect("test directories have plain names")
}

/// A settings file whose program writes into the directory.
fn file(directory: &Directory, lines: &str, own: &str) -> PathBuf {
    let own = format!("[Journal]\nJournal_Folder={}\n{own}", directory.path().display());
    directory.file("server.ini", &format!("{}{own}", on_free_port(lines)))
}

#[test]
fn name_version_and_help_are_those_of_the_program() {
    assert_eq!(run(&mut journal(&["--version"])).out, "journal 1.2.3\n");
    let help = run(&mut journal(&["--help"])).out;
    assert!(help.starts_with("Keeps a journal.\n\nWithout a command: serve with ./server.ini.\n"), "{help}");
    assert!(help.contains("Usage: journal ") && !help.contains("oneyard"), "{help}");
    assert!(run(&mut journal(&["-h"])).out.starts_with("Keeps a journal.\n"));
    assert!(run(&mut journal(&["whatif", "-h"])).out.contains("Usage: journal whatif "));
}

#[test]
fn the_first_run_says_what_to_try_next() {
    let directory = Directory::new();
    let said = run(journal(&[]).current_dir(directory.path()));
    assert_eq!(said.code, Some(2));
    assert!(
        said.err.contains("server.ini does not exist; `journal check --template > server.ini`"),
        "{said:?}"
    );
    let template = run(&mut journal(&["check", "--template"])).out;
    assert!(template.starts_with("# Settings of journal, as `journal check --template` writes them.\n"));
    assert!(template.contains("After a change: journal check server.ini\n"), "{template}");
    let own = "[Journal]\n\n# Folder of the files.\n# Value: a path\n# Default: .\n# Takes effect: after a restart.\n\
               ;Journal_Folder=.\n\n# Files that may be open.";
    assert!(template.contains(own), "{template}");
    // Also with every line enabled it is what the program would do without a file.
    let enabled = template.replace("\n;", "\n").replace("127.0.0.1:1352", "127.0.0.1:0");
    let enabled = directory.file("enabled.ini", &enabled.replace("127.0.0.1:1353", "127.0.0.1:0"));
    let said = run(journal(&["check", text(&enabled)]).current_dir(directory.path()));
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.out.contains("Journal_Files_Max=100"), "{said:?}");
}

#[test]
fn check_knows_the_settings_and_the_services_of_the_program() {
    let directory = Directory::new();
    let good = file(&directory, "Server_Pool_Tasks=120\nServer_Max_Concurrent_Trans=120", "");
    let said = run(&mut journal(&["check", text(&good)]));
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(
        said.out.contains("per_worker: 1 port x 120 = 120 workers open 120 files; 100 are allowed"),
        "{said:?}"
    );
    let row =
        |key: &str| said.out.lines().find(|line| line.trim_start().starts_with(key)).unwrap_or_default();
    assert!(row("Journal_Folder=").ends_with(" line 5"), "{said:?}");
    assert!(row("Journal_Files_Max=100").ends_with(" default"), "{said:?}");
    assert!(!directory.path().join("TCPIP-1.txt").exists(), "no worker's value is made");

    let bad = file(
        &directory,
        "Journal_Folder=x",
        "Journal_Flies_Max=1\nJournal_Files_Max=many\n[Limits]\na.b=1,1\n",
    );
    let said = run(&mut journal(&["check", text(&bad)]));
    assert_eq!(said.code, Some(2), "{said:?}");
    for error in [
        "server.ini:2: Journal_Folder=x: unknown key, expected a key that `check --template` explains; it stands below [Journal]",
        "server.ini:4: Journal_Folder=",
        "server.ini:5: Journal_Flies_Max=1: unknown key, expected a key that `check --template` explains; did you mean Journal_Files_Max?",
        "server.ini:6: Journal_Files_Max=many: invalid digit found in string, expected a whole number",
    ] {
        assert!(said.out.contains(error), "{error}: {said:?}");
    }
    let unknown = file(&directory, "", "[Limits]\njournal.wirte=1,1\n");
    let said = run(&mut journal(&["check", text(&unknown)]));
    assert!(
        said.out.contains("unknown method") && said.out.contains("did you mean journal.write?"),
        "{said:?}"
    );
    assert_eq!(said.code, Some(1), "{said:?}");
}

#[test]
fn a_running_server_shows_the_program_and_keeps_its_section() {
    let directory = Directory::new();
    let settings =
        file(&directory, "Admin_Address=127.0.0.1:0\nServer_Pool_Tasks=2", "Journal_Files_Max=1\n");
    let mut server = Running::start(&mut journal(&["serve", text(&settings)]));
    let address = server.address();
    server.line("journal 1.2.3 with the settings of");
    server.line("1 port x 2 = 2 workers open 2 files; 1 are allowed");
    for number in ["1\n", "2\n"] {
        assert_eq!(run(&mut journal(&["call", &address, "journal.write", "\"It rained.\""])).out, number);
    }
    server.line("journal.write of 127.0.0.1:");
    let written =
        |worker| std::fs::read_to_string(directory.path().join(format!("TCPIP-{worker}.txt"))).unwrap();
    assert_eq!((written(1) + &written(2)).lines().count(), 2, "each worker has its file from the start");

    let admin = server.line("Admin server at http://");
    let (_, admin) = admin.split_once("http://").expect("a URL");
    let admin = admin.trim_end_matches('/').parse().expect("an address");
    let metrics = http::get(admin, "/metrics", &[]).body;
    assert!(metrics.contains("journal_written_total 2\n"), "{metrics}");
    assert!(http::get(admin, "/status.json", &[]).body.contains("\"server\":\"journal 1.2.3\""));
    let console = |line: &str| run(journal(&["console", "-c", line]).current_dir(directory.path()));
    assert!(console("show server").out.contains("journal 1.2.3"), "{:?}", console("show server"));
    let shown = console("show config journal_").out;
    assert!(
        shown.lines().any(|line| line.starts_with("Journal_Files_Max=1 ") && line.ends_with("(line 6)")),
        "{shown}"
    );
    let refused = console("set config Journal_Files_Max=3");
    assert_ne!(refused.code, Some(0), "only the file changes it: {refused:?}");
    let changed = console("set config Server_Queue_Limit=50");
    assert_eq!(changed.code, Some(0), "{changed:?}");
    let lines = std::fs::read_to_string(&settings).unwrap();
    assert!(
        lines.contains("Server_Queue_Limit=50\n\n[Journal]\n")
            || lines.contains("Server_Queue_Limit=50\n[Journal]\n"),
        "{lines}"
    );
    assert_eq!(server.stop(), Some(0));
    server.line("The journal has 2 new entries");
    assert!(!server.lines().concat().contains("Boneyard"), "{:?}", server.lines());
}
