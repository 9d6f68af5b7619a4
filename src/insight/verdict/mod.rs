//! What limits the server now, how sure that is, and what to change.

use serde::{Deserialize, Serialize};

/// What limits a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Cause {
    /// Nothing: it does what is asked of it.
    Nothing,
    /// The processors are busy.
    Cpu,
    /// `Server_Max_Concurrent_Trans`.
    Throttle,
    /// The workers of a port.
    Pool {
        /// Its name.
        port: String,
    },
    /// One method takes most of what there is.
    Method {
        /// The port it is called at.
        port: String,
        /// Its name.
        method: String,
    },
    /// `Server_Queue_Limit`.
    QueueBound {
        /// The port whose queue it is.
        port: String,
    },
    /// One client asks for most of what there is.
    Client {
        /// Its address.
        peer: String,
    },
    /// There is no descriptor for another connection.
    Descriptors,
}

/// What limits the server, and what may be done about it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// What it is.
    #[serde(flatten)]
    pub cause: Cause,
    /// How sure that is, 0 to 1.
    pub sure: f64,
    /// One sentence.
    pub headline: String,
    /// What was measured that says so, a sentence each.
    pub because: Vec<String>,
    /// Lines to paste into the INI; none where no setting would help.
    pub lines: Vec<String>,
    /// What they should change; or why no setting would.
    pub expected: String,
    /// What a change made since has brought.
    pub effect: Option<String>,
}

impl Default for Verdict {
    fn default() -> Self {
        Verdict {
            cause: Cause::Nothing,
            sure: 1.0,
            headline: "Nothing limits the server.".to_owned(),
            because: Vec::new(),
            lines: Vec::new(),
            expected: String::new(),
            effect: None,
        }
    }
}
