//! Handlers of the built-in methods (`builtin.rs`). Does not know what a server counts: `info` is a function it gives.

use super::builtin::{ECHO, ERRORS, INFO, Info, METHODS, MethodErrors, MethodSchema, PING, SCHEMA};
use super::handler_error::HandlerError;
use super::method::{Method, check_method_name};
use super::refusal::Refusal;
use super::services::{ServicesBuilder, typed};
use super::session::{self, Opened, SessionTicket};
use super::status::Status;
use super::transaction::Transaction;
use crate::sync::Arc;
use crate::wire::{Codec, json};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;

/// The names of the built-in methods.
pub(crate) const NAMES: [&str; 9] = [
    PING.name(),
    ECHO.name(),
    INFO.name(),
    METHODS.name(),
    SCHEMA.name(),
    ERRORS.name(),
    session::OPEN.name(),
    session::ATTACH.name(),
    session::CLOSE.name(),
];

/// Opens and closes sessions for the built-in methods.
pub(crate) trait Sessions: Send + Sync {
    /// # Errors
    /// No more sessions are allowed.
    fn open(&self, call: &Transaction<'_>) -> Result<Opened, Refusal>;
    /// # Errors
    /// There is no such session, or this is not its token.
    fn attach(&self, call: &Transaction<'_>, ticket: &SessionTicket) -> Result<u32, Refusal>;
    /// # Errors
    /// The connection carries no such session.
    fn close(&self, call: &Transaction<'_>, number: u32) -> Result<(), Refusal>;
}

/// Adds the built-in methods. To be called after all others are added, since `server.methods` lists them; `info` is
/// called at each `server.info`.
pub(crate) fn add(
    builder: &mut ServicesBuilder,
    info: impl Fn() -> Info + Send + Sync + 'static,
    sessions: Arc<dyn Sessions>,
) {
    let (attach, close) = (Arc::clone(&sessions), Arc::clone(&sessions));
    add_refusing(builder, session::OPEN, move |tx, ()| sessions.open(tx));
    add_refusing(builder, session::ATTACH, move |tx, ticket| attach.attach(tx, &ticket));
    add_refusing(builder, session::CLOSE, move |tx, number| close.close(tx, number));
    builder.add(PING, |_, ()| Ok(()));
    builder.add_raw(ECHO.name(), Box::new(echo));
    builder.add(INFO, move |_, ()| Ok(info()));
    let mut names: Vec<String> = builder.names().map(str::to_owned).collect();
    names.extend([METHODS.name(), SCHEMA.name(), ERRORS.name()].map(str::to_owned));
    names.sort();
    builder.add(METHODS, move |_, ()| Ok(names.clone()));
    let own = [(SCHEMA.name(), SCHEMA.schema()), (ERRORS.name(), ERRORS.schema())];
    let own = own.iter().map(|(name, schema)| (*name, schema));
    let mut schemas = BTreeMap::<String, MethodSchema>::new();
    let mut errors = BTreeMap::<String, MethodErrors>::new();
    for (name, schema) in builder.schemas().chain(own) {
        schemas.insert(name.to_owned(), MethodSchema::from(schema));
        errors.insert(name.to_owned(), schema.errors.clone());
    }
    add_refusing(builder, SCHEMA, move |_, name: String| of_method(&schemas, &name));
    add_refusing(builder, ERRORS, move |_, name: String| of_method(&errors, &name));
}

/// Returns what there is for a method.
fn of_method<T: Clone>(known: &BTreeMap<String, T>, name: &str) -> Result<T, Refusal> {
    check_method_name(name).map_err(|error| Refusal::new(Status::BadRequest, error.to_string()))?;
    let unknown = || Refusal::new(Status::UnknownMethod, format!("there is no method {name:?}"));
    known.get(name).cloned().ok_or_else(unknown)
}

/// Adds a method that may refuse with any status.
fn add_refusing<Request: DeserializeOwned, Response: Serialize>(
    builder: &mut ServicesBuilder,
    method: Method<Request, Response>,
    run: impl Fn(&Transaction<'_>, Request) -> Result<Response, Refusal> + Send + Sync + 'static,
) {
    builder.add_described(method.name(), method.schema(), typed(run));
}

/// Copies the arguments. It works for every type, since both codecs write request and response alike.
pub(crate) fn echo(
    _: &Transaction<'_>,
    codec: Codec,
    arguments: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), HandlerError> {
    if codec == Codec::Json {
        json::check(arguments).map_err(Refusal::from)?;
    }
    out.extend_from_slice(arguments);
    Ok(())
}
