//! Lines of the section `[Limits]`: a method's name, the calls of it that may run at once, and those that may wait for
//! that: `notes.search=8,200`.
//!
//! Names are compared without case. Does not know which methods a program has (`limit_check.rs` is told).

use super::source::Setting;

/// Name of the section, in lower case.
pub(super) const SECTION: &str = "limits";

/// Accepted values, in words.
pub(super) const EXPECTED: &str =
    "RUN,WAIT: calls that run at once, 1 to 1000000, and calls that wait, 0 to 100000; or 0 for no limit";

const RUN_MAX: u32 = 1_000_000;
const WAIT_MAX: u32 = 100_000;

/// One line of `[Limits]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitLine {
    /// `service.method` as written.
    pub method: String,
    /// Calls that may run at once in the whole server, and calls that may wait for that; `None` is no limit.
    pub limit: Setting<Option<(u32, u32)>>,
}

impl LimitLine {
    /// Returns whether it is for this method.
    pub fn is_for(&self, method: &str) -> bool {
        self.method.eq_ignore_ascii_case(method)
    }

    /// Its value as it would be written.
    pub(super) fn value(&self) -> String {
        self.limit.value.map_or("0".to_owned(), |(run, wait)| format!("{run},{wait}"))
    }
}

/// Returns whether a key is one of `[Limits]`: that of a method, which has a dot as no other key has.
pub(super) fn is_method(key: &str) -> bool {
    let words = || key.split('.');
    words().count() > 1 && words().all(|word| !word.is_empty())
}

/// Reads a value.
pub(super) fn read(text: &str) -> Option<Option<(u32, u32)>> {
    if text.is_empty() || text == "0" {
        return Some(None);
    }
    let number = |text: &str| {
        let text = text.trim();
        text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u32>().ok()).flatten()
    };
    let (run, wait) = text.split_once(',')?;
    let (run, wait) = (number(run)?, number(wait)?);
    ((1..=RUN_MAX).contains(&run) && wait <= WAIT_MAX).then_some(Some((run, wait)))
}
