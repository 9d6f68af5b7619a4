//! Bodies of the control frames, always bincode whatever the calls use.

use serde::{Deserialize, Serialize};

/// Body of a Hello.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// What the client calls itself, for logs; at most 1 KiB with the frame.
    pub client: String,
}

/// Body of a Welcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// What the server calls itself.
    pub server: String,
    /// Largest body of a Call, in bytes.
    pub body_bytes_max: u32,
    /// Every method that can be called, sorted by name.
    pub methods: Vec<MethodEntry>,
}

/// One row of the server's method table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MethodEntry {
    /// What goes into a Call's `code`; never 0. Good for this connection only.
    pub number: u16,
    /// `service.method`.
    pub name: String,
    /// Of its types as bincode writes them; 0 where they are not known. `docs/TYPES.md` says how it is made.
    pub fingerprint: u64,
}

/// Body of a GoAway, and the result of a Reply whose status is not Ok.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// The application's own code where the status is Application, else 0.
    pub code: u32,
    /// When a refused call may be tried again, in milliseconds; 0 says nothing about it.
    pub retry_after_ms: u32,
    /// For people.
    pub message: String,
}
