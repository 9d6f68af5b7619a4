//! The files generated from the table of settings are up to date: `server.ini`, the table of `docs/SETTINGS.md`, and the
//! text and JSON of `boneyard check` for a few files (`tests/golden`).
//!
//! `BLESS=1 cargo test --test config_ini` writes the files anew; check the difference before the commit.
#![cfg(feature = "server")]

use boneyard::config::{Config, Machine, MachineLimit};
use boneyard::internal::config::{self as document, CheckReport};
use std::path::{Path, PathBuf};

/// A fixed machine, so that reports are reproducible.
const MACHINE: Machine = Machine {
    cpus: 2,
    memory: Some(MachineLimit { most: 16 << 30, set_by: "free memory of the machine" }),
    address_space: None,
    descriptors: Some(20_000),
    threads: Some(MachineLimit { most: 30_000, set_by: "ulimit -u" }),
    mappings: Some(MachineLimit { most: 65_530, set_by: "vm.max_map_count" }),
    heaps: None,
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()
}

/// Compares a checked-in file with its expected text, or writes it with `BLESS=1`.
fn compare(path: &str, expected: &str) {
    let full = root().join(path);
    if std::env::var_os("BLESS").is_some_and(|value| value == "1") {
        std::fs::write(&full, expected).expect("the package directory can be written");
        return;
    }
    let found = std::fs::read_to_string(&full).unwrap_or_default();
    if let Some((number, (found, expected))) =
        (1..).zip(found.lines().zip(expected.lines())).find(|(_, (found, expected))| found != expected)
    {
        panic!("{path}:{number} is\n  {found}\nand should be\n  {expected}\n{ADVICE}");
    }
    assert_eq!(found.len(), expected.len(), "{path} is shorter or longer than it should be\n{ADVICE}");
}

const ADVICE: &str = "If the change is intended, regenerate the file: BLESS=1 cargo test --test config_ini";

#[test]
fn server_ini_is_generated_from_the_table() {
    compare("server.ini", &document::server_ini());
}

#[test]
fn the_shipped_server_ini_starts_on_this_machine_only() {
    let config = Config::load(&root().join("server.ini"), 2).expect("the shipped file is valid");
    let addresses: Vec<_> = config.ports.iter().map(|port| port.address.to_string()).collect();
    assert_eq!(addresses, ["127.0.0.1:1352"]);
    let report = CheckReport::new(&Ok(config), &MACHINE);
    assert!(report.would_start() && report.warnings.is_empty() && report.notes.is_empty());
}

#[test]
fn the_table_of_the_docs_is_generated_from_the_table() {
    const PATH: &str = "docs/SETTINGS.md";
    let text = std::fs::read_to_string(root().join(PATH)).expect("the docs are there");
    let (before, rest) =
        text.split_once(document::TABLE_BEGINS).expect("the table's first marker is in the docs");
    let (_, after) = rest.split_once(document::TABLE_ENDS).expect("the table's last marker is in the docs");
    let table = document::settings_table();
    compare(PATH, &format!("{before}{}{after}", table.trim_end()));
}

#[test]
fn check_prints_the_golden_output() {
    let three = "Ports=TCPIP,LAN2,LAN3\nTCPIP=TCP,0,15,0,,12288,\nLAN2_TCPIPAddress=0,10.0.0.2:1352\n\
                 LAN3_TCPIPAddress=0,[::1]:1353\nServer_Pool_Tasks=40\nServer_Max_Concurrent_Trans=20\n";
    for (name, text) in [
        ("default", ""),
        ("three_ports", three),
        ("throttle_500", "Server_Pool_Tasks=40\nServer_Max_Concurrent_Trans=500\n"),
        ("unlimited", "[Server]\nServer_Max_Concurrent_Trans=-1\n"),
        ("errors", "Server_Pool_Tasks=forty\nServer_Queue_Limt=5\njunk\n"),
    ] {
        let read = Config::from_text(text, Some(Path::new("server.ini")), MACHINE.cpus);
        let report = CheckReport::new(&read, &MACHINE);
        assert_eq!(report.would_start(), read.is_ok(), "{name}");
        compare(&format!("tests/golden/check_{name}.txt"), report.text());
        compare(&format!("tests/golden/check_{name}.json"), &report.json());
        if name == "three_ports" {
            let sentence = "3 ports x 40 = 120 workers, 20 may run at once: 100 can only wait";
            assert!(report.text().contains(sentence) && report.json().contains(sentence));
        }
    }
}

#[test]
fn json_has_exactly_the_documented_names() {
    let report = CheckReport::new(&Ok(Config::default_with(2)), &MACHINE);
    let value: serde_json::Value = serde_json::from_str(&report.json()).expect("it is JSON");
    let names = |value: &serde_json::Value| {
        let mut names: Vec<_> = value.as_object().expect("an object").keys().cloned().collect();
        names.sort();
        names.join(" ")
    };
    assert_eq!(
        names(&value),
        "connections_max effective_concurrency errors file max_concurrent_trans notes ports total_workers warnings"
    );
    assert_eq!(names(&value["ports"][0]), "address name pool_tasks");
    assert_eq!(names(&value["ports"][0]["pool_tasks"]), "line source value");
    assert_eq!(names(&value["max_concurrent_trans"]), "line source value");
}

/// Files of a folder of sources and of the folders in it.
fn sources(folder: PathBuf) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder of sources").map(|entry| entry.unwrap().path());
    let text = |path: PathBuf| vec![std::fs::read_to_string(path).expect("a source")];
    entries.flat_map(|path| if path.is_dir() { sources(path) } else { text(path) }).collect()
}

/// The codes of warnings as the sources have them: the first text of a call of `warn` or `start_without`, or of a pair, or
/// the field of a `Warning`.
fn codes() -> Vec<String> {
    let text =
        ["src/config", "src/cli", "src/server"].map(|path| sources(root().join(path)).concat()).concat();
    let code = |line: &str| {
        let line = line.trim();
        let calls = ["warn(\"", "start_without(\"", "(\""];
        let begins = calls.into_iter().find_map(|head| line.strip_prefix(head));
        let field = || line.split_once("code: \"").map(|(_, begins)| begins);
        let (code, rest) = begins.or_else(field)?.split_once('"')?;
        let named = code.contains('_') || code == "unlimited" || code == "descriptors";
        let plain = code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        (named && plain && rest.starts_with(',')).then(|| code.to_owned())
    };
    let mut codes: Vec<_> = text.lines().filter_map(code).collect();
    codes.sort();
    codes.dedup();
    codes
}

#[test]
fn the_docs_name_every_warning_and_every_name_of_the_report() {
    let docs = std::fs::read_to_string(root().join("docs/SETTINGS.md")).expect("the docs are there");
    let codes = codes();
    assert!(codes.len() >= 19, "{codes:?}");
    let report = CheckReport::new(&Config::from_text("", None, 2), &MACHINE).json();
    let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
    let names = report.as_object().expect("an object").keys().cloned();
    for name in codes.into_iter().chain(names) {
        assert!(docs.contains(&format!("| `{name}` |")), "docs/SETTINGS.md has no row for {name}");
    }
}
