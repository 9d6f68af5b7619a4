//! The verdict: what limits a server, and what may be done about it. It is what several findings agree on.

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
    /// One method takes most of what there is, or its calls wait for one another.
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
    /// One client, or one connection, asks for most of what there is.
    Client {
        /// Its address; of a connection with the port.
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
    /// `Server_Client_Calls`.
    ClientCalls,
    /// The limit of a method, under `[Limits]`.
    MethodLimit {
        /// The method.
        method: String,
    },
    /// `Server_Buffer_Memory_MB`.
    Buffers,
    /// Handlers wait for calls that wait for their own pool.
    Nested {
        /// Its port.
        port: String,
    },
    /// Handlers wait for other servers, perhaps for handlers there that wait for them.
    Deadlock {
        /// Their port.
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
    /// How many of the last looks agree.
    pub agreeing: u32,
    /// How many there were, five at most.
    pub looks: u32,
    /// One sentence.
    pub headline: String,
    /// The measurements behind it, a sentence each.
    pub because: Vec<String>,
    /// Lines to paste into the INI; none where no setting would help.
    pub lines: Vec<String>,
    /// Expected effect of these lines; or why no setting would help, and what to look at next.
    pub expected: String,
    /// How many times the throughput the lines should bring, 1 where none would bring more; `null` where that is not
    /// known, or not what they are for.
    pub gain: Option<f64>,
    /// Proof that the verdict is wrong, if it holds; empty where nothing limits.
    pub unless: String,
    /// Measured effect of a change made since.
    pub effect: Option<String>,
}

impl Default for Verdict {
    fn default() -> Self {
        Verdict {
            cause: Cause::Nothing,
            agreeing: 0,
            looks: 0,
            headline: "Nothing limits the server.".to_owned(),
            because: Vec::new(),
            lines: Vec::new(),
            expected: String::new(),
            gain: None,
            unless: String::new(),
            effect: None,
        }
    }
}

impl Verdict {
    /// How many looks agree, as `5 of 5 looks`.
    pub fn agreement(&self) -> String {
        format!("{} of {} looks", self.agreeing, self.looks)
    }
}

/// Returns the verdict as the console shows it: lines, each ended.
pub(in crate::monitor) fn text(verdict: &Verdict) -> String {
    let mut text = match verdict.cause {
        Cause::Nothing => format!("{}\n", verdict.headline),
        _ => format!("{} ({})\n", verdict.headline, verdict.agreement()),
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
    if !verdict.unless.is_empty() {
        line(&format!("It is wrong if {}.", verdict.unless));
    }
    if let Some(effect) = &verdict.effect {
        line(effect);
    }
    text
}
