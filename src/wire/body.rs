//! Bodies of the control frames, always bincode whatever the calls use.

use serde::{Deserialize, Serialize};

/// Body of a Hello.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Name of the client, for logs; at most 1 KiB with the frame.
    pub client: String,
}

/// Body of a Welcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// Name of the server.
    pub server: String,
    /// Largest body of a Call, in bytes.
    pub body_bytes_max: u32,
    /// All methods of the server, sorted by name.
    pub methods: Vec<MethodEntry>,
}

/// One row of the server's method table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MethodEntry {
    /// Number of the method in the `code` of a Call; never 0. Valid for this connection only.
    pub number: u16,
    /// `service.method`.
    pub name: String,
    /// Fingerprint of its types as bincode writes them (`docs/TYPES.md`); 0 if they are not known.
    pub fingerprint: u64,
}

/// Body of a GoAway, and the result of a Reply whose status is not Ok.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// The application's own code where the status is Application, else 0.
    pub code: u32,
    /// Time until a refused call may be tried again, in milliseconds; 0 if not known.
    pub retry_after_ms: u32,
    /// Text for people.
    pub message: String,
}
