//! The section of a program, checked against the server's own keys.
//!
//! Invariant: a key of a program is no key of the server's, so a key means one thing in the whole file.

use super::keys;
use super::program::{ProgramSection, ProgramSettings};

/// Makes the section of these settings, with the defaults.
///
/// # Panics
/// The name or a key cannot be used, or a default is no value of its key.
#[cfg_attr(not(feature = "cli"), allow(dead_code, reason = "the command line alone makes sections"))]
pub(crate) fn section_of<T: ProgramSettings>(name: &'static str) -> ProgramSection {
    let section = ProgramSection::new(name, T::KEYS);
    for (key, _) in section.effective() {
        let is_taken = keys::all().any(|ours| ours.name().eq_ignore_ascii_case(key));
        assert!(!is_taken, "a program cannot have the key {key}: it is the server's");
    }
    section
}

#[cfg(test)]
mod tests {
    use super::super::{Config, ProgramKey, ProgramValues};
    use super::*;

    struct Tickets;

    impl ProgramSettings for Tickets {
        const KEYS: &'static [ProgramKey] = &[
            ProgramKey::new::<u8>("Tickets_Page", "20", "a whole number up to 255", "Tickets on a page."),
            ProgramKey::new::<String>("Tickets_Title", "", "any text", "Title."),
        ];

        fn read(_: &ProgramValues<'_>) -> Tickets {
            Tickets
        }
    }

    fn read(text: &str) -> Result<Config, String> {
        let section = section_of::<Tickets>("Tickets");
        Config::from_file(text.as_bytes(), None, 2, Some(section)).map_err(|errors| errors.to_string())
    }

    #[test]
    fn a_section_has_the_keys_of_the_program() {
        let config = read("[tickets]\ntickets_page = 7\n[Server]\nServer_Pool_Tasks=3\n").unwrap();
        let values = ProgramValues(config.program.as_ref());
        assert_eq!(
            (values.get::<u8>("Tickets_Page"), values.get::<String>("Tickets_Title")),
            (7, String::new())
        );
        assert_eq!(config.pool_tasks.value, 3);
        let shown: Vec<_> = config.effective().into_iter().rev().take(2).collect();
        assert_eq!(
            (shown[1].key.as_str(), shown[1].source.to_string()),
            ("Tickets_Page", "line 2".to_owned())
        );
        assert_eq!(
            (shown[0].key.as_str(), shown[0].source.to_string()),
            ("Tickets_Title", "default".to_owned())
        );
        assert!(Config::from_text("[Tickets]\n", None, 2).is_err(), "of another program");
    }

    #[test]
    fn errors_are_those_of_any_line() {
        for (text, error) in [
            (
                "[Tickets]\nTickets_Page=x",
                "line 2: Tickets_Page=x: invalid digit found in string, expected a whole number up to 255",
            ),
            (
                "[Tickets]\nTicket_Page=1",
                "line 2: Ticket_Page=1: unknown key, expected a key that `check --template` explains; did you mean Tickets_Page?",
            ),
            (
                "[Tickets]\nServer_Pool_Tasks=1",
                "line 2: Server_Pool_Tasks=1: unknown key, expected a key that `check --template` explains; it stands below [Server]",
            ),
            (
                "Tickets_Page=1",
                "line 1: Tickets_Page=1: unknown key, expected a key that `check --template` explains; it stands below [Tickets]",
            ),
            (
                "[Tickets]\nTickets_Page=1\ntickets_page=2",
                "line 3: tickets_page=2: already given in line 2, expected each key once",
            ),
            (
                "[Ticket]",
                "line 1: [Ticket]: unknown section, expected [Server], [Notes], [Limits] or [Tickets]",
            ),
        ] {
            assert_eq!(read(text).unwrap_err(), error);
        }
    }

    #[test]
    #[should_panic(expected = "a program cannot have the key log_file")]
    fn a_key_of_the_server_is_no_key_of_a_program() {
        struct Taken;

        impl ProgramSettings for Taken {
            const KEYS: &'static [ProgramKey] =
                &[ProgramKey::new::<String>("log_file", "", "any text", "Taken.")];

            fn read(_: &ProgramValues<'_>) -> Taken {
                Taken
            }
        }

        section_of::<Taken>("Tickets");
    }
}
