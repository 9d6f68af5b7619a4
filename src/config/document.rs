//! The shipped `server.ini` and the table of `docs/SETTINGS.md`, written from the table of settings.
//!
//! Must not know any setting by itself, except which three lines the shipped file sets so that a reader sees
//! a whole port. Invariant: the shipped file starts a server on 127.0.0.1:1352, and with every commented
//! setting switched on it still means the same on a machine of 2 CPUs (tests hold both).

use super::keys::{self, Key};

/// Line before the generated table in `docs/SETTINGS.md`.
pub const TABLE_BEGINS: &str = "<!-- table of settings: generated, do not edit -->";

/// Line after the generated table.
pub const TABLE_ENDS: &str = "<!-- end of the table -->";

/// Characters of a line in the shipped file.
const WIDTH: usize = 100;

/// Port that stands in the shipped file.
const PORT: &str = "TCPIP";

/// Keys that the shipped file sets; all others stand in it as comments at their defaults.
const SET: [&str; 3] = ["Ports", "<Port>", "<Port>_TCPIPAddress"];

/// Text of the shipped `server.ini`, lines ended by LF.
pub fn server_ini() -> String {
    let mut text = String::from(
        "# Settings of a Boneyard server, as `boneyard check --template` writes them.\n\
         #\n\
         # A line is key=value or a comment; a comment begins with # or ; at the start of its line.\n\
         # Here # begins an explanation and ; a setting that is switched off and shown at its default\n\
         # (where a rule computes the default: what it gives on 2 CPUs). Take the ; away to change it.\n\
         # Upper and lower case of keys are the same. An unknown key, a key given twice or a value out\n\
         # of range is an error, and nothing starts. After a change: boneyard check server.ini\n\
         \n\
         [Server]\n",
    );
    for key in keys::all() {
        text.push('\n');
        for line in wrap(key.doc(), WIDTH - 2) {
            text.push_str(&format!("# {line}\n"));
        }
        for line in wrap(&format!("Value: {}", value(key)), WIDTH - 2) {
            text.push_str(&format!("# {line}\n"));
        }
        let default = if key.default().is_empty() { "empty" } else { key.default() };
        text.push_str(&format!("# Default: {default}\n# A change counts {}.\n", when(key)));
        let mark = if SET.contains(&key.name()) { "" } else { ";" };
        text.push_str(&format!("{mark}{}={}\n", key.name_for(PORT), key.written_default()));
    }
    text
}

/// The table of `docs/SETTINGS.md` with its marker lines, lines ended by LF.
pub fn settings_table() -> String {
    let mut text = format!(
        "{TABLE_BEGINS}\n| Key | Value | Default | A change counts | Meaning |\n|---|---|---|---|---|\n"
    );
    for key in keys::all() {
        let default = match (key.default(), key.fixed_default()) {
            ("", _) => "empty".to_owned(),
            (default, Some(_)) => format!("`{default}`"),
            (words, None) => words.to_owned(),
        };
        let (name, value, when, doc) = (key.name(), value(key), when(key), key.doc());
        text.push_str(&format!("| `{name}` | {value} | {default} | {when} | {doc} |\n"));
    }
    text.push_str(TABLE_ENDS);
    text.push('\n');
    text
}

/// What may be written, with the unit.
fn value(key: &Key) -> String {
    match key.unit() {
        "" => key.range(),
        unit => format!("{}, in {unit}", key.range()),
    }
}

/// When a change takes effect.
fn when(key: &Key) -> &'static str {
    if key.is_at_once() { "at once" } else { "after a restart" }
}

/// Words in lines of at most `width` characters; a longer word stands alone.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::config::keys::Accessor;

    /// Everything but the lines that settings came from: each key's value as it would be written.
    fn meaning(config: &Config) -> Vec<String> {
        let ports = config.ports.iter().chain(&config.disabled_ports);
        let of_ports = ports.flat_map(|port| {
            keys::all().filter_map(move |key| match &key.slot {
                Accessor::Port { show, .. } => Some(show(port).value),
                Accessor::Server { .. } => None,
            })
        });
        let of_server = keys::all().filter_map(|key| match &key.slot {
            Accessor::Server { show, .. } => Some(show(config).value),
            Accessor::Port { .. } => None,
        });
        of_ports.chain(of_server).collect()
    }

    #[test]
    fn the_shipped_file_means_the_defaults() {
        let text = server_ini();
        let config = Config::from_text(&text, None, 2).expect("the shipped file is valid");
        assert_eq!(meaning(&config), meaning(&Config::default_with(2)));
        assert_eq!(config.ports[0].address.to_string(), "127.0.0.1:1352");
        assert_eq!(config.notes, [""; 0]);
    }

    #[test]
    fn with_every_comment_taken_away_it_means_the_same_on_two_cpus() {
        let text = server_ini().replace("\n;", "\n");
        let config = Config::from_text(&text, None, 2).expect("every shown default is valid");
        assert_eq!(meaning(&config), meaning(&Config::default_with(2)));
        assert!(config.log_file.source.is_given() && config.pool_tasks.source.is_given());
    }

    #[test]
    fn no_line_is_too_wide() {
        for line in server_ini().lines() {
            assert!(line.len() <= WIDTH && line.trim_end() == line, "{line}");
        }
    }
}
