//! Kinds of values: how each is written, read and described; among them Domino's line that describes a port:
//! `TCPIP=TCP,0,15,0,,12288,`.
//!
//! Invariant: a kind holds the function that stores a value of its own type, so a key cannot be read as one type and
//! stored as another. Does not know which keys exist.

use super::admin_socket::{AdminSocket, SOCKET_PATH_BYTES_MAX};
use super::listen_address::{self, ListenAddress};
use super::path;
use super::settings::{CodelMode, Config, PortConfig};
use super::sizing::{Limit, PoolRule};
use super::source::{Setting, Source};
use log::LevelFilter;
use std::path::PathBuf;

/// Names of `Log_Level`, least to most.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Kind of a setting of the whole server.
pub(super) enum ValueKind {
    /// Names of ports, separated by commas; `parse` stores them.
    PortNames,
    /// A whole number.
    Count { min: u32, max: u32, store: fn(&mut Config, Setting<u32>) },
    /// -1 for unlimited, or a whole number from 1.
    Limit { max: u32, store: fn(&mut Config, Setting<Limit>) },
    /// 0 or 1.
    Switch { store: fn(&mut Config, Setting<bool>) },
    /// Name of a sizing rule.
    Rule { store: fn(&mut Config, Setting<PoolRule>) },
    /// Name of a mode of CoDel.
    CodelMode { store: fn(&mut Config, Setting<CodelMode>) },
    /// Name of a log level.
    Level { store: fn(&mut Config, Setting<LevelFilter>) },
    /// Address of the admin server; empty for none.
    AdminAddress { store: fn(&mut Config, Setting<Option<ListenAddress>>) },
    /// Path of the Unix socket of the admin server, or a word.
    AdminSocket { store: fn(&mut Config, Setting<AdminSocket>) },
    /// Path of a file; empty for none.
    Path { store: fn(&mut Config, Setting<Option<PathBuf>>) },
}

/// Kind of a setting of one port.
pub(super) enum PortKind {
    /// Domino's line of a port; `driver_line` reads it.
    Driver,
    /// Listening address.
    Address,
    /// A whole number.
    Count { min: u32, max: u32, store: fn(&mut PortConfig, Setting<u32>) },
}

impl ValueKind {
    /// Returns whether it names a file or an address, or holds a secret. Only write access to the settings file may set
    /// such a key, because the server opens what it names with its own rights.
    pub(super) fn is_file_only(&self) -> bool {
        matches!(
            self,
            ValueKind::AdminAddress { .. } | ValueKind::AdminSocket { .. } | ValueKind::Path { .. }
        )
    }

    /// Accepted values, in words; completes "expected ...".
    pub(super) fn expected(&self) -> String {
        match self {
            ValueKind::PortNames => "names of ports, separated by commas".to_owned(),
            ValueKind::Count { min, max, .. } => format!("a whole number from {min} to {max}"),
            ValueKind::Limit { max, .. } => format!("-1 (unlimited) or a whole number from 1 to {max}"),
            ValueKind::Switch { .. } => "0 or 1".to_owned(),
            ValueKind::Rule { .. } => {
                "R5 (also R6, R7, 5, 6, 7), 8.0, 8.0.1, zOS (also OS390) or zLinux".to_owned()
            }
            ValueKind::CodelMode { .. } => "observe or refuse".to_owned(),
            ValueKind::Level { .. } => "off, error, warn, info, debug or trace".to_owned(),
            ValueKind::AdminAddress { .. } => {
                "host or host:port, an IPv6 address in brackets, or nothing".to_owned()
            }
            ValueKind::AdminSocket { .. } => {
                format!("auto, off or a path of at most {SOCKET_PATH_BYTES_MAX} bytes")
            }
            ValueKind::Path { .. } => "a path, or nothing".to_owned(),
        }
    }

    /// Reads `text` and stores it. The error is what is wrong beyond [`ValueKind::expected`], often empty.
    pub(super) fn apply(&self, text: &str, source: Source, config: &mut Config) -> Result<(), String> {
        const NO_DETAIL: String = String::new();
        match self {
            ValueKind::PortNames => {}
            ValueKind::Count { min, max, store } => {
                let value = count(text, *min, *max).ok_or(NO_DETAIL)?;
                store(config, Setting { value, source });
            }
            ValueKind::Limit { max, store } => {
                let value = match (text, count(text, 0, *max).map(Limit::at_most)) {
                    ("-1", _) => Limit::Unlimited,
                    (_, Some(Some(limit))) => limit,
                    (_, Some(None)) => return Err("with 0 no transaction could run".to_owned()),
                    (_, None) => return Err(NO_DETAIL),
                };
                store(config, Setting { value, source });
            }
            ValueKind::Switch { store } => {
                let value = count(text, 0, 1).ok_or(NO_DETAIL)? == 1;
                store(config, Setting { value, source });
            }
            ValueKind::Rule { store } => {
                let value = PoolRule::named(text).ok_or(NO_DETAIL)?;
                store(config, Setting { value, source });
            }
            ValueKind::CodelMode { store } => {
                let value = CodelMode::named(text).ok_or(NO_DETAIL)?;
                store(config, Setting { value, source });
            }
            ValueKind::Level { store } => {
                // The log crate's parser accepts the same names today; the list limits it to those of the error text.
                let known = LEVELS.iter().any(|name| name.eq_ignore_ascii_case(text));
                let value = text.parse().ok().filter(|_| known).ok_or(NO_DETAIL)?;
                store(config, Setting { value, source });
            }
            ValueKind::AdminAddress { store } => {
                let read =
                    |text| ListenAddress::parse_with(text, listen_address::ADMIN_PORT).ok_or(NO_DETAIL);
                let value = if text.is_empty() { None } else { Some(read(text)?) };
                store(config, Setting { value, source });
            }
            ValueKind::AdminSocket { store } => {
                let value = AdminSocket::read(text).ok_or(NO_DETAIL)?;
                if let AdminSocket::At(_) = value {
                    path::problem(text).map_or(Ok(()), Err)?;
                }
                store(config, Setting { value, source });
            }
            ValueKind::Path { store } => {
                let value = (!text.is_empty()).then(|| PathBuf::from(text));
                if value.is_some() {
                    path::problem(text).map_or(Ok(()), Err)?;
                }
                store(config, Setting { value, source });
            }
        }
        Ok(())
    }
}

impl PortKind {
    /// Returns the same for a port's setting.
    pub(super) fn is_file_only(&self) -> bool {
        matches!(self, PortKind::Address)
    }

    /// Accepted values, in words; completes "expected ...".
    pub(super) fn expected(&self) -> String {
        match self {
            PortKind::Driver => DRIVER_EXPECTED.to_owned(),
            PortKind::Address => listen_address::EXPECTED.to_owned(),
            PortKind::Count { min, max, .. } => format!("a whole number from {min} to {max}"),
        }
    }

    /// Reads `text` and stores it in `port`; adds a sentence on each ignored part to `notes`.
    pub(super) fn apply(
        &self,
        text: &str,
        source: Source,
        port: &mut PortConfig,
        notes: &mut Vec<String>,
    ) -> Result<(), String> {
        match self {
            PortKind::Driver => {
                notes.extend(read_driver(&port.name, text, source.line())?);
                port.driver_source = source;
            }
            PortKind::Address => {
                port.address = ListenAddress::parse(text).ok_or_else(String::new)?;
                port.address_source = source;
            }
            PortKind::Count { min, max, store } => {
                let value = count(text, *min, *max).ok_or_else(String::new)?;
                store(port, Setting { value, source });
            }
        }
        Ok(())
    }
}

/// A whole number in decimal digits, nothing else: no sign, no separator, no unit.
fn count(text: &str, min: u32, max: u32) -> Option<u32> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // More digits than a u32 holds fail in `parse`, which is out of range, too.
    text.parse().ok().filter(|number| (min..=max).contains(number))
}

/// Completes "expected ..." when a port's line is wrong.
const DRIVER_EXPECTED: &str = "TCP, or Domino's line TCP,0,15,0,,12288";

/// Bit of the flags field that requests encryption.
const FLAG_ENCRYPTION: u64 = 0x8000;

/// Bit of the flags field that requests compression.
const FLAG_COMPRESSION: u64 = 0x0020;

/// Reads the line of port `name`. `Ok` has one sentence for each part of it that is ignored.
fn read_driver(name: &str, text: &str, line: Option<u32>) -> Result<Vec<String>, String> {
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
    let line = line.map_or(String::new(), |line| format!("line {line}: "));
    if fields[1..].iter().any(|field| !field.is_empty()) {
        notes.push(format!("{line}{name}={text}: only the driver is used, the other fields are ignored"));
    }
    for (flag, requested) in [(FLAG_ENCRYPTION, "encryption"), (FLAG_COMPRESSION, "compression")] {
        if flags & flag != 0 {
            notes.push(format!(
                "{line}port {name} requests {requested} (flag 0x{flag:04X}), which is not supported yet: its \
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
    fn a_count_is_digits_within_its_range() {
        for (text, expected) in [
            ("1", Some(1)),
            ("4096", Some(4096)),
            ("007", Some(7)),
            ("0", None),
            ("4097", None),
            ("4294967297", None),
            ("99999999999999999999999", None),
            ("", None),
            ("+1", None),
            ("-1", None),
            ("1 0", None),
            ("1_0", None),
            ("0x10", None),
            ("1.0", None),
            ("40K", None),
            ("forty", None),
            ("٤", None),
        ] {
            assert_eq!(count(text, 1, 4096), expected, "{text}");
        }
    }

    #[test]
    fn the_four_published_flag_values() {
        for (flags, requested) in [
            (12288, &[][..]),
            (12320, &["compression"]),
            (45056, &["encryption"]),
            (45088, &["encryption", "compression"]),
        ] {
            let notes =
                read_driver("P", &format!("TCP,0,15,0,,{flags},"), Some(3)).expect("a line of Domino's own");
            assert_eq!(notes.len(), 1 + requested.len(), "{notes:?}");
            for (note, requested) in notes[1..].iter().zip(requested) {
                assert!(note.contains(requested), "{note}");
            }
        }
    }

    #[test]
    fn driver_lines() {
        assert_eq!(read_driver("P", "tcp", Some(1)), Ok(vec![]));
        assert_eq!(read_driver("P", "TCP,,,,,,", Some(1)), Ok(vec![]));
        assert_eq!(
            read_driver("P", "TCP, 0, 15, 0", Some(7)),
            Ok(vec![
                "line 7: P=TCP, 0, 15, 0: only the driver is used, the other fields are ignored".to_owned()
            ])
        );
        assert_eq!(
            read_driver("P", "NETBIOS,1,15,0", Some(1)),
            Err("only the driver TCP is supported".to_owned())
        );
        assert_eq!(read_driver("P", "", Some(1)), Err("only the driver TCP is supported".to_owned()));
        assert_eq!(
            read_driver("P", "TCP,0,15,0,,x", Some(1)),
            Err("the flags \"x\" are not a number".to_owned())
        );
    }
}
