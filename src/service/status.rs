//! What a caller may be told. One table: number, name, whose fault it is.

pub use crate::wire::body::Fault;

/// Answer to a call. The numbers are the protocol's and never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u16)]
pub enum Status {
    /// The handler ran and here is its result.
    Ok = 0,
    /// The handler ran and said no, with its own code and message.
    Application = 1,

    /// Caller's fault: no such method.
    UnknownMethod = 10,
    /// Caller's fault: the arguments do not decode as the method's request type, or bytes are left over.
    BadRequest = 11,
    /// Caller's fault: the frame is larger than the server takes.
    TooLarge = 12,
    /// Caller's fault: no common protocol version.
    UnsupportedVersion = 13,
    /// Caller's fault: the bytes are not the protocol.
    ProtocolError = 14,
    /// Caller's fault: too slow to say Hello, to finish a frame or to read its replies.
    TooSlow = 15,
    /// Refused before it was started: the connection carries no such session; it may have been closed.
    UnknownSession = 16,

    /// Refused before it was started: the port's queue is full.
    QueueFull = 20,
    /// Refused before it was started: the server is stopping.
    Draining = 21,
    /// Refused before it was started: by what waits before it, it would be answered after its deadline.
    WouldBeLate = 22,
    /// Refused before it was started: the queue has been standing for too long (CoDel).
    Overloaded = 23,
    /// Refused before it was started: the session has as many calls out as it may.
    SessionLimit = 24,
    /// Refused before it was started: every worker that could run it waits for calls like it.
    NestedDeadlock = 25,
    /// Refused: the server has as many sessions as it may have (`Server_MaxUsers`).
    MaxUsers = 26,
    /// Refused: an administrator lets no new sessions in (`Server_Restricted`).
    Restricted = 27,
    /// Refused: the server has no descriptor left for another connection.
    NoDescriptors = 28,
    /// Refused before it was started: the server's buffers are full (`Server_Buffer_Memory_MB`).
    BuffersFull = 29,

    /// Not started: the deadline had passed.
    DeadlineExceeded = 30,
    /// Not started: the caller had cancelled it.
    Cancelled = 31,
    /// Refused: the address connects too often (`Server_Max_Connects_Per_Minute`).
    ConnectLimit = 32,
    /// Closed by the server: idle for too long, or idle while another needed its place.
    SessionClosed = 33,

    /// Server's fault: the handler panicked; the worker goes on.
    Panicked = 40,
    /// Server's fault: the result could not be encoded, or is larger than a frame may be.
    BadResponse = 41,
}

impl Status {
    /// Every status, in the order of its number.
    pub const ALL: [Status; 25] = [
        Status::Ok,
        Status::Application,
        Status::UnknownMethod,
        Status::BadRequest,
        Status::TooLarge,
        Status::UnsupportedVersion,
        Status::ProtocolError,
        Status::TooSlow,
        Status::UnknownSession,
        Status::QueueFull,
        Status::Draining,
        Status::WouldBeLate,
        Status::Overloaded,
        Status::SessionLimit,
        Status::NestedDeadlock,
        Status::MaxUsers,
        Status::Restricted,
        Status::NoDescriptors,
        Status::BuffersFull,
        Status::DeadlineExceeded,
        Status::Cancelled,
        Status::ConnectLimit,
        Status::SessionClosed,
        Status::Panicked,
        Status::BadResponse,
    ];

    /// The number on the wire.
    pub const fn code(self) -> u16 {
        self as u16
    }

    /// The status of a number; `None` for one that this build does not know.
    pub fn from_code(code: u16) -> Option<Status> {
        Status::ALL.into_iter().find(|status| status.code() == code)
    }

    /// Its place in [`Status::ALL`], for tables of counters.
    pub fn index(self) -> usize {
        Status::ALL
            .iter()
            .position(|status| *status == self)
            .expect("ALL lists every status; a test holds it to that")
    }

    /// Is it certain that the handler did not run? Then the call may be made again without doing a thing twice.
    pub fn never_started(self) -> bool {
        (10..40).contains(&self.code())
    }

    /// A sentence for people.
    pub fn text(self) -> &'static str {
        match self {
            Status::Ok => "done",
            Status::Application => "the service refused",
            Status::UnknownMethod => "no such method",
            Status::BadRequest => "the arguments are not what the method takes",
            Status::TooLarge => "the call is larger than the server takes",
            Status::UnsupportedVersion => "the server speaks another version of the protocol",
            Status::ProtocolError => "the bytes are not the protocol's",
            Status::TooSlow => "the peer was too slow",
            Status::QueueFull => "the port's queue is full",
            Status::Draining => "the server is stopping",
            Status::WouldBeLate => "the queue is too long for the deadline",
            Status::Overloaded => "the server is overloaded: calls have waited too long for too long",
            Status::SessionLimit => "the session has too many calls out (Server_Session_Calls)",
            Status::NestedDeadlock => "every worker that could run the call waits for calls like it",
            Status::UnknownSession => "no such session on this connection; it may have been closed",
            Status::MaxUsers => "the server has as many users as it may have (Server_MaxUsers)",
            Status::Restricted => {
                "access to the server has been restricted by the administrator (Server_Restricted)"
            }
            Status::NoDescriptors => "the server has as many connections as its descriptors allow",
            Status::DeadlineExceeded => "the deadline passed before the call was started",
            Status::Cancelled => "cancelled before it was started",
            Status::ConnectLimit => "this address connects too often (Server_Max_Connects_Per_Minute)",
            Status::SessionClosed => "the session was idle and has been closed",
            Status::BuffersFull => "the server's buffers are full (Server_Buffer_Memory_MB)",
            Status::Panicked => "the handler panicked",
            Status::BadResponse => "the result cannot be sent",
        }
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
    fn numbers_are_unique_ascending_and_come_back() {
        assert!(Status::ALL.windows(2).all(|pair| pair[0].code() < pair[1].code()));
        for (index, status) in Status::ALL.into_iter().enumerate() {
            assert_eq!(Status::from_code(status.code()), Some(status));
            assert_eq!(status.index(), index);
        }
        let known = (0..=u16::MAX).filter(|code| Status::from_code(*code).is_some()).count();
        assert_eq!(known, Status::ALL.len());
    }
}
