//! `Server_CoDel_Mode`.

/// Action of CoDel on calls that wait too long at an overloaded port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CodelMode {
    /// Counts and logs the calls that it would refuse, and refuses none.
    Observe,
    /// Refuses them.
    Refuse,
}

impl CodelMode {
    /// Returns the mode with this name, ignoring case.
    pub(crate) fn named(text: &str) -> Option<CodelMode> {
        let modes = [CodelMode::Observe, CodelMode::Refuse];
        modes.into_iter().find(|mode| mode.name().eq_ignore_ascii_case(text))
    }

    /// Name as it is written.
    pub(crate) fn name(self) -> &'static str {
        match self {
            CodelMode::Observe => "observe",
            CodelMode::Refuse => "refuse",
        }
    }
}
