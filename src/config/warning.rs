//! A warning about the settings.

/// A warning about the settings; the server starts in spite of it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Warning {
    /// Stable name of this kind of warning, in snake_case.
    pub code: &'static str,
    /// Text of the warning.
    pub message: String,
}
