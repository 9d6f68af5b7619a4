//! The verdict: what limits a server, and what may be done about it. It is what several findings agree on.

use super::advice::Advice;
use serde::{Deserialize, Serialize};

/// Cause that limits a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
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
        /// The port at which it is called.
        port: String,
        /// Its name.
        method: String,
    },
    /// `Server_Queue_Limit`.
    QueueBound {
        /// The port of the queue.
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

/// Verdict on a server: the cause that limits it, and the settings that may help.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Verdict {
    /// The cause.
    #[serde(flatten)]
    pub cause: Cause,
    /// How sure that is, 0 to 1.
    pub sure: f64,
    /// One sentence.
    pub headline: String,
    /// The measurements behind it, a sentence each.
    pub because: Vec<String>,
    /// Lines to paste into the INI; none where no setting would help.
    pub lines: Vec<String>,
    /// Expected effect of these lines; or why no setting would help.
    pub expected: String,
    /// Measured effect of a change made since.
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

/// Returns the verdict as the console shows it: lines, each ended.
pub(in crate::monitor) fn text(verdict: &Verdict) -> String {
    let mut text = match verdict.cause {
        Cause::Nothing => format!("{}\n", verdict.headline),
        _ => format!("{} ({:.0} % sure)\n", verdict.headline, verdict.sure * 100.0),
    };
    let mut line = |sentence: &str| text.extend(["  ", sentence, "\n"]);
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

/// Finding of a few samples.
#[derive(Debug, Clone)]
pub(super) struct Finding {
    pub(super) cause: Cause,
    /// How far from the thresholds the figures are, 0 to 1.
    pub(super) clarity: f64,
    /// Calls wait, and for long.
    pub(super) backlog: bool,
    pub(super) headline: String,
    pub(super) because: Vec<String>,
    pub(super) advice: Advice,
}

impl Finding {
    /// Adds another finding to the reasons of this one.
    pub(super) fn besides(mut self, other: Finding) -> Finding {
        self.because.push(format!("Besides: {}", other.headline));
        self.because.extend(other.because.into_iter().next());
        self
    }
}

/// How clearly a value is beyond a threshold, if `sure` is far beyond: 0 to 1.
pub(super) fn clarity(value: f64, threshold: f64, sure: f64) -> f64 {
    ((value - threshold) / (sure - threshold)).clamp(0.0, 1.0)
}
