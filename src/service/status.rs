//! The statuses: the one list of what a server answers. Everything else that lists them comes from it.
//!
//! A status that is added is one row of `statuses!`. `BLESS=1 cargo test --test statuses` then writes the table of
//! docs/PROTOCOL.md and the lists of the C and Python libraries, and `BLESS=1 cargo test --test header` in `capi/` the
//! C header.

pub use crate::wire::body::Fault;
use Blame::{Application, Caller, Environment, Overload, Server};
use Repeat::{ByCaller, ByClient, No};

/// The party whose fault an error is, and so what to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Blame {
    /// The calling program: the same call fails again until the program or its settings change.
    Caller,
    /// The server: a defect there.
    Server,
    /// No program: network, machine or time. It may pass.
    Environment,
    /// The handler ran and refused, on purpose.
    Application,
    /// The server is too busy or is stopping, and the call was not started, or was given up because a call that its
    /// handler made was refused so. Try later or elsewhere.
    Overload,
}

/// Whether a call with a status may be made again. Each condition completes the words "may be repeated".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Repeat {
    /// No: the handler may have run, so that a second call may do a thing twice.
    No,
    /// Yes, since the handler did not run, or did nothing. The client library leaves it to its caller: the same call at
    /// once is likely to fail again.
    ByCaller(&'static str),
    /// Yes, since the handler did not run, or did nothing. The client library repeats the call by itself.
    ByClient(&'static str),
}

/// The columns of a row that the enum itself does not have.
struct Row {
    blame: Option<Blame>,
    repeat: Repeat,
    text: &'static str,
    meaning: &'static str,
}

/// Declares the statuses. A row is the meaning, which is the documentation too; the name and the number; whose fault
/// it is; whether the call may be repeated; and the text of an error message.
macro_rules! statuses {
    ($($(#[doc = $meaning:literal])+ $name:ident = $code:literal, $blame:expr, $repeat:expr, $text:literal;)+) => {
        /// Answer to a call. The numbers are the protocol's and never change.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        #[repr(u16)]
        pub enum Status {
            $($(#[doc = $meaning])+ $name = $code,)+
        }

        impl Status {
            /// Every status, in the order of its number.
            pub const ALL: [Status; [$($code),+].len()] = [$(Status::$name),+];

            const ROWS: [Row; Status::ALL.len()] =
                [$(Row { blame: $blame, repeat: $repeat, text: $text, meaning: concat!($($meaning),+) }),+];
        }
    };
}

// From 10 to 39 the handler did not run, or says that it did nothing: clients rely on that for numbers that they do not
// know.
statuses! {
    /// Success; of a call, the handler's result follows.
    Ok = 0, None, No, "done";
    /// The handler ran and refused, with a code and a message of its own.
    Application = 1, Some(Application), No, "the service refused";
    /// The handler ran, and a call that it made was refused or late; it may have done a part.
    NestedRefused = 2, Some(Overload), No, "a call that the handler made was refused";

    /// The server has no method of this name or number.
    UnknownMethod = 10, Some(Caller), ByCaller("once it asks for one that exists"), "no such method";
    /// The arguments do not decode (bytes left over included), or the prelude or the chain of calls is malformed.
    BadRequest = 11, Some(Caller), ByCaller("once corrected"), "the arguments are not what the method takes";
    /// The call is larger than the server accepts; if it was sent, a GoAway follows.
    TooLarge = 12, Some(Caller), ByCaller("on a new connection and smaller"),
        "the call is larger than the server takes";
    /// Server and client have no protocol version in common (in a GoAway).
    UnsupportedVersion = 13, Some(Caller), ByCaller("in a version that the server speaks"),
        "the server speaks another version of the protocol";
    /// The client's bytes break the protocol (in a GoAway).
    ProtocolError = 14, Some(Caller), ByCaller("once corrected"), "the bytes are not the protocol's";
    /// The client was too slow to say Hello, to finish a frame or to read replies (in a GoAway).
    TooSlow = 15, Some(Caller), ByCaller("faster"), "the peer was too slow";
    /// The connection carries no session of this number, or none has this ticket; it may have been closed or moved.
    UnknownSession = 16, Some(Caller), ByCaller("in a session that it has"),
        "no such session on this connection; it may have been closed";

    /// The port's queue is full, or a caller with fewer calls in it needed the place.
    QueueFull = 20, Some(Overload), ByClient("after a while"), "the port's queue is full";
    /// The server is stopping.
    Draining = 21, Some(Overload), ByClient("elsewhere or after its start"), "the server is stopping";
    /// By the forecast, the call would be answered after its deadline.
    WouldBeLate = 22, Some(Overload), ByClient("with more time"), "the queue is too long for the deadline";
    /// Calls have waited in the port's queue for too long, for too long a time (CoDel).
    Overloaded = 23, Some(Overload), ByClient("after a while"),
        "the server is overloaded: calls have waited too long for too long";
    /// The session has as many unanswered calls as `Server_Session_Calls` allows.
    SessionLimit = 24, Some(Overload), ByClient("once one is answered"),
        "the session has too many calls out (Server_Session_Calls)";
    /// Every worker that could run the call waits for calls like it; `Server_Nested_Reserve` avoids that.
    NestedDeadlock = 25, Some(Overload), ByCaller("but it would wait again"),
        "every worker that could run the call waits for calls like it";
    /// The server has as many sessions as `Server_MaxUsers` allows.
    MaxUsers = 26, Some(Overload), ByClient("after a while or elsewhere"),
        "the server has as many users as it may have (Server_MaxUsers)";
    /// An administrator allows no new sessions (`Server_Restricted`).
    Restricted = 27, Some(Overload), ByCaller("elsewhere"),
        "access to the server has been restricted by the administrator (Server_Restricted)";
    /// The server has no descriptor left for another connection (in a GoAway).
    NoDescriptors = 28, Some(Overload), ByClient("after a while"),
        "the server has as many connections as its descriptors allow";
    /// The server's buffers are full (`Server_Buffer_Memory_MB`).
    BuffersFull = 29, Some(Overload), ByClient("after a while"),
        "the server's buffers are full (Server_Buffer_Memory_MB)";

    /// The deadline passed. A server answers so only if the call was not started.
    DeadlineExceeded = 30, Some(Environment), ByCaller("with more time"),
        "the deadline passed before the call was started";
    /// The caller cancelled the call before it was started.
    Cancelled = 31, Some(Caller), ByCaller("if its result is wanted after all"), "cancelled before it was started";
    /// The address connects more often than `Server_Max_Connects_Per_Minute` allows (in a GoAway).
    ConnectLimit = 32, Some(Overload), ByCaller("after a while"),
        "this address connects too often (Server_Max_Connects_Per_Minute)";
    /// The session was idle and has been closed (in a GoAway, and in the replies to calls after it).
    SessionClosed = 33, Some(Overload), ByClient("on a new connection"), "the session was idle and has been closed";
    /// As many calls of the method run and wait as `[Limits]` allows.
    MethodLimit = 34, Some(Overload), ByClient("after a while"),
        "as many calls of the method run and wait as may ([Limits])";
    /// The client has as many calls in progress, over all its connections, as `Server_Client_Calls` allows.
    ClientLimit = 35, Some(Overload), ByClient("once one is answered"),
        "the client has as many calls in progress as it may (Server_Client_Calls)";
    /// The handler says that it is busy and has done nothing.
    ServiceBusy = 36, Some(Overload), ByClient("after a while"), "the service is busy";

    /// The handler panicked; it may have done a part.
    Panicked = 40, Some(Server), No, "the handler panicked";
    /// The handler ran; its result cannot be encoded, is too large for a frame, or is not of the method's type.
    BadResponse = 41, Some(Server), No, "the result cannot be sent";
    /// The handler failed; it may have done a part. The server's log has the error, which is not for callers.
    Internal = 42, Some(Server), No, "the handler failed";
}

impl Status {
    /// Returns the number on the wire.
    pub const fn code(self) -> u16 {
        self as u16
    }

    /// Returns the status of a number; `None` for one that this build does not know.
    pub fn from_code(code: u16) -> Option<Status> {
        Status::ALL.into_iter().find(|status| status.code() == code)
    }

    /// Returns its place in [`Status::ALL`], for tables of counters.
    pub fn index(self) -> usize {
        Status::ALL.iter().position(|status| *status == self).expect("ALL and the enum come from one list")
    }

    /// Returns whose fault it is; `None` for [`Status::Ok`].
    pub fn blame(self) -> Option<Blame> {
        self.row().blame
    }

    /// Returns whether the call may be made again.
    pub fn repeat(self) -> Repeat {
        self.row().repeat
    }

    /// Returns whether it is certain that the handler did not run, or says that it did nothing, so that the call may be
    /// made again without doing a thing twice.
    pub fn never_started(self) -> bool {
        self.repeat() != Repeat::No
    }

    /// Returns the text of an error message.
    pub fn text(self) -> &'static str {
        self.row().text
    }

    /// Returns the sentence that documents the status, with its full stop.
    pub fn meaning(self) -> &'static str {
        self.row().meaning.trim_start()
    }

    fn row(self) -> &'static Row {
        &Status::ROWS[self.index()]
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self:?} ({})", self.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_unique_and_ascending_and_convert_back() {
        assert!(Status::ALL.windows(2).all(|pair| pair[0].code() < pair[1].code()));
        for (index, status) in Status::ALL.into_iter().enumerate() {
            assert_eq!(Status::from_code(status.code()), Some(status));
            assert_eq!(status.index(), index);
        }
        let known = (0..=u16::MAX).filter(|code| Status::from_code(*code).is_some()).count();
        assert_eq!(known, Status::ALL.len());
    }

    #[test]
    fn a_number_says_whether_the_call_was_started_and_who_is_to_blame() {
        for status in Status::ALL {
            let code = status.code();
            assert_eq!(status.never_started(), (10..40).contains(&code), "{status:?}");
            assert_eq!(status.blame().is_none(), status == Status::Ok);
            match code {
                10..20 => assert_eq!(status.blame(), Some(Caller), "{status:?}"),
                20..30 => assert_eq!(status.blame(), Some(Overload), "{status:?}"),
                40.. => assert_eq!(status.blame(), Some(Server), "{status:?}"),
                _ => {}
            }
            // The client repeats by itself only errors that may pass by themselves.
            assert!(
                !matches!(status.repeat(), ByClient(_)) || status.blame() == Some(Overload),
                "{status:?}"
            );
            assert!(status.meaning().ends_with('.') && !status.text().ends_with('.'), "{status:?}");
        }
    }
}
