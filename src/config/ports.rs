//! Ports of a file: their names, and Domino's line that describes one.
//!
//! Must not know addresses or sizes. Invariant: a name that passes [`name_problem`] cannot be confused with a
//! setting, alone or with any per-port ending behind it.

use super::keys;

/// Most characters of a port's name.
const NAME_CHARS_MAX: usize = 32;

/// What the parser asks for when a port's line is wrong.
pub(super) const DRIVER_EXPECTED: &str = "TCP, or Domino's line TCP,0,15,0,,12288";

/// Bit of the flags field that asks for encryption.
const FLAG_ENCRYPTION: u64 = 0x8000;

/// Bit of the flags field that asks for compression.
const FLAG_COMPRESSION: u64 = 0x0020;

/// Names of a list as written; an empty list has none.
pub(super) fn names(text: &str) -> Vec<&str> {
    if text.is_empty() { Vec::new() } else { text.split(',').map(str::trim).collect() }
}

/// Why a port cannot have this name.
pub(super) fn name_problem(name: &str) -> Option<String> {
    if name.is_empty() {
        return Some("a name is empty".to_owned());
    }
    if name.len() > NAME_CHARS_MAX {
        return Some(format!("{name} is longer than {NAME_CHARS_MAX} characters"));
    }
    if let Some(bad) = name.chars().find(|char| !char.is_ascii_alphanumeric() && !matches!(char, '-' | '_')) {
        return Some(format!("{name:?} has the character {bad:?}"));
    }
    // `Server` would make Server_Pool_Tasks mean two things, `A_Pool_Tasks` beside `A` likewise.
    let clash = keys::all().find(|key| match key.suffix() {
        Some(suffix) => !suffix.is_empty() && keys::strip_suffix_ignoring_case(name, suffix).is_some(),
        None => {
            keys::port_suffixes().any(|suffix| format!("{name}{suffix}").eq_ignore_ascii_case(key.name()))
        }
    });
    clash.map(|key| format!("{name} would be mixed up with the setting {}", key.name()))
}

/// Reads the line of port `name`; `Ok` has a sentence for each thing it asks that is not done.
pub(super) fn driver(name: &str, text: &str, line: u32) -> Result<Vec<String>, String> {
    let fields: Vec<&str> = text.split(',').map(str::trim).collect();
    if !fields[0].eq_ignore_ascii_case("TCP") {
        return Err("only the driver TCP is supported".to_owned());
    }
    let flags = match fields.get(5).copied().unwrap_or("") {
        "" => 0,
        // Who cannot say what the flags ask for must not start without encryption that was meant to be there.
        digits => digits.parse::<u64>().map_err(|_| format!("the flags {digits:?} are not a number"))?,
    };
    let mut notes = Vec::new();
    if fields[1..].iter().any(|field| !field.is_empty()) {
        notes.push(format!(
            "line {line}: {name}={text}: only the driver is used, the fields after it are ignored"
        ));
    }
    for (flag, asked) in [(FLAG_ENCRYPTION, "encryption"), (FLAG_COMPRESSION, "compression")] {
        if flags & flag != 0 {
            notes.push(format!(
                "line {line}: port {name} asks for {asked} (flag 0x{flag:04X}), which is not supported yet: its traffic goes without"
            ));
        }
    }
    Ok(notes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_cannot_be_mixed_up() {
        for name in ["TCPIP", "LAN2", "TCPIP-LOCAL", "a_b", "9", "Serverx"] {
            assert_eq!(name_problem(name), None, "{name}");
        }
        for (name, expected) in [
            ("", "a name is empty"),
            ("LAN 2", "\"LAN 2\" has the character ' '"),
            ("LAN.2", "\"LAN.2\" has the character '.'"),
            ("Büro", "\"Büro\" has the character 'ü'"),
            ("server", "server would be mixed up with the setting Server_Pool_Tasks"),
            ("Ports", "Ports would be mixed up with the setting Ports"),
            ("log_file", "log_file would be mixed up with the setting Log_File"),
            ("A_pool_tasks", "A_pool_tasks would be mixed up with the setting <Port>_Pool_Tasks"),
            (
                "a23456789012345678901234567890123",
                "a23456789012345678901234567890123 is longer than 32 characters",
            ),
        ] {
            assert_eq!(name_problem(name).as_deref(), Some(expected), "{name}");
        }
    }

    #[test]
    fn the_four_published_flag_values() {
        for (flags, asked) in [
            (12288, &[][..]),
            (12320, &["compression"]),
            (45056, &["encryption"]),
            (45088, &["encryption", "compression"]),
        ] {
            let notes = driver("P", &format!("TCP,0,15,0,,{flags},"), 3).expect("a line of Domino's own");
            assert_eq!(notes.len(), 1 + asked.len(), "{notes:?}");
            for (note, asked) in notes[1..].iter().zip(asked) {
                assert!(note.contains(asked), "{note}");
            }
        }
    }

    #[test]
    fn driver_lines() {
        assert_eq!(driver("P", "tcp", 1), Ok(vec![]));
        assert_eq!(driver("P", "TCP,,,,,,", 1), Ok(vec![]));
        assert_eq!(
            driver("P", "TCP, 0, 15, 0", 7),
            Ok(vec![
                "line 7: P=TCP, 0, 15, 0: only the driver is used, the fields after it are ignored"
                    .to_owned()
            ])
        );
        assert_eq!(driver("P", "NETBIOS,1,15,0", 1), Err("only the driver TCP is supported".to_owned()));
        assert_eq!(driver("P", "", 1), Err("only the driver TCP is supported".to_owned()));
        assert_eq!(driver("P", "TCP,0,15,0,,x", 1), Err("the flags \"x\" are not a number".to_owned()));
    }
}
