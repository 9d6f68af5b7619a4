//! Statuses of the C interface: number, name and text.
//!
//! Numbers up to 99 are the protocol's: `BLESS=1 cargo test --test statuses` of the root package writes them from its
//! list. Those from 100 on are this library's own. They never change.

use std::ffi::{CStr, c_char};

/// Outcome of a call. A number that a program does not know is a failure.
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum boneyard_status {
    // <statuses> written by tests/statuses.rs of the root package
    /// Success; of a call, the handler's result follows.
    BONEYARD_OK = 0,
    /// The handler ran and refused, with a code and a message of its own.
    BONEYARD_APPLICATION = 1,
    /// The handler ran, and a call that it made was refused or late; it may have done a part.
    BONEYARD_NESTED_REFUSED = 2,
    /// The server has no method of this name or number.
    BONEYARD_UNKNOWN_METHOD = 10,
    /// The arguments do not decode (bytes left over included), or the prelude or the chain of calls is
    /// malformed.
    BONEYARD_BAD_REQUEST = 11,
    /// The call is larger than the server accepts; if it was sent, a GoAway follows.
    BONEYARD_TOO_LARGE = 12,
    /// Server and client have no protocol version in common (in a GoAway).
    BONEYARD_UNSUPPORTED_VERSION = 13,
    /// The client's bytes break the protocol (in a GoAway).
    BONEYARD_PROTOCOL_ERROR = 14,
    /// The client was too slow to say Hello, to finish a frame or to read replies (in a GoAway).
    BONEYARD_TOO_SLOW = 15,
    /// The connection carries no session of this number, or none has this ticket; it may have been closed or
    /// moved.
    BONEYARD_UNKNOWN_SESSION = 16,
    /// The port's queue is full, or a caller with fewer calls in it needed the place.
    BONEYARD_QUEUE_FULL = 20,
    /// The server is stopping.
    BONEYARD_DRAINING = 21,
    /// By the forecast, the call would be answered after its deadline.
    BONEYARD_WOULD_BE_LATE = 22,
    /// Calls have waited in the port's queue for too long, for too long a time (CoDel).
    BONEYARD_OVERLOADED = 23,
    /// The session has as many unanswered calls as `Server_Session_Calls` allows.
    BONEYARD_SESSION_LIMIT = 24,
    /// Every worker that could run the call waits for calls like it; `Server_Nested_Reserve` avoids that.
    BONEYARD_NESTED_DEADLOCK = 25,
    /// The server has as many sessions as `Server_MaxUsers` allows.
    BONEYARD_MAX_USERS = 26,
    /// An administrator allows no new sessions (`Server_Restricted`).
    BONEYARD_RESTRICTED = 27,
    /// The server has no descriptor left for another connection (in a GoAway).
    BONEYARD_NO_DESCRIPTORS = 28,
    /// The server's buffers are full (`Server_Buffer_Memory_MB`).
    BONEYARD_BUFFERS_FULL = 29,
    /// The deadline passed. A server answers so only if the call was not started.
    BONEYARD_DEADLINE_EXCEEDED = 30,
    /// The caller cancelled the call before it was started.
    BONEYARD_CANCELLED = 31,
    /// The address connects more often than `Server_Max_Connects_Per_Minute` allows (in a GoAway).
    BONEYARD_CONNECT_LIMIT = 32,
    /// The session was idle and has been closed (in a GoAway, and in the replies to calls after it).
    BONEYARD_SESSION_CLOSED = 33,
    /// As many calls of the method run and wait as `[Limits]` allows.
    BONEYARD_METHOD_LIMIT = 34,
    /// The client has as many calls in progress, over all its connections, as `Server_Client_Calls` allows.
    BONEYARD_CLIENT_LIMIT = 35,
    /// The handler says that it is busy and has done nothing.
    BONEYARD_SERVICE_BUSY = 36,
    /// The handler panicked; it may have done a part.
    BONEYARD_PANICKED = 40,
    /// The handler ran; its result cannot be encoded, is too large for a frame, or is not of the method's
    /// type.
    BONEYARD_BAD_RESPONSE = 41,
    /// The handler failed; it may have done a part. The server's log has the error, which is not for callers.
    BONEYARD_INTERNAL = 42,
    // </statuses>
    /// A pointer is null or misaligned, a length too large, text is not UTF-8 or a flag unknown. Nothing was done.
    BONEYARD_INVALID_ARGUMENT = 100,
    /// The handle was freed, never was, or is of another kind. Nothing was done.
    BONEYARD_INVALID_HANDLE = 101,
    /// A million handles are in use.
    BONEYARD_TOO_MANY_HANDLES = 102,
    /// Another thread waits for this call. Nothing was done.
    BONEYARD_BUSY = 103,
    /// What is waited for is not there yet: a call is still out, and its handle as good as before; or threads still
    /// run.
    BONEYARD_NOT_YET = 104,
    /// This library has a defect and stopped what it was about.
    BONEYARD_DEFECT = 105,
    /// Something is left that has to be freed before. Nothing was done.
    BONEYARD_IN_USE = 106,
    /// The text is not `host`, `host:port`, `[IPv6]` or `[IPv6]:port`.
    BONEYARD_INVALID_ADDRESS = 110,
    /// An option is out of its range.
    BONEYARD_INVALID_OPTION = 111,
    /// The arguments cannot be sent.
    BONEYARD_UNENCODABLE = 112,
    /// The result is larger than `reply_bytes_max` and was thrown away.
    BONEYARD_REPLY_TOO_LARGE = 113,
    /// The types of the arguments or of the result are not the server's. Nothing was sent. Not seen by calls with
    /// bytes, which have no types to compare.
    BONEYARD_SCHEMA_MISMATCH = 114,
    /// There is no connection.
    BONEYARD_CONNECT = 120,
    /// The connection ended before the answer came.
    BONEYARD_DISCONNECTED = 121,
    /// The system gives no thread.
    BONEYARD_NO_THREAD = 122,
    /// The server answers with a status that this library does not know.
    BONEYARD_UNKNOWN_STATUS = 130,
    /// The server's bytes are not the protocol's.
    BONEYARD_BAD_PROTOCOL = 131,
    /// The server refuses so many calls that this one was held back.
    BONEYARD_THROTTLED = 140,
    /// An error that this library has no number for.
    BONEYARD_OTHER = 199,
}

/// Whose fault an error is.
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum boneyard_blame {
    /// There is no error.
    BONEYARD_BLAME_NOBODY = 0,
    /// This program's: the same call fails again until the program or its settings change.
    BONEYARD_BLAME_CALLER = 1,
    /// The server's: a defect there.
    BONEYARD_BLAME_SERVER = 2,
    /// Nobody's program: network, machine or time. May pass.
    BONEYARD_BLAME_ENVIRONMENT = 3,
    /// The handler ran and said no, on purpose.
    BONEYARD_BLAME_APPLICATION = 4,
    /// The server is too busy or is stopping, and the call was not started, or was given up because a call that its
    /// handler made was refused so. Try later or elsewhere.
    BONEYARD_BLAME_OVERLOAD = 5,
}

use boneyard_status::*;

/// Each with its name and its text.
const TABLE: &[(boneyard_status, &CStr, &CStr)] = &[
    // <statuses> written by tests/statuses.rs of the root package
    (BONEYARD_OK, c"BONEYARD_OK", c"success; of a call, the handler's result follows"),
    (
        BONEYARD_APPLICATION,
        c"BONEYARD_APPLICATION",
        c"the handler ran and refused, with a code and a message of its own",
    ),
    (
        BONEYARD_NESTED_REFUSED,
        c"BONEYARD_NESTED_REFUSED",
        c"the handler ran, and a call that it made was refused or late; it may have done a part",
    ),
    (BONEYARD_UNKNOWN_METHOD, c"BONEYARD_UNKNOWN_METHOD", c"the server has no method of this name or number"),
    (
        BONEYARD_BAD_REQUEST,
        c"BONEYARD_BAD_REQUEST",
        c"the arguments do not decode (bytes left over included), or the prelude or the chain of calls is malformed",
    ),
    (
        BONEYARD_TOO_LARGE,
        c"BONEYARD_TOO_LARGE",
        c"the call is larger than the server accepts; if it was sent, a GoAway follows",
    ),
    (
        BONEYARD_UNSUPPORTED_VERSION,
        c"BONEYARD_UNSUPPORTED_VERSION",
        c"server and client have no protocol version in common (in a GoAway)",
    ),
    (
        BONEYARD_PROTOCOL_ERROR,
        c"BONEYARD_PROTOCOL_ERROR",
        c"the client's bytes break the protocol (in a GoAway)",
    ),
    (
        BONEYARD_TOO_SLOW,
        c"BONEYARD_TOO_SLOW",
        c"the client was too slow to say Hello, to finish a frame or to read replies (in a GoAway)",
    ),
    (
        BONEYARD_UNKNOWN_SESSION,
        c"BONEYARD_UNKNOWN_SESSION",
        c"the connection carries no session of this number, or none has this ticket; it may have been closed or moved",
    ),
    (
        BONEYARD_QUEUE_FULL,
        c"BONEYARD_QUEUE_FULL",
        c"the port's queue is full, or a caller with fewer calls in it needed the place",
    ),
    (BONEYARD_DRAINING, c"BONEYARD_DRAINING", c"the server is stopping"),
    (
        BONEYARD_WOULD_BE_LATE,
        c"BONEYARD_WOULD_BE_LATE",
        c"by the forecast, the call would be answered after its deadline",
    ),
    (
        BONEYARD_OVERLOADED,
        c"BONEYARD_OVERLOADED",
        c"calls have waited in the port's queue for too long, for too long a time (CoDel)",
    ),
    (
        BONEYARD_SESSION_LIMIT,
        c"BONEYARD_SESSION_LIMIT",
        c"the session has as many unanswered calls as 'Server_Session_Calls' allows",
    ),
    (
        BONEYARD_NESTED_DEADLOCK,
        c"BONEYARD_NESTED_DEADLOCK",
        c"every worker that could run the call waits for calls like it; 'Server_Nested_Reserve' avoids that",
    ),
    (
        BONEYARD_MAX_USERS,
        c"BONEYARD_MAX_USERS",
        c"the server has as many sessions as 'Server_MaxUsers' allows",
    ),
    (
        BONEYARD_RESTRICTED,
        c"BONEYARD_RESTRICTED",
        c"an administrator allows no new sessions ('Server_Restricted')",
    ),
    (
        BONEYARD_NO_DESCRIPTORS,
        c"BONEYARD_NO_DESCRIPTORS",
        c"the server has no descriptor left for another connection (in a GoAway)",
    ),
    (
        BONEYARD_BUFFERS_FULL,
        c"BONEYARD_BUFFERS_FULL",
        c"the server's buffers are full ('Server_Buffer_Memory_MB')",
    ),
    (
        BONEYARD_DEADLINE_EXCEEDED,
        c"BONEYARD_DEADLINE_EXCEEDED",
        c"the deadline passed. A server answers so only if the call was not started",
    ),
    (BONEYARD_CANCELLED, c"BONEYARD_CANCELLED", c"the caller cancelled the call before it was started"),
    (
        BONEYARD_CONNECT_LIMIT,
        c"BONEYARD_CONNECT_LIMIT",
        c"the address connects more often than 'Server_Max_Connects_Per_Minute' allows (in a GoAway)",
    ),
    (
        BONEYARD_SESSION_CLOSED,
        c"BONEYARD_SESSION_CLOSED",
        c"the session was idle and has been closed (in a GoAway, and in the replies to calls after it)",
    ),
    (
        BONEYARD_METHOD_LIMIT,
        c"BONEYARD_METHOD_LIMIT",
        c"as many calls of the method run and wait as '[Limits]' allows",
    ),
    (
        BONEYARD_CLIENT_LIMIT,
        c"BONEYARD_CLIENT_LIMIT",
        c"the client has as many calls in progress, over all its connections, as 'Server_Client_Calls' allows",
    ),
    (
        BONEYARD_SERVICE_BUSY,
        c"BONEYARD_SERVICE_BUSY",
        c"the handler says that it is busy and has done nothing",
    ),
    (BONEYARD_PANICKED, c"BONEYARD_PANICKED", c"the handler panicked; it may have done a part"),
    (
        BONEYARD_BAD_RESPONSE,
        c"BONEYARD_BAD_RESPONSE",
        c"the handler ran; its result cannot be encoded, is too large for a frame, or is not of the method's type",
    ),
    (
        BONEYARD_INTERNAL,
        c"BONEYARD_INTERNAL",
        c"the handler failed; it may have done a part. The server's log has the error, which is not for callers",
    ),
    // </statuses>
    (
        BONEYARD_INVALID_ARGUMENT,
        c"BONEYARD_INVALID_ARGUMENT",
        c"a pointer is null or misaligned, a length too large, text is not UTF-8 or a flag unknown",
    ),
    (
        BONEYARD_INVALID_HANDLE,
        c"BONEYARD_INVALID_HANDLE",
        c"the handle was freed, never was, or is of another kind",
    ),
    (BONEYARD_TOO_MANY_HANDLES, c"BONEYARD_TOO_MANY_HANDLES", c"a million handles are in use"),
    (BONEYARD_BUSY, c"BONEYARD_BUSY", c"another thread waits for this call"),
    (BONEYARD_NOT_YET, c"BONEYARD_NOT_YET", c"what is waited for is not there yet"),
    (BONEYARD_DEFECT, c"BONEYARD_DEFECT", c"this library has a defect and stopped what it was about"),
    (BONEYARD_IN_USE, c"BONEYARD_IN_USE", c"something is left that has to be freed before"),
    (
        BONEYARD_INVALID_ADDRESS,
        c"BONEYARD_INVALID_ADDRESS",
        c"the text is not 'host', 'host:port', '[IPv6]' or '[IPv6]:port'",
    ),
    (BONEYARD_INVALID_OPTION, c"BONEYARD_INVALID_OPTION", c"an option is out of its range"),
    (BONEYARD_UNENCODABLE, c"BONEYARD_UNENCODABLE", c"the arguments cannot be sent"),
    (
        BONEYARD_REPLY_TOO_LARGE,
        c"BONEYARD_REPLY_TOO_LARGE",
        c"the result is larger than 'reply_bytes_max' and was thrown away",
    ),
    (
        BONEYARD_SCHEMA_MISMATCH,
        c"BONEYARD_SCHEMA_MISMATCH",
        c"the types of the arguments or of the result are not the server's",
    ),
    (BONEYARD_CONNECT, c"BONEYARD_CONNECT", c"there is no connection"),
    (BONEYARD_DISCONNECTED, c"BONEYARD_DISCONNECTED", c"the connection ended before the answer came"),
    (BONEYARD_NO_THREAD, c"BONEYARD_NO_THREAD", c"the system gives no thread"),
    (
        BONEYARD_UNKNOWN_STATUS,
        c"BONEYARD_UNKNOWN_STATUS",
        c"the server answers with a status that this library does not know",
    ),
    (BONEYARD_BAD_PROTOCOL, c"BONEYARD_BAD_PROTOCOL", c"the server's bytes are not the protocol's"),
    (
        BONEYARD_THROTTLED,
        c"BONEYARD_THROTTLED",
        c"the server refuses so many calls that this one was held back",
    ),
    (BONEYARD_OTHER, c"BONEYARD_OTHER", c"an error that this library has no number for"),
];

impl boneyard_status {
    /// The status of a number; `None` for one that there is not.
    pub fn of(number: i32) -> Option<boneyard_status> {
        row(number).map(|(status, ..)| *status)
    }
}

fn row(number: i32) -> Option<&'static (boneyard_status, &'static CStr, &'static CStr)> {
    TABLE.iter().find(|(status, ..)| *status as i32 == number)
}

/// Name of a status as in this header, "BONEYARD_QUEUE_FULL", as text that lives for ever; "" for an unknown number.
/// Any thread; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn boneyard_status_name(status: i32) -> *const c_char {
    row(status).map_or(c"", |(_, name, _)| name).as_ptr()
}

/// Meaning of a status, as text that lives for ever; "" for an unknown number. `boneyard_last_error` has the details.
/// Any thread; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn boneyard_status_text(status: i32) -> *const c_char {
    row(status).map_or(c"", |(.., text)| text).as_ptr()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rpc::service::Status;

    #[test]
    fn every_status_of_the_protocol_has_its_number_here() {
        for status in Status::ALL {
            let ours = boneyard_status::of(status.code().into());
            let ours = ours.unwrap_or_else(|| panic!("{status:?} has no number"));
            let words = format!("{ours:?}").replace("BONEYARD", "").replace('_', "").to_lowercase();
            assert_eq!(words, format!("{status:?}").to_lowercase());
        }
    }

    #[test]
    fn the_table_has_each_status_once_under_its_own_name() {
        for (index, (status, name, text)) in TABLE.iter().enumerate() {
            assert_eq!(name.to_str(), Ok(format!("{status:?}").as_str()));
            assert_eq!(boneyard_status::of(*status as i32), Some(*status));
            assert!(!text.is_empty());
            assert!(TABLE[..index].iter().all(|(before, ..)| (*before as i32) < *status as i32));
        }
        assert_eq!(boneyard_status::of(-1), None);
    }
}
