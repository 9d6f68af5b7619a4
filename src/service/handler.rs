//! Converts a closure over typed values into a handler of bytes.

use super::refusal::Refusal;
use super::transaction::Transaction;
use super::worker_hooks;
use crate::wire::Codec;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A method's code without its types: arguments in, result appended to the last parameter.
pub(crate) type Handler =
    Box<dyn Fn(&Transaction<'_>, Codec, &[u8], &mut Vec<u8>) -> Result<(), Refusal> + Send + Sync>;

/// Wraps a closure over typed values. Handlers refuse with an `ApplicationError`, built-in methods with any
/// [`Refusal`].
pub(crate) fn typed<Request, Response, E, F>(run: F) -> Handler
where
    Request: DeserializeOwned,
    Response: Serialize,
    E: Into<Refusal>,
    F: Fn(&Transaction<'_>, Request) -> Result<Response, E> + Send + Sync + 'static,
{
    Box::new(move |transaction, codec, arguments, result| {
        let request = codec.decode_in(arguments, &worker_hooks::ArgumentMemory)?;
        let response = run(transaction, request).map_err(Into::into)?;
        Ok(codec.encode(&response, result)?)
    })
}
