//! The table of a server's methods, handlers of bytes made from closures over typed values, and the one place where
//! handlers are run.

use super::client_id::ClientId;
use super::error_list::ErrorList;
use super::handler_error::{HandlerError, causes, is_late};
use super::log_limit::{LogLimiter, cut_message};
use super::method::Method;
use super::refusal::Refusal;
use super::status::Status;
use super::transaction::Transaction;
use super::worker_hooks;
use crate::schema::Schema;
use crate::sync::Arc;
use crate::wire::body::MethodEntry;
use crate::wire::{Codec, limits};
use log::Level;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::any::Any;
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;
use thiserror::Error;

/// Time before the caller's deadline at which a handler's late call was late for that deadline: another server counts
/// in whole milliseconds.
const DEADLINE_TOLERANCE: Duration = Duration::from_millis(5);

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
}

/// Collects methods until the start.
#[derive(Default)]
pub(crate) struct ServicesBuilder {
    methods: BTreeMap<String, (Handler, Schema)>,
    duplicate: Option<String>,
    log_limiter: Arc<LogLimiter>,
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
                Ok(Services { methods, fingerprints, log_limiter: self.log_limiter })
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
            Ok(Err(error)) => self.refusal(error, transaction),
            Err(panic) => self.panicked(panic, transaction),
        };
        out.truncate(start);
        refuse(refusal, codec, out)
    }

    /// The refusal of a call whose handler returned an error.
    #[cold]
    fn refusal(&self, error: HandlerError, transaction: &Transaction<'_>) -> Refusal {
        let cause = match error {
            HandlerError::Application(error) => return error.into(),
            HandlerError::Refusal(refusal) if refusal.status == Status::Ok => {
                return Refusal::new(Status::BadResponse, "the handler refused with the status Ok");
            }
            HandlerError::Refusal(refusal) => return refusal,
            HandlerError::Internal(cause) => cause,
        };
        // Its Display, its source and its Drop are foreign code.
        let read = catch_unwind(AssertUnwindSafe(|| (is_late(cause.as_ref()), text_of(cause.as_ref()))));
        let dropped = catch_unwind(AssertUnwindSafe(|| drop(cause)));
        let (late, text) = match (read, dropped) {
            (Ok(read), Ok(())) => read,
            (Ok(_), Err(panic)) | (Err(panic), Ok(())) => return self.panicked(panic, transaction),
            (Err(panic), Err(another)) => {
                std::mem::forget(another);
                return self.panicked(panic, transaction);
            }
        };
        if late && transaction.time_left().is_some_and(|left| left <= DEADLINE_TOLERANCE) {
            let mut refusal = Refusal::new(Status::NestedRefused, "the deadline passed");
            refusal.fault.code = Status::DeadlineExceeded.code().into();
            return refusal;
        }
        let peer = transaction.peer();
        if self.log_limiter.allows(Level::Error, ClientId::of(peer.ip()), transaction.now()) {
            let (method, call) = (transaction.method, transaction.call);
            log::error!("{method}: handler failed: {}, peer={peer} call={call}", cut_message(&text));
        }
        Refusal::new(Status::Internal, "the server's log says why")
    }

    /// The refusal of a call whose handler panicked.
    #[cold]
    fn panicked(&self, panic: Box<dyn Any + Send>, transaction: &Transaction<'_>) -> Refusal {
        // A payload's own Drop may panic; forgetting it would leak, so it is dropped under a guard. The payload of that
        // panic is forgotten: its Drop may panic too, and so on without end.
        let message = panic_text(panic.as_ref()).to_owned();
        let dropped = catch_unwind(AssertUnwindSafe(|| drop(panic)));
        let client = ClientId::of(transaction.peer().ip());
        if self.log_limiter.allows(Level::Error, client, transaction.now()) {
            let and = if dropped.is_err() { "; and its payload panicked when dropped" } else { "" };
            let message = cut_message(&message);
            log::error!("{}: handler panicked: {message}{and}", transaction.method);
        }
        if let Err(another) = dropped {
            std::mem::forget(another);
        }
        Refusal::new(Status::Panicked, "the server's log says where")
    }
}

/// Returns the text of an error and of its sources.
fn text_of(cause: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    for cause in causes(cause) {
        let separator = if text.is_empty() { "" } else { ": " };
        if write!(text, "{separator}{cause}").is_err() {
            text.push_str("(an error without a text)");
        }
    }
    text
}

fn refuse(refusal: Refusal, codec: Codec, out: &mut Vec<u8>) -> Status {
    refusal.encode(codec, out);
    refusal.status
}

fn panic_text(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("no message")
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

/// A method's code without its types: arguments in, result appended to the last parameter.
pub(crate) type Handler =
    Box<dyn Fn(&Transaction<'_>, Codec, &[u8], &mut Vec<u8>) -> Result<(), HandlerError> + Send + Sync>;

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
