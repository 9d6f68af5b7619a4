//! Comparison of a client's types with the server's, before anything is sent in bincode.
//!
//! A method's types are traced once in a process, at its first call. Their fingerprint is compared with the one in the
//! Welcome, once for each connection; where they differ, the server is asked for its types, and the outcome is kept as
//! long as the connection. Knows shapes; knows no calls, connections or sockets.
//!
//! Invariants: for the types that agreed last, a call costs one load and one comparison of a number. No more outcomes
//! are kept for a method than the program has types for it.

use crate::schema::{Describe, MethodErrors, Schema, Shapes, first_difference};
use crate::service::ClientError;
use crate::service::builtin::MethodSchema;
use crate::sync::{Arc, AtomicUsize, Mutex, Ordering};
use std::collections::BTreeMap;
use std::sync::OnceLock;

/// Types of a method and the errors that it lists, as its server describes them.
#[derive(Debug)]
pub(super) struct ServerTypes {
    pub(super) schema: MethodSchema,
    /// None unless they were asked for and the server describes them.
    pub(super) errors: MethodErrors,
}

/// State of the comparison of one method's types on one connection.
#[derive(Debug)]
pub(super) struct CheckState {
    /// Of the server's types; 0 where they are not known.
    fingerprint: u64,
    /// This program's types that agreed last: address of the function that describes them.
    agreed: AtomicUsize,
    /// Differences that the server was asked for, by the function that describes this program's types.
    outcomes: Mutex<BTreeMap<usize, Option<String>>>,
}

impl CheckState {
    pub(super) fn new(fingerprint: u64) -> CheckState {
        CheckState { fingerprint, agreed: AtomicUsize::new(0), outcomes: Mutex::default() }
    }

    /// Compares this program's types of `method` with the server's; calls `ask_server` where they differ and no
    /// outcome is known, with whether it needs the list of errors. Returns false if that returns `None`.
    ///
    /// # Errors
    /// [`ClientError::SchemaMismatch`], or that of `ask_server`.
    pub(super) fn check(
        &self,
        method: &str,
        describe: Describe,
        ask_server: impl FnOnce(bool) -> Result<Option<ServerTypes>, ClientError>,
    ) -> Result<bool, ClientError> {
        // Relaxed: an old value costs one more comparison. Two functions have one address only where they are the same
        // code, and so describe the same types.
        if self.fingerprint == 0 || self.agreed.load(Ordering::Relaxed) == describe as usize {
            return Ok(true);
        }
        self.compare(method, describe, ask_server)
    }

    #[cold]
    fn compare(
        &self,
        method: &str,
        describe: Describe,
        ask_server: impl FnOnce(bool) -> Result<Option<ServerTypes>, ClientError>,
    ) -> Result<bool, ClientError> {
        let (own, fingerprint) = &*traced(describe);
        if *fingerprint != 0
            && *fingerprint != self.fingerprint
            && let Ok(shapes) = &own.bincode
        {
            let known = self.outcomes.lock().get(&(describe as usize)).cloned();
            let difference = match known {
                Some(difference) => difference,
                None => {
                    let Some(servers) = ask_server(!own.errors.is_empty())? else { return Ok(false) };
                    let difference = difference(shapes, servers.schema)
                        .or_else(|| own.errors.first_difference(&servers.errors));
                    self.outcomes.lock().insert(describe as usize, difference.clone());
                    difference
                }
            };
            if let Some(difference) = difference {
                return Err(ClientError::SchemaMismatch { method: method.to_owned(), difference });
            }
        }
        self.agreed.store(describe as usize, Ordering::Relaxed);
        Ok(true)
    }
}

/// The first difference between this program's types and the server's, whose fingerprints differ.
fn difference(own: &Shapes, servers: MethodSchema) -> Option<String> {
    match servers.bincode.map(|texts| texts.read()).transpose() {
        Ok(Some(shapes)) => first_difference(own, &shapes),
        Ok(None) => Some("the fingerprints differ, and the server does not say where".to_owned()),
        Err(error) => Some(format!("the fingerprints differ, and what the server says is {error}")),
    }
}

/// A schema of this process with its fingerprint.
type TracedSchema = Arc<(Schema, u64)>;

/// Traces a method's types, once in the life of the process.
fn traced(describe: Describe) -> TracedSchema {
    // A tree: leak checkers can follow its pointers, and not those of a hash map, which lead into the middle.
    static TRACED: OnceLock<Mutex<BTreeMap<usize, TracedSchema>>> = OnceLock::new();
    let known = TRACED.get_or_init(Mutex::default);
    if let Some(traced) = known.lock().get(&(describe as usize)) {
        return Arc::clone(traced);
    }
    // Without the lock: a Deserialize is foreign code. Two threads may both trace; both get the same.
    let schema = describe();
    let fingerprint = schema.fingerprint();
    let traced = Arc::new((schema, fingerprint));
    known.lock().insert(describe as usize, Arc::clone(&traced));
    traced
}
