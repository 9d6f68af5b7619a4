//! Domino's line that describes a port: `TCPIP=TCP,0,15,0,,12288,`.

/// Completes "expected ..." when a port's line is wrong.
pub(super) const EXPECTED: &str = "TCP, or Domino's line TCP,0,15,0,,12288";

/// Bit of the flags field that requests encryption.
const FLAG_ENCRYPTION: u64 = 0x8000;

/// Bit of the flags field that requests compression.
const FLAG_COMPRESSION: u64 = 0x0020;

/// Reads the line of port `name`. `Ok` has one sentence for each part of it that is ignored.
pub(super) fn read(name: &str, text: &str, line: u32) -> Result<Vec<String>, String> {
    let fields: Vec<&str> = text.split(',').map(str::trim).collect();
    if !fields[0].eq_ignore_ascii_case("TCP") {
        return Err("only the driver TCP is supported".to_owned());
    }
    let flags = match fields.get(5).copied().unwrap_or("") {
        "" => 0,
        // Unreadable flags may request encryption, and the port must not open without it.
        digits => digits.parse::<u64>().map_err(|_| format!("the flags {digits:?} are not a number"))?,
    };
    let mut notes = Vec::new();
    if fields[1..].iter().any(|field| !field.is_empty()) {
        notes.push(format!(
            "line {line}: {name}={text}: only the driver is used, the other fields are ignored"
        ));
    }
    for (flag, requested) in [(FLAG_ENCRYPTION, "encryption"), (FLAG_COMPRESSION, "compression")] {
        if flags & flag != 0 {
            notes.push(format!(
                "line {line}: port {name} requests {requested} (flag 0x{flag:04X}), which is not supported yet: its \
                 traffic is sent without"
            ));
        }
    }
    Ok(notes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_four_published_flag_values() {
        for (flags, requested) in [
            (12288, &[][..]),
            (12320, &["compression"]),
            (45056, &["encryption"]),
            (45088, &["encryption", "compression"]),
        ] {
            let notes = read("P", &format!("TCP,0,15,0,,{flags},"), 3).expect("a line of Domino's own");
            assert_eq!(notes.len(), 1 + requested.len(), "{notes:?}");
            for (note, requested) in notes[1..].iter().zip(requested) {
                assert!(note.contains(requested), "{note}");
            }
        }
    }

    #[test]
    fn driver_lines() {
        assert_eq!(read("P", "tcp", 1), Ok(vec![]));
        assert_eq!(read("P", "TCP,,,,,,", 1), Ok(vec![]));
        assert_eq!(
            read("P", "TCP, 0, 15, 0", 7),
            Ok(vec![
                "line 7: P=TCP, 0, 15, 0: only the driver is used, the other fields are ignored".to_owned()
            ])
        );
        assert_eq!(read("P", "NETBIOS,1,15,0", 1), Err("only the driver TCP is supported".to_owned()));
        assert_eq!(read("P", "", 1), Err("only the driver TCP is supported".to_owned()));
        assert_eq!(read("P", "TCP,0,15,0,,x", 1), Err("the flags \"x\" are not a number".to_owned()));
    }
}
