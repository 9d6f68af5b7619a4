//! Whether a client's types are the server's, before anything is sent in bincode.
//!
//! A method's types are traced once in a process, at its first call. Their fingerprint is compared with the one in
//! the Welcome, once for each connection; where they differ, the server is asked what its types are, and what came of
//! it is kept as long as the connection. Knows shapes and calls; knows no sockets.
//!
//! Invariants: what was found to agree last costs a call one load and one comparison of a number. Of a method no more
//! outcomes are kept than the program has types for it.

use super::Client;
use super::connection::ClientConnection;
use super::error::ClientError;
use super::retry::call::{Call, before_the_call};
use crate::schema::{Describe, Schema, Shapes, first_difference};
use crate::service::builtin::{MethodSchema, SCHEMA};
use crate::sync::{Arc, AtomicUsize, Mutex, Ordering};
use crate::wire::Codec;
use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Instant;

/// A method of a server, as a connection knows it.
#[derive(Debug)]
pub(super) struct CheckState {
    /// Good on this connection only.
    pub(super) number: u16,
    /// Of the server's types; 0 where they are not known.
    fingerprint: u64,
    /// The types of ours that were found to agree last: which function describes them.
    agreed: AtomicUsize,
    /// What the server was asked about: by the function that describes our types, where they differ from its own.
    outcomes: Mutex<BTreeMap<usize, Option<String>>>,
}

impl CheckState {
    pub(super) fn new(number: u16, fingerprint: u64) -> CheckState {
        CheckState { number, fingerprint, agreed: AtomicUsize::new(0), outcomes: Mutex::default() }
    }

    /// Need these types no more be compared?
    fn agrees(&self, describe: Describe) -> bool {
        // Relaxed: whoever reads an old value compares once more. Two functions may have one address only where they
        // are the same code, and so describe the same types.
        self.fingerprint == 0 || self.agreed.load(Ordering::Relaxed) == describe as usize
    }
}

impl Client {
    /// Compares the types of a call's method with the server's. False when the connection takes no calls any more.
    ///
    /// # Errors
    /// [`ClientError::SchemaMismatch`], or why the server could not be asked. Nothing was sent.
    pub(super) fn agree<Response>(
        &self,
        link: &Arc<ClientConnection>,
        entry: &CheckState,
        call: &Call<'_, Response>,
        patience: Option<Instant>,
    ) -> Result<bool, ClientError> {
        match call.describe {
            Some(describe) if !entry.agrees(describe) => {
                self.compare(link, entry, (call.method, describe), patience)
            }
            _ => Ok(true),
        }
    }

    #[cold]
    fn compare(
        &self,
        link: &Arc<ClientConnection>,
        entry: &CheckState,
        (method, describe): (&str, Describe),
        patience: Option<Instant>,
    ) -> Result<bool, ClientError> {
        let (own, fingerprint) = &*traced(describe);
        if *fingerprint != 0
            && *fingerprint != entry.fingerprint
            && let Ok(own) = &own.bincode
        {
            let known = entry.outcomes.lock().get(&(describe as usize)).cloned();
            let difference = match known {
                Some(difference) => difference,
                None => {
                    let Some(servers) = self.ask_schema(link, method, patience)? else { return Ok(false) };
                    let difference = difference(own, servers);
                    entry.outcomes.lock().insert(describe as usize, difference.clone());
                    difference
                }
            };
            if let Some(difference) = difference {
                return Err(ClientError::SchemaMismatch { method: method.to_owned(), difference });
            }
        }
        entry.agreed.store(describe as usize, Ordering::Relaxed);
        Ok(true)
    }

    /// What the server's types are; `None` when the connection takes no calls any more. Waits until `patience` ends.
    fn ask_schema(
        &self,
        link: &Arc<ClientConnection>,
        method: &str,
        patience: Option<Instant>,
    ) -> Result<Option<MethodSchema>, ClientError> {
        if link.entry(SCHEMA.name()).is_none() {
            let unknown = MethodSchema { fingerprint: 0, bincode: None, json: None, unknown: String::new() };
            return Ok(Some(unknown));
        }
        let name = method.to_owned();
        let write = |out: &mut Vec<u8>| Codec::Bincode.encode(&name, out);
        // Its own types are not compared: that would be asked in turn.
        let call = Call { deadline: patience, describe: None, ..self.typed(SCHEMA, &write)? };
        let Some(pending) = self.outside().send_on(link, &call, patience)? else { return Ok(None) };
        before_the_call(pending.wait())
    }
}

/// Where our types differ from the server's, whose fingerprint is another.
fn difference(own: &Shapes, servers: MethodSchema) -> Option<String> {
    match servers.bincode.map(|texts| texts.read()).transpose() {
        Ok(Some(shapes)) => first_difference(own, &shapes),
        Ok(None) => Some("the fingerprints differ, and the server does not say where".to_owned()),
        Err(error) => Some(format!("the fingerprints differ, and what the server says is {error}")),
    }
}

/// A schema of this process with its fingerprint.
type Traced = Arc<(Schema, u64)>;

/// Traces a method's types, once in the life of the process.
fn traced(describe: Describe) -> Traced {
    // A tree: leak checkers can follow its pointers, and not those of a hash map, which lead into the middle.
    static TRACED: OnceLock<Mutex<BTreeMap<usize, Traced>>> = OnceLock::new();
    let known = TRACED.get_or_init(Mutex::default);
    if let Some(traced) = known.lock().get(&(describe as usize)) {
        return Arc::clone(traced);
    }
    // Not under the lock: a Deserialize is foreign code. Two threads may both trace; both find the same.
    let schema = describe();
    let fingerprint = schema.fingerprint();
    let traced = Arc::new((schema, fingerprint));
    known.lock().insert(describe as usize, Arc::clone(&traced));
    traced
}
