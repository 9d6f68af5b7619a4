//! Why a command was not carried out.

use super::grammar::SyntaxError;
use crate::monitor::control::ControlError;

/// Why a command was not carried out.
#[derive(Debug)]
pub(super) enum CommandError {
    /// The line is not a command.
    Syntax(SyntaxError),
    /// It names something that does not exist.
    NotFound(String),
    /// The server refused it, or failed.
    Refused(ControlError),
    /// It changes something, and its source may only look.
    Forbidden,
}

impl From<SyntaxError> for CommandError {
    fn from(error: SyntaxError) -> CommandError {
        CommandError::Syntax(error)
    }
}

impl From<ControlError> for CommandError {
    fn from(error: ControlError) -> CommandError {
        CommandError::Refused(error)
    }
}
