//! Methods of every server: `server.ping`, `server.echo`, `server.info`, `server.methods`, `server.schema`,
//! `server.errors`, all idempotent, and `session.open`, `session.attach`, `session.close`.

use super::Bytes;
use super::method::Method;
pub use crate::schema::{ErrorCode, MethodErrors};
use crate::schema::{Schema, Shapes, Unreadable};
use serde::{Deserialize, Serialize};

/// Checks that the server answers; takes and returns nothing.
pub const PING: Method<(), ()> = Method::new("server.ping").idempotent();

/// Returns its arguments, byte for byte, whatever they are; JSON arguments must be JSON.
pub const ECHO: Method<Bytes, Bytes> = Method::new("server.echo").idempotent();

/// Returns the server's version, sizes and counters.
pub const INFO: Method<(), Info> = Method::new("server.info").idempotent();

/// Returns the names of all methods, sorted.
pub const METHODS: Method<(), Vec<String>> = Method::new("server.methods").idempotent();

/// Returns the shapes of a method's types by its name. An unknown name is answered `UnknownMethod`.
pub const SCHEMA: Method<String, MethodSchema> = Method::new("server.schema").idempotent();

/// Returns the application errors that a method lists, by the method's name; none for a method that lists none. An
/// unknown name is answered `UnknownMethod`. It is a method of its own, because the result of [`SCHEMA`] is frozen;
/// servers of builds without such lists do not have it.
pub const ERRORS: Method<String, MethodErrors> = Method::new("server.errors").idempotent();

/// Result of [`SCHEMA`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MethodSchema {
    /// Fingerprint in the Welcome; 0 where bincode's shapes are not known.
    pub fingerprint: u64,
    /// Shapes as bincode writes them, if they are known.
    pub bincode: Option<ShapeTexts>,
    /// Shapes as JSON writes them, if they are known. Most types are the same in both.
    pub json: Option<ShapeTexts>,
    /// Reason why either is not known; empty where both are.
    pub unknown: String,
}

/// Both shapes of a method, in the language of `docs/TYPES.md`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ShapeTexts {
    /// Shape of the arguments.
    pub request: String,
    /// Shape of the result.
    pub response: String,
}

impl From<&Schema> for MethodSchema {
    fn from(schema: &Schema) -> MethodSchema {
        let texts = |shapes: &Shapes| ShapeTexts {
            request: shapes.request.to_string(),
            response: shapes.response.to_string(),
        };
        let unknown = schema.bincode.as_ref().err().or(schema.json.as_ref().err());
        MethodSchema {
            fingerprint: schema.fingerprint(),
            bincode: schema.bincode.as_ref().ok().map(texts),
            json: schema.json.as_ref().ok().map(texts),
            unknown: unknown.cloned().unwrap_or_default(),
        }
    }
}

impl ShapeTexts {
    /// Parses the shapes.
    ///
    /// # Errors
    /// A text is not a shape.
    pub fn read(&self) -> Result<Shapes, Unreadable> {
        Ok(Shapes { request: self.request.parse()?, response: self.response.parse()? })
    }
}

/// Result of [`INFO`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Info {
    /// Name and version of the server's software.
    pub server: String,
    /// Protocol version.
    pub protocol: u16,
    /// Time since the start.
    pub uptime_ms: u64,
    /// `Server_Max_Concurrent_Trans`; -1 is unlimited.
    pub max_concurrent_trans: i64,
    /// Transactions admitted and not yet answered, this one included.
    pub in_flight: u64,
    /// Permits out now: transactions that run, and workers between two of them. One inside `blocking` has none.
    pub permits_out: u32,
    /// The most permits that were ever out at once.
    pub permits_peak: u32,
    /// Transactions answered since the start.
    pub answered: u64,
    /// Each port of the server.
    pub ports: Vec<PortInfo>,
    /// Open sessions: one of each connection, and those that clients opened.
    pub sessions: u64,
    /// Sessions closed because they were not used for `Server_Session_Timeout`.
    pub sessions_timed_out: u64,
    /// Sessions closed because there were more than `Server_MaxSessions`, or to make room under `Server_MaxUsers`.
    pub sessions_displaced: u64,
}

/// A port in [`Info`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PortInfo {
    /// Name from `Ports`.
    pub name: String,
    /// Address it listens on.
    pub address: String,
    /// Number of workers of its pool.
    pub workers: u32,
}
