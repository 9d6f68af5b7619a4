//! The table of a server's methods, handlers of bytes made from closures over typed values, and the one place where
//! handlers are run.

use super::error_list::ErrorList;
use super::handler::Handler;
use super::handler_error::HandlerError;
use super::log_limit::LogLimiter;
use super::method::Method;
use super::middleware::{Middleware, surrounded};
use super::refusal::Refusal;
use super::refusal_of_error::refusal_of_error;
use super::refusal_of_panic::refusal_of_panic;
use super::status::Status;
use super::transaction::Transaction;
use super::worker_hooks;
use super::worker_values::WorkerValues;
use crate::schema::Schema;
use crate::sync::Arc;
use crate::wire::body::MethodEntry;
use crate::wire::{Codec, limits};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use thiserror::Error;

/// Two handlers have one method name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("two handlers for the method {0}")]
pub struct DuplicateMethod(pub String);

/// Methods by number: 1 for the first name in alphabetical order.
#[derive(Default)]
pub struct Services {
    methods: Vec<(String, Handler)>,
    /// One for each method, in the same order; 0 where the types are not known.
    fingerprints: Vec<u64>,
    log_limiter: Arc<LogLimiter>,
    worker_values: WorkerValues,
}

/// Collects methods until the start.
#[derive(Default)]
pub(crate) struct ServicesBuilder {
    methods: BTreeMap<String, (Handler, Schema)>,
    duplicate: Option<String>,
    log_limiter: Arc<LogLimiter>,
    worker_values: WorkerValues,
}

impl ServicesBuilder {
    /// Adds a method; [`ServicesBuilder::build`] reports a name that was given twice.
    pub(crate) fn add<Request, Response, Listed, F>(
        &mut self,
        method: Method<Request, Response, Listed>,
        run: F,
    ) where
        Request: DeserializeOwned,
        Response: Serialize,
        Listed: ErrorList,
        F: Fn(&Transaction<'_>, Request) -> Result<Response, HandlerError> + Send + Sync + 'static,
    {
        self.add_described(method.name(), method.schema(), typed(run));
    }

    /// Adds a method that reads and writes its bytes itself.
    pub(crate) fn add_raw(&mut self, name: &str, handler: Handler) {
        self.add_described(name, Schema::unknown("it reads and writes its bytes itself"), handler);
    }

    /// Adds a method's code with its types, as far as they are known.
    pub(crate) fn add_described(&mut self, name: &str, schema: Schema, handler: Handler) {
        if let Err(why) = &schema.bincode {
            log::debug!("{name}: its types are not compared: {why}");
        }
        if self.methods.insert(name.to_owned(), (handler, schema)).is_some() {
            self.duplicate = Some(name.to_owned());
        }
    }

    /// Puts middleware around the methods so far, the first outermost.
    pub(crate) fn surround(&mut self, middleware: Vec<Middleware>) {
        if middleware.is_empty() {
            return;
        }
        let middleware = Arc::new(middleware);
        for (name, (handler, schema)) in std::mem::take(&mut self.methods) {
            let handler = surrounded(handler, Arc::clone(&middleware), Arc::clone(&self.log_limiter));
            self.methods.insert(name, (handler, schema));
        }
    }

    /// Sets the values of the workers' places.
    pub(crate) fn set_worker_values(&mut self, values: WorkerValues) {
        self.worker_values = values;
    }

    /// Returns the limit on log lines that clients cause.
    pub(crate) fn log_limiter(&self) -> &Arc<LogLimiter> {
        &self.log_limiter
    }

    /// Returns the names so far.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.methods.keys().map(String::as_str)
    }

    /// Returns the types so far, by name.
    pub(crate) fn schemas(&self) -> impl Iterator<Item = (&str, &Schema)> {
        self.methods.iter().map(|(name, (_, schema))| (name.as_str(), schema))
    }

    /// Numbers the methods.
    ///
    /// # Errors
    /// A name was given twice.
    pub(crate) fn build(self) -> Result<Services, DuplicateMethod> {
        assert!(self.methods.len() <= limits::METHODS_MAX, "method numbers are 16 bits");
        match self.duplicate {
            Some(name) => Err(DuplicateMethod(name)),
            None => {
                let fingerprints = self.methods.values().map(|(_, schema)| schema.fingerprint()).collect();
                let methods = self.methods.into_iter().map(|(name, (handler, _))| (name, handler)).collect();
                let (log_limiter, worker_values) = (self.log_limiter, self.worker_values);
                Ok(Services { methods, fingerprints, log_limiter, worker_values })
            }
        }
    }
}

impl Services {
    /// Returns the number of methods; they are numbered from 1 to this.
    pub fn len(&self) -> usize {
        self.methods.len()
    }

    /// Returns whether there is no method.
    pub fn is_empty(&self) -> bool {
        self.methods.is_empty()
    }

    /// Returns the table that a Welcome carries.
    pub fn table(&self) -> Vec<MethodEntry> {
        let known = self.methods.iter().zip(&self.fingerprints).zip(1u16..);
        let entry = |(((name, _), fingerprint), number): ((&(String, Handler), &u64), u16)| MethodEntry {
            number,
            name: name.clone(),
            fingerprint: *fingerprint,
        };
        known.map(entry).collect()
    }

    /// Returns the limit on log lines that clients cause.
    pub(crate) fn log_limiter(&self) -> &Arc<LogLimiter> {
        &self.log_limiter
    }

    /// Returns the values of the workers' places.
    pub(crate) fn worker_values(&self) -> &WorkerValues {
        &self.worker_values
    }

    /// Returns the number of the method of this name, ignoring case where none is written so.
    pub(crate) fn find(&self, name: &str) -> Option<u16> {
        let place = |same: &dyn Fn(&str) -> bool| self.methods.iter().position(|(known, _)| same(known));
        let place =
            place(&|known| known == name).or_else(|| place(&|known| known.eq_ignore_ascii_case(name)));
        place.map(|place| place as u16 + 1)
    }

    /// Returns the name of a method; empty for an unknown number.
    pub fn name(&self, number: u16) -> &str {
        self.methods.get(usize::from(number).wrapping_sub(1)).map_or("", |(name, _)| name)
    }

    /// Runs a method and appends its result, or the details of the refusal, to `out`. A result has at most `bytes_max`
    /// bytes. Never panics: a handler's panic becomes an answer.
    pub(crate) fn run(
        &self,
        number: u16,
        transaction: &Transaction<'_>,
        codec: Codec,
        arguments: &[u8],
        bytes_max: usize,
        out: &mut Vec<u8>,
    ) -> Status {
        let start = out.len();
        let Some((_, handler)) = self.methods.get(usize::from(number).wrapping_sub(1)) else {
            return refuse(
                Refusal::new(Status::UnknownMethod, format!("no method has number {number}")),
                codec,
                out,
            );
        };
        // Unwind safety: a panic leaves `out` with half a result, which is cut off below; a handler's own state is its
        // own concern, as it would be on a thread of its own.
        let ran = catch_unwind(AssertUnwindSafe(|| handler(transaction, codec, arguments, out)));
        let size = out.len() - start;
        let refusal = match ran {
            Ok(Ok(())) if size <= bytes_max => return Status::Ok,
            Ok(Ok(())) => {
                let message = format!("a result of {size} bytes is over the limit of {bytes_max}");
                Refusal::new(Status::BadResponse, message)
            }
            Ok(Err(error)) => refusal_of_error(error, transaction, &self.log_limiter),
            Err(panic) => refusal_of_panic(panic, transaction, &self.log_limiter),
        };
        out.truncate(start);
        refuse(refusal, codec, out)
    }
}

fn refuse(refusal: Refusal, codec: Codec, out: &mut Vec<u8>) -> Status {
    refusal.encode(codec, out);
    refusal.status
}

impl std::fmt::Debug for ServicesBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

impl std::fmt::Debug for Services {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.methods.iter().map(|(name, _)| name)).finish()
    }
}

/// Wraps a closure over typed values.
pub(crate) fn typed<Request, Response, E, F>(run: F) -> Handler
where
    Request: DeserializeOwned,
    Response: Serialize,
    E: Into<HandlerError>,
    F: Fn(&Transaction<'_>, Request) -> Result<Response, E> + Send + Sync + 'static,
{
    Box::new(move |transaction, codec, arguments, result| {
        let request = codec.decode_in(arguments, &worker_hooks::ArgumentMemory).map_err(Refusal::from)?;
        let response = run(transaction, request).map_err(Into::into)?;
        Ok(codec.encode(&response, result).map_err(Refusal::from)?)
    })
}

#[cfg(test)]
mod tests {
    use super::super::{ApplicationError, Fault, Peer};
    use super::*;
    use std::net::SocketAddr;

    struct TestPeer;
    impl Peer for TestPeer {
        fn peer(&self) -> SocketAddr {
            ([127, 0, 0, 1], 1).into()
        }
        fn is_gone(&self) -> bool {
            false
        }
        fn is_cancelled(&self, _: u64) -> bool {
            false
        }
    }

    const ADD: Method<(u32, u32), u32> = Method::new("math.add");
    const FAIL: Method<u32, ()> = Method::new("math.fail");
    const PANIC: Method<(), ()> = Method::new("math.panic");
    const TEXT: Method<u32, String> = Method::new("math.text");

    fn services() -> Services {
        let mut builder = ServicesBuilder::default();
        builder.add(ADD, |_, (a, b)| Ok(a.checked_add(b).ok_or(ApplicationError::new(7, "too much"))?));
        builder.add(FAIL, |_, code| Err(ApplicationError::new(code, "no").into()));
        builder.add(PANIC, |_, ()| panic!("on purpose"));
        builder.add(TEXT, |_, n| Ok("x".repeat(n as usize)));
        builder.build().unwrap()
    }

    fn run(number: u16, codec: Codec, arguments: &[u8]) -> (Status, Vec<u8>) {
        let transaction =
            Transaction { caller: &TestPeer, method: "m", call: 1, session: 0, opened: None, deadline: None };
        let mut out = vec![9];
        let status = services().run(number, &transaction, codec, arguments, 100, &mut out);
        assert_eq!(out.remove(0), 9, "earlier bytes stay");
        (status, out)
    }

    fn fault(bytes: &[u8]) -> Fault {
        Codec::Json.decode(bytes).unwrap()
    }

    #[test]
    fn methods_are_numbered_by_name_and_run_in_both_codecs() {
        let names: Vec<_> = services().table().into_iter().map(|entry| (entry.number, entry.name)).collect();
        let expected = [(1, "math.add"), (2, "math.fail"), (3, "math.panic"), (4, "math.text")];
        assert_eq!(names, expected.map(|(number, name)| (number, name.to_owned())));
        assert_eq!(run(1, Codec::Json, b"[2,3]"), (Status::Ok, b"5".to_vec()));
        assert_eq!(run(1, Codec::Bincode, &[2, 0, 0, 0, 3, 0, 0, 0]), (Status::Ok, vec![5, 0, 0, 0]));
    }

    #[test]
    fn each_failure_has_its_status_and_message() {
        let (status, body) = run(2, Codec::Json, b"12");
        assert_eq!(
            (status, fault(&body).code, fault(&body).message.as_str()),
            (Status::Application, 12, "no")
        );
        let (status, body) = run(3, Codec::Json, b"null");
        assert_eq!((status, fault(&body).code), (Status::Panicked, 0));
        assert!(!fault(&body).message.contains("on purpose"), "a panic's text stays in the log");
        assert_eq!(run(1, Codec::Json, b"[2]").0, Status::BadRequest);
        assert_eq!(run(1, Codec::Bincode, &[0; 9]).0, Status::BadRequest);
        assert_eq!(run(0, Codec::Json, b"1").0, Status::UnknownMethod);
        assert_eq!(run(5, Codec::Json, b"1").0, Status::UnknownMethod);
        assert_eq!(run(4, Codec::Json, b"98").0, Status::Ok);
        assert_eq!(run(4, Codec::Json, b"99").0, Status::BadResponse, "two quotes and 99 letters");
    }

    /// A panic's payload that panics when it is dropped, with a payload that does so too, this many times.
    struct Bomb(u32);
    impl Drop for Bomb {
        fn drop(&mut self) {
            if self.0 > 0 {
                std::panic::resume_unwind(Box::new(Bomb(self.0 - 1)));
            }
        }
    }

    #[test]
    fn a_payload_that_panics_when_dropped_is_an_answer_too() {
        let mut builder = ServicesBuilder::default();
        builder.add(PANIC, |_, ()| std::panic::resume_unwind(Box::new(Bomb(3))));
        let transaction =
            Transaction { caller: &TestPeer, method: "m", call: 1, session: 0, opened: None, deadline: None };
        let services = builder.build().unwrap();
        let status = services.run(1, &transaction, Codec::Json, b"null", 100, &mut Vec::new());
        assert_eq!(status, Status::Panicked);
    }

    #[test]
    fn a_method_given_twice_is_an_error() {
        let mut builder = ServicesBuilder::default();
        builder.add(PANIC, |_, ()| Ok(()));
        builder.add(PANIC, |_, ()| Ok(()));
        assert_eq!(builder.build().unwrap_err(), DuplicateMethod("math.panic".to_owned()));
    }
}
