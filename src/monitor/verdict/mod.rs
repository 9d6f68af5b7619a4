//! What limits the server now, how sure that is, what to change, and what a change has brought.
//!
//! Each look gives an opinion on the last three seconds (`causes.rs`, and `turned_away.rs` for who is refused whatever
//! the load is, by the figures of `sizing.rs`, with the lines of `advice.rs`); what four of five opinions agree on is
//! the verdict (`judge.rs`). When settings change, what was measured before is compared with what is measured after
//! (`effect.rs`).
//!
//! Pure logic: snapshots, settings and connections in, words out. Names of ports and methods are the server's own,
//! addresses are typed; no other foreign text comes in.

mod advice;
mod causes;
mod clients;
mod diagnoser;
mod experiment;
mod refusals;
mod sizing;
#[cfg(test)]
mod tests;
mod words;

pub(super) use diagnoser::Diagnoser;

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
    /// `Server_MaxUsers`.
    Users,
    /// `Server_Restricted`.
    Restricted,
    /// `Server_Max_Connects_Per_Minute`.
    Connects,
    /// `Server_Session_Calls`.
    SessionCalls,
    /// `Server_Buffer_Memory_MB`.
    Buffers,
    /// Handlers wait for calls that wait for their own pool.
    Nested {
        /// Its port.
        port: String,
    },
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

/// The verdict for a console: lines, each ended.
pub fn text(verdict: &Verdict) -> String {
    let mut text = match verdict.cause {
        Cause::Nothing => format!("{}\n", verdict.headline),
        _ => format!("{} ({:.0} % sure)\n", verdict.headline, verdict.sure * 100.0),
    };
    let mut line = |words: &str| text.extend(["  ", words, "\n"]);
    verdict.because.iter().for_each(|because| line(because));
    if !verdict.lines.is_empty() {
        line("Lines for the settings file:");
        verdict.lines.iter().for_each(|setting| line(&format!("  {setting}")));
    }
    if !verdict.expected.is_empty() {
        line(&verdict.expected);
    }
    if let Some(effect) = &verdict.effect {
        line(effect);
    }
    text
}
