//! [`Handler`]: the code of a method as the table of methods has it.

use super::handler_error::HandlerError;
use super::transaction::Transaction;
use crate::wire::Codec;

/// A method's code without its types: arguments in, result appended to the last parameter.
pub(crate) type Handler =
    Box<dyn Fn(&Transaction<'_>, Codec, &[u8], &mut Vec<u8>) -> Result<(), HandlerError> + Send + Sync>;
