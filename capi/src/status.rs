//! Statuses of the C functions: number, name and text. One table.
//!
//! Numbers up to 99 are the protocol's, from 100 on this library's own. They never change.

use std::ffi::{CStr, c_char};

/// Outcome of a call. A number that a program does not know is a failure.
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum boneyard_status {
    /// It is done.
    BONEYARD_OK = 0,
    /// The handler ran and said no, with its own code and message.
    BONEYARD_APPLICATION = 1,
    /// The server has no method of this name.
    BONEYARD_UNKNOWN_METHOD = 10,
    /// The arguments do not decode as the method's request type.
    BONEYARD_BAD_REQUEST = 11,
    /// The arguments are larger than the server takes.
    BONEYARD_TOO_LARGE = 12,
    /// The server speaks another version of the protocol.
    BONEYARD_UNSUPPORTED_VERSION = 13,
    /// The server says that this side breaks the protocol.
    BONEYARD_PROTOCOL_ERROR = 14,
    /// The server gave this side up as too slow.
    BONEYARD_TOO_SLOW = 15,
    /// The session is closed, or another client has attached it.
    BONEYARD_UNKNOWN_SESSION = 16,
    /// The queue of the server's port is full.
    BONEYARD_QUEUE_FULL = 20,
    /// The server is stopping.
    BONEYARD_DRAINING = 21,
    /// By what waits before it, the call would be answered after its deadline.
    BONEYARD_WOULD_BE_LATE = 22,
    /// The server's queue has been standing for too long.
    BONEYARD_OVERLOADED = 23,
    /// The session has as many calls out as it may.
    BONEYARD_SESSION_LIMIT = 24,
    /// Every worker that could run the call waits for calls like it.
    BONEYARD_NESTED_DEADLOCK = 25,
    /// The server has as many sessions as it may have.
    BONEYARD_MAX_USERS = 26,
    /// An administrator lets no new sessions in.
    BONEYARD_RESTRICTED = 27,
    /// The server has no descriptor for another connection.
    BONEYARD_NO_DESCRIPTORS = 28,
    /// The server's buffers are full.
    BONEYARD_BUFFERS_FULL = 29,
    /// The deadline passed.
    BONEYARD_DEADLINE_EXCEEDED = 30,
    /// The call was cancelled before it was started.
    BONEYARD_CANCELLED = 31,
    /// This address connects too often.
    BONEYARD_CONNECT_LIMIT = 32,
    /// The session was idle and has been closed.
    BONEYARD_SESSION_CLOSED = 33,
    /// The handler failed in a way it did not foresee.
    BONEYARD_PANICKED = 40,
    /// The result cannot be sent, or is not what the codec promises.
    BONEYARD_BAD_RESPONSE = 41,
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
    /// The server is too busy or is stopping, and the call was not started. Try later or elsewhere.
    BONEYARD_BLAME_OVERLOAD = 5,
}

use boneyard_status::*;

/// Each with its name and its text.
const TABLE: [(boneyard_status, &CStr, &CStr); 44] = [
    (BONEYARD_OK, c"BONEYARD_OK", c"it is done"),
    (
        BONEYARD_APPLICATION,
        c"BONEYARD_APPLICATION",
        c"the handler ran and said no, with its own code and message",
    ),
    (BONEYARD_UNKNOWN_METHOD, c"BONEYARD_UNKNOWN_METHOD", c"the server has no method of this name"),
    (
        BONEYARD_BAD_REQUEST,
        c"BONEYARD_BAD_REQUEST",
        c"the arguments do not decode as the method's request type",
    ),
    (BONEYARD_TOO_LARGE, c"BONEYARD_TOO_LARGE", c"the arguments are larger than the server takes"),
    (
        BONEYARD_UNSUPPORTED_VERSION,
        c"BONEYARD_UNSUPPORTED_VERSION",
        c"the server speaks another version of the protocol",
    ),
    (
        BONEYARD_PROTOCOL_ERROR,
        c"BONEYARD_PROTOCOL_ERROR",
        c"the server says that this side breaks the protocol",
    ),
    (BONEYARD_TOO_SLOW, c"BONEYARD_TOO_SLOW", c"the server gave this side up as too slow"),
    (
        BONEYARD_UNKNOWN_SESSION,
        c"BONEYARD_UNKNOWN_SESSION",
        c"the session is closed, or another client has attached it",
    ),
    (BONEYARD_QUEUE_FULL, c"BONEYARD_QUEUE_FULL", c"the queue of the server's port is full"),
    (BONEYARD_DRAINING, c"BONEYARD_DRAINING", c"the server is stopping"),
    (
        BONEYARD_WOULD_BE_LATE,
        c"BONEYARD_WOULD_BE_LATE",
        c"by what waits before it, the call would be answered after its deadline",
    ),
    (BONEYARD_OVERLOADED, c"BONEYARD_OVERLOADED", c"the server's queue has been standing for too long"),
    (BONEYARD_SESSION_LIMIT, c"BONEYARD_SESSION_LIMIT", c"the session has as many calls out as it may"),
    (
        BONEYARD_NESTED_DEADLOCK,
        c"BONEYARD_NESTED_DEADLOCK",
        c"every worker that could run the call waits for calls like it",
    ),
    (BONEYARD_MAX_USERS, c"BONEYARD_MAX_USERS", c"the server has as many sessions as it may have"),
    (BONEYARD_RESTRICTED, c"BONEYARD_RESTRICTED", c"an administrator lets no new sessions in"),
    (
        BONEYARD_NO_DESCRIPTORS,
        c"BONEYARD_NO_DESCRIPTORS",
        c"the server has no descriptor for another connection",
    ),
    (BONEYARD_BUFFERS_FULL, c"BONEYARD_BUFFERS_FULL", c"the server's buffers are full"),
    (BONEYARD_DEADLINE_EXCEEDED, c"BONEYARD_DEADLINE_EXCEEDED", c"the deadline passed"),
    (BONEYARD_CANCELLED, c"BONEYARD_CANCELLED", c"the call was cancelled before it was started"),
    (BONEYARD_CONNECT_LIMIT, c"BONEYARD_CONNECT_LIMIT", c"this address connects too often"),
    (BONEYARD_SESSION_CLOSED, c"BONEYARD_SESSION_CLOSED", c"the session was idle and has been closed"),
    (BONEYARD_PANICKED, c"BONEYARD_PANICKED", c"the handler failed in a way it did not foresee"),
    (
        BONEYARD_BAD_RESPONSE,
        c"BONEYARD_BAD_RESPONSE",
        c"the result cannot be sent, or is not what the codec promises",
    ),
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
