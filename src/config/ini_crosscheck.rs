//! Second reading by the `ini` crate of the text that the scanner accepted.
//!
//! The values are the crate's; line numbers and the rejection of doubtful text are the scanner's. Invariant: a
//! difference is an error of the file, never a silent choice of one reading.

use super::error::{ConfigError, Problem, shorten};
use super::scan::Scan;

/// Replaces the scanner's values by the crate's; returns an error for each line in which they differ.
pub(super) fn confirm(scan: &mut Scan) -> Vec<ConfigError> {
    const AGREE: &str = "both readings of the file to agree";
    let sections = match ini::inistr!(safe & scan.text) {
        Ok(sections) => sections,
        Err(cause) => {
            return vec![
                ConfigError::at(1, Problem::Disagreement, AGREE)
                    .wrong(format!("the ini crate fails: {cause}")),
            ];
        }
    };
    let mut errors = Vec::new();
    for entry in &mut scan.entries {
        let section = entry.section.as_deref().unwrap_or("default");
        let value = sections.get(section).and_then(|keys| keys.get(&entry.key.to_ascii_lowercase()));
        if let Some(Some(value)) = value.filter(|value| value.as_ref() == Some(&entry.value)) {
            entry.value.clone_from(value);
        } else {
            let error = ConfigError::at(entry.line, Problem::Disagreement, AGREE);
            let wrong =
                format!("the ini crate reads {}", shorten(&format!("{:?}", value.cloned().flatten())));
            errors.push(error.key(&entry.key).found(&entry.value).wrong(wrong));
        }
    }
    let count: usize = sections.values().map(|keys| keys.len()).sum();
    if errors.is_empty() && count != scan.entries.len() {
        let wrong = format!("the ini crate reads {count} settings, the scanner {}", scan.entries.len());
        errors.push(ConfigError::at(1, Problem::Disagreement, AGREE).wrong(wrong));
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::scan::scan;
    use crate::config::tests::Random;

    const PIECES: &[&str] = &[
        "Server_Pool_Tasks",
        "server_pool_tasks",
        "a",
        "B-2",
        "Ports",
        "=",
        "=",
        "=",
        "=",
        " ",
        "\t",
        "40",
        "-1",
        "x,y",
        ":",
        ";",
        "#",
        "[",
        "]",
        "[Server]",
        "[Notes]",
        "[default]",
        "\"",
        "\\",
        "\\n",
        "'",
        "é",
        "\u{feff}",
        "\u{a0}",
        "\u{2028}",
        "\u{212a}",
        "=v",
        "\r",
        "\0",
        "0,[::1]:1352",
        "TCP,0,15,0,,12288,",
    ];

    fn line(random: &mut Random, number: usize) -> String {
        match random.below(8) {
            0 => random.pick(&["", "  ", "; note = 1", "# [note]", "\t;x"]).to_owned(),
            1 => random.pick(&["[Server]", "[notes]", " [ SERVER ] ", "[Notes]"]).to_owned(),
            2 => (0..random.below(6)).map(|_| random.pick(PIECES)).collect(),
            _ => {
                let mut text =
                    format!("{}key{number}{}=", random.pick(&["", " ", "\t"]), random.pick(&["", " "]));
                for _ in 0..random.below(5) {
                    text.push_str(random.pick(PIECES));
                }
                text
            }
        }
    }

    #[test]
    fn both_read_accepted_text_alike() {
        let (mut accepted, mut settings) = (0, 0);
        for seed in 1..=10_000u64 {
            let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
            let mut text = random.pick(&["", "\u{feff}"]).to_owned();
            for number in 0..random.below(6) {
                text.push_str(&line(&mut random, number));
                text.push_str(random.pick(&["\n", "\n", "\r\n"]));
            }
            let mut scan = scan(text.as_bytes(), None);
            if scan.errors.is_empty() {
                assert_eq!(confirm(&mut scan), [], "seed {seed}: {text:?}");
                accepted += 1;
                settings += scan.entries.len();
            }
        }
        assert!(accepted > 1_000 && settings > 2_000, "too few files compared: {accepted}, {settings}");
    }

    #[test]
    fn a_difference_is_an_error_of_its_line() {
        let mut scan = scan(b"a=1\nb=2\n", None);
        scan.entries[1].value = "3".to_owned();
        let errors: Vec<_> = confirm(&mut scan).iter().map(ToString::to_string).collect();
        assert_eq!(
            errors,
            ["line 2: b=3: the ini crate reads Some(\"2\"), expected both readings of the file to agree"]
        );
    }

    #[test]
    fn a_setting_that_only_the_crate_finds_is_an_error() {
        let mut scan = scan(b"a=1\nb=2\n", None);
        scan.entries.pop();
        assert_eq!(
            confirm(&mut scan)[0].message(),
            "the ini crate reads 2 settings, the scanner 1, expected both readings of the file to agree"
        );
    }
}
