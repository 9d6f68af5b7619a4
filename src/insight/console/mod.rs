//! The console: lines in, text out, in Domino's manner.

/// What a command says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// It was a command, and was carried out.
    pub understood: bool,
    /// Lines, each ended.
    pub text: String,
}

/// Carries out a line.
pub(super) fn command(_insight: &super::Insight, line: &str) -> Reply {
    Reply {
        understood: false,
        text: format!("Command or option is not recognized: {}\n", line.escape_debug()),
    }
}
