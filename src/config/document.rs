//! The shipped `server.ini` and the table of `docs/SETTINGS.md`, generated from the table of settings.
//!
//! Invariant: the shipped file starts a server on 127.0.0.1:1352, and with every commented setting enabled it still
//! means the same on a machine of 2 CPUs (tests hold both). Does not know any setting, except the three lines that the
//! shipped file sets to show a complete port.

use super::keys::{self, Key};
use super::program::{ProgramKey, ProgramSection};

/// Line before the generated table in `docs/SETTINGS.md`.
pub const TABLE_BEGINS: &str = "<!-- table of settings: generated, do not edit -->";

/// Line after the generated table.
pub const TABLE_ENDS: &str = "<!-- end of the table -->";

/// Characters of a line in the shipped file.
const WIDTH: usize = 100;

/// Port of the shipped file.
const PORT: &str = "TCPIP";

/// Keys that the shipped file sets; all others are comments that show their defaults.
const SET: [&str; 3] = ["Ports", "<Port>", "<Port>_TCPIPAddress"];

/// Text of the shipped `server.ini`, lines ended by LF.
pub fn server_ini() -> String {
    program_ini("a Boneyard server", "boneyard", None)
}

/// The same for the server of a program, with its section. `program` is its name as it is typed.
pub(crate) fn program_ini(title: &str, program: &str, section: Option<&ProgramSection>) -> String {
    let mut text = format!(
        "# Settings of {title}, as `{program} check --template` writes them.\n\
         #\n\
         # A line is key=value or a comment; a comment begins with # or ; at the start of its line.\n\
         # In this file # begins an explanation and ; a disabled setting that shows its default (where a\n\
         # rule computes the default: its result on 2 CPUs). Remove the ; to change the setting. Keys\n\
         # ignore case. An unknown key, a key given twice or a value out of range is an error, and the\n\
         # server does not start. After a change: {program} check server.ini\n\
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
        text.push_str(&format!("# Default: {default}\n# Takes effect: {}.\n", when(key)));
        let mark = if SET.contains(&key.name()) { "" } else { ";" };
        text.push_str(&format!("{mark}{}={}\n", key.name_for(PORT), key.written_default()));
    }
    if let Some(section) = section {
        text.push_str(&format!("\n[{}]\n", section.name()));
        for ProgramKey { name, default, value, doc, .. } in section.keys() {
            let shown = if default.is_empty() { "empty" } else { default };
            text.push('\n');
            for line in [*doc, &format!("Value: {value}")].into_iter().flat_map(|line| wrap(line, WIDTH - 2))
            {
                text.push_str(&format!("# {line}\n"));
            }
            text.push_str(&format!(
                "# Default: {shown}\n# Takes effect: after a restart.\n;{name}={default}\n"
            ));
        }
    }
    text
}

/// The table of `docs/SETTINGS.md` with its marker lines, lines ended by LF.
pub fn settings_table() -> String {
    let mut text = format!(
        "{TABLE_BEGINS}\n| Key | Value | Default | Takes effect | Meaning |\n|---|---|---|---|---|\n"
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

/// Accepted values, with the unit.
fn value(key: &Key) -> String {
    match key.unit() {
        "" => key.range(),
        unit => format!("{}, in {unit}", key.range()),
    }
}

/// Time at which a change takes effect, in words.
fn when(key: &Key) -> &'static str {
    if key.is_reloadable() { "at once" } else { "after a restart" }
}

/// Wraps text into lines of at most `width` characters; a longer word is a line of its own.
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

    /// Every value as it would be written, without the line that it comes from.
    fn meaning(config: &Config) -> Vec<String> {
        config.effective().into_iter().map(|setting| setting.value).collect()
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
    fn with_every_setting_enabled_it_means_the_same_on_two_cpus() {
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
