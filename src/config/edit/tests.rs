//! Effect of a changed line on a file, and the parts it does not touch.

use super::*;
use crate::config::keys;
use crate::config::parse::read_line;
use crate::config::tests::Random;

/// The text after `key=value` was set in it.
fn set(text: &str, key: &str, value: &str) -> Result<Edited, String> {
    let config = Config::from_text(text, None, 2).expect("the file is valid");
    let line = read_line(&config, key, value).map_err(|errors| errors.messages())?;
    edit(text.as_bytes(), &line, 2, None).map_err(|error| error.to_string())
}

fn after(text: &str, key: &str, value: &str) -> (String, u32) {
    let Edited { text, line } = set(text, key, value).expect("it can be set");
    (text, line)
}

#[test]
fn the_line_of_the_key_is_changed_in_place() {
    let text = "\u{feff}# head\r\n[Server]\r\n  server_pool_tasks =\t40  \r\nLog_Level=warn";
    let expected = "\u{feff}# head\r\n[Server]\r\n  server_pool_tasks =\t50  \r\nLog_Level=warn";
    assert_eq!(after(text, "Server_Pool_Tasks", " 50 "), (expected.to_owned(), 3));
    assert_eq!(after("\u{feff}Log_File=", "log_file", "x y"), ("\u{feff}Log_File=x y".to_owned(), 1));
    assert_eq!(after("Log_File= a \n", "Log_File", ""), ("Log_File=  \n".to_owned(), 1));
}

#[test]
fn a_disabled_line_is_enabled() {
    let text = "; Log_Level=debug is what you want\n# Log_Level=off\n ; Log_Level = info\n;Log_Level=warn\n";
    let expected =
        "; Log_Level=debug is what you want\n# Log_Level=off\n Log_Level = error\n;Log_Level=warn\n";
    assert_eq!(after(text, "Log_Level", "error"), (expected.to_owned(), 3));
}

#[test]
fn a_missing_line_is_added_at_the_end() {
    assert_eq!(after("", "Log_Level", "warn"), ("Log_Level=warn\n".to_owned(), 1));
    let text = "[Server]\r\nPorts=A";
    let expected = "[Server]\r\nPorts=A\r\nA_Pool_Tasks=3\r\n";
    assert_eq!(after(text, "a_pool_tasks", "3"), (expected.to_owned(), 3));
}

#[test]
fn a_line_stands_in_its_section() {
    let limit = |text, expected: &str, line| {
        assert_eq!(after(text, "Notes.search", "8,200"), (expected.to_owned(), line));
    };
    limit("Ports=A\r\n", "Ports=A\r\n[Limits]\r\nNotes.search=8,200\r\n", 3);
    limit("[Limits]\nNOTES.search = 1,2\n[Server]\n", "[Limits]\nNOTES.search = 8,200\n[Server]\n", 2);
    limit("[limits]\na.b=0\n\n[Server]\n", "[limits]\na.b=0\nNotes.search=8,200\n\n[Server]\n", 3);
    limit(
        "; Notes.search=1,1\n[Limits]\n;Notes.search=1,1",
        "; Notes.search=1,1\n[Limits]\nNotes.search=8,200",
        3,
    );
    let text = "Ports=A\n\n[Limits]\n;Log_Level=warn\na.b=1,1\n";
    let expected = "Ports=A\nLog_Level=info\n\n[Limits]\n;Log_Level=warn\na.b=1,1\n";
    assert_eq!(after(text, "Log_Level", "info"), (expected.to_owned(), 2));
    assert_eq!(after(text, "a.b", "").0, text.replace("1,1", ""));
    assert_eq!(after("[Limits]\n", "Log_Level", "info").0, "Log_Level=info\n[Limits]\n");
    assert!(set("", "notes.search", "8").is_err_and(|error| error.contains("RUN,WAIT")));
}

#[test]
fn in_the_shipped_file_every_key_is_set_in_its_own_line() {
    let text = crate::config::document::server_ini();
    let config = Config::from_text(&text, None, 2).unwrap();
    for key in keys::all() {
        let name = key.name_for("TCPIP");
        let line = read_line(&config, &name, key.written_default()).unwrap();
        let edited = edit(text.as_bytes(), &line, 2, None).unwrap_or_else(|error| panic!("{name}: {error}"));
        let changed = text.lines().zip(edited.text.lines()).filter(|(one, two)| one != two).count();
        assert!(changed <= 1 && text.lines().count() == edited.text.lines().count(), "{name}");
        let there = edited.text.lines().nth(edited.line as usize - 1);
        assert_eq!(there, Some(format!("{name}={}", key.written_default()).as_str()));
    }
}

#[test]
fn an_invalid_line_is_an_error_and_nothing_is_written() {
    let text = "Ports=A,B\nB_TCPIPAddress=0,127.0.0.1:1353";
    for (key, value, expected) in [
        ("Server_Pool_Task", "5", "did you mean Server_Pool_Tasks?"),
        ("Server_Pool_Tasks", "0", "Server_Pool_Tasks=0: expected a whole number from 1 to 4096"),
        ("Server_Pool_Tasks", "5 # five", "# begins a comment only at the start of a line"),
        ("Server_Pool_Tasks", "5\nLog_Level=off", "not a setting"),
        ("Server_Pool_Tasks", "5\rLog_Level=off", "control character"),
        ("[Server]\nx", "5", "unknown key"),
        ("; Server_Pool_Tasks", "5", "not a setting"),
        ("", "5", "not a setting"),
        ("C_Pool_Tasks", "5", "no port C in Ports or DisabledPorts"),
        ("A_TCPIPAddress", "127.0.0.1:1353", "port A has 127.0.0.1:1353 in line 1"),
        ("Ports", "A", "no port B in Ports or DisabledPorts"),
        ("Admin_Address", "0.0.0.0", "without a token, any machine that reaches it could see"),
    ] {
        let error = set(text, key, value).expect_err(key);
        assert!(error.contains(expected), "{key}={value}: {error}");
    }
    let line = read_line(&Config::default_with(2), "Log_Level", "off").unwrap();
    let error = edit(b"Log_Level=warn\nPort=A", &line, 2, None).unwrap_err().to_string();
    assert!(error.starts_with("the file already has errors: line 2: Port=A: unknown key"), "{error}");
}

/// Keys with values that they take.
const SETTINGS: [(&str, [&str; 3]); 8] = [
    ("Server_Pool_Tasks", ["1", "40", "4096"]),
    ("Server_Max_Concurrent_Trans", ["-1", "20", "100000"]),
    ("Log_Level", ["off", "Warn", "trace"]),
    ("Log_File", ["", "a=b", "two words"]),
    ("Ports", ["A,B", "a , b", "B,A"]),
    ("A_Pool_Tasks", ["1", "7", "9"]),
    ("b_TCPIPAddress", ["0,127.0.0.1:5", "127.0.0.2:5", "0,[::1]:5"]),
    ("Server_Pool_Rule", ["R5", "8.0", "zOS"]),
];

/// A file that gives some of these, with what else may stand in one.
fn file(random: &mut Random) -> String {
    let mut text = random.pick(&["", "\u{feff}"]).to_owned();
    let end = random.pick(&["\n", "\r\n"]);
    let odd = [
        "",
        "# Log_Level=off",
        ";Log_Level=warn",
        " ; Log_File = a b",
        "[Server]",
        "\t[ notes ] ",
        ";",
        "#=",
        ";=x",
    ];
    for (key, values) in SETTINGS {
        for _ in 0..random.below(3) {
            text.extend([random.pick(&odd), end]);
        }
        // Two ports need two addresses.
        if random.below(2) == 0 || ["Ports", "b_TCPIPAddress"].contains(&key) {
            let key = if random.below(2) == 0 { key.to_ascii_uppercase() } else { key.to_owned() };
            let spaces = ["", " ", "\t"];
            text.extend([random.pick(&spaces), &key, random.pick(&spaces), "=", random.pick(&spaces)]);
            text.extend([random.pick(&values), random.pick(&spaces), end]);
        } else if random.below(2) == 0 {
            text.extend([random.pick(&[";", " ;", "; "]), key, "=", random.pick(&values), end]);
        }
    }
    if random.below(2) == 0 { text.trim_end().to_owned() } else { text }
}

#[test]
fn random_files_change_in_one_line_and_in_no_other_meaning() {
    let (mut replaced, mut added) = (0, 0);
    for seed in 1..=300u64 {
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        let text = file(&mut random);
        let (key, values) = SETTINGS[random.below(SETTINGS.len())];
        let value = random.pick(&values);
        let edited =
            set(&text, key, value).unwrap_or_else(|error| panic!("{key}={value}: {error}\n{text:?}"));
        let (old, new): (Vec<_>, Vec<_>) =
            (text.split_inclusive('\n').collect(), edited.text.split_inclusive('\n').collect());
        let place = edited.line as usize - 1;
        if new.len() > old.len() {
            assert_eq!(place, old.len(), "at the end: {text:?}");
            assert!(edited.text.starts_with(&text), "{text:?}");
            added += 1;
        } else {
            let same = |at: usize| old[at] == new[at];
            assert!((0..old.len()).all(|at| at == place || same(at)), "{text:?} {:?}", edited.text);
            replaced += 1;
        }
        let config = Config::from_text(&edited.text, None, 2).expect("it is valid");
        let found = given(&config).into_iter().find(|given| given.line == Some(edited.line));
        let found = found.expect("the line counts");
        assert!(found.name.eq_ignore_ascii_case(key), "{text:?}");
        // Set once more it stays as it is.
        assert_eq!(set(&edited.text, key, value), Ok(edited), "{text:?}");
    }
    assert!(replaced > 100 && added > 20, "too little was tried: {replaced}, {added}");
}
