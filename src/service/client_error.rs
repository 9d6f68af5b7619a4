//! Errors of calls: whose fault each is, whether the call may have run, when to try again.
//!
//! Here and not in the client library, because a handler's own call may be refused, which its caller is told. Knows
//! statuses and wire errors; knows no sockets and no calls. Every status of a server becomes exactly one
//! variant, in [`ClientError::refused`].
//!
//! Invariant: [`ClientError::never_started`] is true only where it is certain that no handler saw the call, or its
//! handler says that it did nothing, so that it may be repeated without doing a thing twice. In doubt it is false.

use super::status::{Blame, Fault, Status};
use super::suggest::suggestion;
use crate::wire::WireError;
use std::io;
use std::time::Duration;
use thiserror::Error;

/// End of the connection whose clock found that a deadline had passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeadlineSource {
    /// This client.
    Client,
    /// The server.
    Server,
}

/// Why a call has no result. A standard error that clones and compares: all callers that share a failure get the same.
///
/// ```
/// use boneyard::{Blame, Client, ClientError};
///
/// let error = Client::new("no port:").unwrap_err();
/// assert!(matches!(error, ClientError::InvalidAddress { .. }));
/// assert_eq!(error.blame(), Blame::Caller); // a mistake of this program
/// assert!(error.never_started()); // no handler has seen the call
/// assert_eq!(error.retry_after(), None); // the server has asked for no wait
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The text is not `host`, `host:port`, `[IPv6]` or `[IPv6]:port`, or the value is no address.
    #[error("{address:?} is not an address: {reason}")]
    InvalidAddress {
        /// The text, or the value as text.
        address: String,
        /// The reason.
        reason: &'static str,
    },
    /// A value of [`crate::client::ClientOptions`] is out of its range.
    #[error("invalid option: {0}")]
    InvalidOption(&'static str),
    /// The server has no method of this name.
    #[error("the server has no method {name:?}{}", suggestion(nearest.as_deref()))]
    UnknownMethod {
        /// The name that was called.
        name: String,
        /// The method of the server with the most similar name, if one is similar.
        nearest: Option<String>,
    },
    /// This program's types of the method are not the server's, and bincode would misread them. Nothing was sent.
    #[error("the types of {method} are not the server's: {difference}")]
    SchemaMismatch {
        /// The method.
        method: String,
        /// The first difference.
        difference: String,
    },
    /// The arguments do not decode as the method's request type.
    #[error("the server cannot decode the arguments: {0}")]
    BadRequest(String),
    /// The arguments are larger than the server takes. Nothing was sent.
    #[error("a call of {bytes} bytes is over the server's limit of {limit}")]
    TooLarge {
        /// Size of the call's body.
        bytes: u64,
        /// The server's limit.
        limit: u64,
    },
    /// The arguments' serializer failed. Nothing was sent.
    #[error("cannot encode the arguments: {0}")]
    Unencodable(String),
    /// The result is larger than [`crate::client::ClientOptions::reply_bytes_max`] and was dropped.
    #[error("a reply of {bytes} bytes is over the client's limit of {limit}")]
    ReplyTooLarge {
        /// Size of the reply's body.
        bytes: u64,
        /// The option's value.
        limit: u64,
    },
    /// The server says that this client violates the protocol: `UnsupportedVersion`, `ProtocolError`, `TooLarge` or
    /// `TooSlow`.
    #[error("the server rejects this client: {status:?}: {message}")]
    Rejected {
        /// The status it gives.
        status: Status,
        /// The server's message.
        message: String,
    },

    /// There is no connection: the network or the system prevents it, or the peer is not a Boneyard server. Nothing
    /// was sent.
    #[error("cannot connect to {address}: {message}")]
    Connect {
        /// Address of the server.
        address: String,
        /// Kind of the I/O error.
        kind: io::ErrorKind,
        /// Its message.
        message: String,
    },
    /// The connection was closed before the reply came. The next call makes a new one.
    #[error("disconnected ({reason}); the call {}", if *may_have_run { "may have run" } else { "was not sent" })]
    Disconnected {
        /// False when the server cannot have received the call: it was never written.
        may_have_run: bool,
        /// Why the connection was closed.
        reason: String,
    },
    /// The deadline passed.
    #[error("deadline exceeded, detected by the {}; the call {}", source_word(*detected_by),
        if *may_have_run { "may have run" } else { "was not started" })]
    DeadlineExceeded {
        /// The server detects it before it starts a call, the client at any time.
        detected_by: DeadlineSource,
        /// False when the call was not sent, or the server says that it was not started.
        may_have_run: bool,
    },
    /// The system could not start a thread for a new connection. Nothing was sent.
    #[error("cannot start a thread of the client: {0}")]
    NoThread(io::ErrorKind),

    /// The handler panicked.
    #[error("the handler panicked: {0}")]
    Panicked(String),
    /// The handler failed, by an error that is not for its callers; the server's log has it.
    #[error("the handler failed: {0}")]
    Internal(String),
    /// The result could not be sent, or is not of the method's type.
    #[error("bad response: {0}")]
    BadResponse(String),
    /// The reply has a status that this build does not know.
    #[error("unknown status {0} in the reply")]
    UnknownStatus(u16),
    /// The server violates the protocol. The connection was closed.
    #[error("protocol error of the server: {0}")]
    Protocol(#[from] WireError),

    /// The queue of the server's port is full. The call was not started.
    #[error("the server's queue is full{}", retry(*retry_after))]
    QueueFull {
        /// Time after which the server suggests to try again.
        retry_after: Option<Duration>,
    },
    /// The server is stopping. The call was not started.
    #[error("the server is stopping{}", retry(*retry_after))]
    Draining {
        /// Time after which the server suggests to try again.
        retry_after: Option<Duration>,
    },
    /// The queue is so long that the call would be answered after its deadline. It was not started.
    #[error("the server's queue is too long for the deadline{}", retry(*retry_after))]
    WouldBeLate {
        /// Time after which the server suggests to try again.
        retry_after: Option<Duration>,
    },
    /// The queue of the server's port has been too long for too long (CoDel). The call was not started.
    #[error("the server is overloaded{}", retry(*retry_after))]
    Overloaded {
        /// Time after which the server suggests to try again.
        retry_after: Option<Duration>,
    },
    /// This session has as many calls in flight as the server allows one. The call was not started.
    #[error("too many calls of this session in flight{}", retry(*retry_after))]
    SessionLimit {
        /// Time after which the server suggests to try again.
        retry_after: Option<Duration>,
    },
    /// Every worker that could run the call waits for calls like it; a repetition would only wait again. The call was
    /// not started.
    #[error("nested deadlock: {0}")]
    NestedDeadlock(String),
    /// The handler ran, and a call that it made was refused. It may have done a part, so that only a call of an
    /// idempotent method is repeated.
    #[error("a call that the handler made was refused: {message}{}", retry(*retry_after))]
    NestedRefused {
        /// The refusal's own status; [`Status::NestedRefused`] if this build does not know it.
        status: Status,
        /// Its message.
        message: String,
        /// Time after which the refusing server suggests to try again.
        retry_after: Option<Duration>,
    },

    /// The session is closed, or not attached to the connection in use. The call was not started.
    #[error("no such session; it may have been closed")]
    UnknownSession,
    /// The server accepts no new session or connection now, has closed this one to make room, or has no memory or
    /// place left for the call: `MaxUsers`, `Restricted`, `NoDescriptors`, `ConnectLimit`, `SessionClosed`,
    /// `BuffersFull`, `MethodLimit` or `ClientLimit`; or the handler says that it is busy: `ServiceBusy`. The call was
    /// not started, or its handler says that it did nothing.
    #[error("{message}{}", retry(*retry_after))]
    Unavailable {
        /// The one of them that it is.
        status: Status,
        /// The server's message.
        message: String,
        /// Time after which the server suggests to try again.
        retry_after: Option<Duration>,
    },

    /// Nothing was sent: the client throttled this call because the server refused so many before it.
    ///
    /// The client counts, over the last two minutes and all its clones, the calls that the server accepted, those that
    /// it refused for load, and those throttled. Where the server accepted fewer than half, further calls are
    /// throttled at random, so that it is sent about twice what it accepts, and always a tenth of all, by which the
    /// client learns that it accepts more again. Fewer than 20 calls say too little, and refusals of a server that
    /// stops say nothing about its load. [`crate::client::ClientOptions::throttle`] turns this off.
    #[error("call not sent: client-side throttling after too many refusals")]
    Throttled,

    /// The handler refused, and said so. [`Method::error_of`](crate::Method::error_of) has the listed error.
    #[error("{message} (code {code})")]
    Application {
        /// The application's number; 0 when it has none.
        code: u32,
        /// The application's words.
        message: String,
    },
    /// The call was cancelled before it was started.
    #[error("cancelled before it was started")]
    Cancelled,
}

impl ClientError {
    /// Returns the status of the protocol that says the same; `None` for what the client alone can find. An error that
    /// the client found before it asked the server has a status too, if the server would have answered with one.
    pub fn status(&self) -> Option<Status> {
        match self.kind() {
            Kind::Of(status) => Some(status),
            Kind::OfClient { .. } => None,
        }
    }

    /// Returns whose fault it is.
    pub fn blame(&self) -> Blame {
        match self.kind() {
            Kind::Of(status) => status.blame().unwrap_or(Blame::Server),
            Kind::OfClient { blame, .. } => blame,
        }
    }

    /// Returns whether it is certain that no handler saw the call, or its handler says that it did nothing, so that it
    /// may be repeated without doing a thing twice.
    pub fn never_started(&self) -> bool {
        match self.kind() {
            Kind::Of(status) => status.never_started(),
            Kind::OfClient { never_started, .. } => never_started,
        }
    }

    fn kind(&self) -> Kind {
        let own = |blame, never_started| Kind::OfClient { blame, never_started };
        match self {
            ClientError::Application { .. } => Kind::Of(Status::Application),
            ClientError::UnknownMethod { .. } => Kind::Of(Status::UnknownMethod),
            ClientError::BadRequest(_) => Kind::Of(Status::BadRequest),
            ClientError::TooLarge { .. } => Kind::Of(Status::TooLarge),
            ClientError::UnknownSession => Kind::Of(Status::UnknownSession),
            ClientError::QueueFull { .. } => Kind::Of(Status::QueueFull),
            ClientError::Draining { .. } => Kind::Of(Status::Draining),
            ClientError::WouldBeLate { .. } => Kind::Of(Status::WouldBeLate),
            ClientError::Overloaded { .. } => Kind::Of(Status::Overloaded),
            ClientError::SessionLimit { .. } => Kind::Of(Status::SessionLimit),
            ClientError::NestedDeadlock(_) => Kind::Of(Status::NestedDeadlock),
            ClientError::NestedRefused { .. } => Kind::Of(Status::NestedRefused),
            ClientError::DeadlineExceeded { may_have_run: false, .. } => Kind::Of(Status::DeadlineExceeded),
            ClientError::Cancelled => Kind::Of(Status::Cancelled),
            ClientError::Panicked(_) => Kind::Of(Status::Panicked),
            ClientError::Internal(_) => Kind::Of(Status::Internal),
            ClientError::BadResponse(_) => Kind::Of(Status::BadResponse),
            ClientError::Rejected { status, .. } | ClientError::Unavailable { status, .. } => {
                Kind::Of(*status)
            }
            ClientError::InvalidAddress { .. }
            | ClientError::InvalidOption(_)
            | ClientError::SchemaMismatch { .. }
            | ClientError::Unencodable(_) => own(Blame::Caller, true),
            ClientError::ReplyTooLarge { .. } => own(Blame::Caller, false),
            ClientError::Connect { .. } | ClientError::NoThread(_) => own(Blame::Environment, true),
            ClientError::Disconnected { may_have_run, .. } => own(Blame::Environment, !may_have_run),
            ClientError::DeadlineExceeded { may_have_run: true, .. } => own(Blame::Environment, false),
            ClientError::UnknownStatus(_) | ClientError::Protocol(_) => own(Blame::Server, false),
            ClientError::Throttled => own(Blame::Overload, true),
        }
    }

    /// How long the server asks to wait before the call is repeated, if it does.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            ClientError::QueueFull { retry_after }
            | ClientError::Draining { retry_after }
            | ClientError::WouldBeLate { retry_after }
            | ClientError::Overloaded { retry_after }
            | ClientError::SessionLimit { retry_after }
            | ClientError::NestedRefused { retry_after, .. }
            | ClientError::Unavailable { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// The error for a refusal with `status` and `fault`. `name` is the method's, where a call was refused.
    pub(crate) fn refused(status: Status, fault: Fault, name: &str) -> ClientError {
        let Fault { code, retry_after_ms, message } = fault;
        let retry_after = (retry_after_ms > 0).then(|| Duration::from_millis(retry_after_ms.into()));
        match status {
            Status::Ok => ClientError::BadResponse("a refusal with the status Ok".to_owned()),
            Status::Application => ClientError::Application { code, message },
            Status::NestedRefused => match u16::try_from(code).ok().and_then(Status::from_code) {
                Some(Status::DeadlineExceeded) => {
                    ClientError::DeadlineExceeded { detected_by: DeadlineSource::Server, may_have_run: true }
                }
                refused => {
                    let status = refused.unwrap_or(Status::NestedRefused);
                    ClientError::NestedRefused { status, message, retry_after }
                }
            },
            Status::UnknownMethod => ClientError::UnknownMethod { name: name.to_owned(), nearest: None },
            Status::BadRequest => ClientError::BadRequest(message),
            Status::QueueFull => ClientError::QueueFull { retry_after },
            Status::Draining => ClientError::Draining { retry_after },
            Status::WouldBeLate => ClientError::WouldBeLate { retry_after },
            Status::Overloaded => ClientError::Overloaded { retry_after },
            Status::SessionLimit => ClientError::SessionLimit { retry_after },
            Status::NestedDeadlock => ClientError::NestedDeadlock(message),
            Status::UnknownSession => ClientError::UnknownSession,
            Status::DeadlineExceeded => {
                ClientError::DeadlineExceeded { detected_by: DeadlineSource::Server, may_have_run: false }
            }
            Status::Cancelled => ClientError::Cancelled,
            Status::Panicked => ClientError::Panicked(message),
            Status::Internal => ClientError::Internal(message),
            Status::BadResponse => ClientError::BadResponse(message),
            // Statuses without a variant of their own.
            _ if status.blame() == Some(Blame::Overload) => {
                ClientError::Unavailable { status, message, retry_after }
            }
            _ => ClientError::Rejected { status, message },
        }
    }

    /// The deadline passed by this client's own clock.
    pub(crate) fn late(may_have_run: bool) -> ClientError {
        ClientError::DeadlineExceeded { detected_by: DeadlineSource::Client, may_have_run }
    }

    /// The connection was closed while the call was in flight.
    pub(crate) fn disconnected(reason: impl Into<String>) -> ClientError {
        ClientError::Disconnected { may_have_run: true, reason: reason.into() }
    }

    /// The connection was closed before the call was sent.
    pub(crate) fn unsent(reason: impl Into<String>) -> ClientError {
        ClientError::Disconnected { may_have_run: false, reason: reason.into() }
    }

    /// The error that is true of all attempts of a call so far: this one, of the last, unless only one of those before
    /// may have run.
    pub(crate) fn or_earlier(self, earlier: Option<ClientError>) -> ClientError {
        earlier.filter(|earlier| self.never_started() && !earlier.never_started()).unwrap_or(self)
    }
}

/// Source of what an error says about its call.
enum Kind {
    /// The table of statuses.
    Of(Status),
    /// The client, which found it.
    OfClient { blame: Blame, never_started: bool },
}

fn retry(after: Option<Duration>) -> String {
    after.map_or(String::new(), |after| format!("; try again in {} ms", after.as_millis()))
}

fn source_word(source: DeadlineSource) -> &'static str {
    match source {
        DeadlineSource::Client => "client",
        DeadlineSource::Server => "server",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: Status) -> ClientError {
        let fault = Fault { code: 7, retry_after_ms: 250, message: "why".to_owned() };
        ClientError::refused(status, fault, "notes.read")
    }

    #[test]
    fn a_refusal_keeps_its_status_and_all_that_the_status_says() {
        for status in Status::ALL.into_iter().skip(1) {
            let error = refused(status);
            assert_eq!(error.status(), Some(status));
            assert_eq!(error.never_started(), status.never_started(), "{status:?}");
            assert_eq!(Some(error.blame()), status.blame(), "{status:?}");
        }
        assert!(!refused(Status::Ok).never_started(), "no refusal is successful");
    }

    #[test]
    fn a_refusal_within_a_handler_keeps_the_refused_status_and_its_hint() {
        let within = |code: u32| {
            let fault = Fault { code, retry_after_ms: 250, message: "full".to_owned() };
            ClientError::refused(Status::NestedRefused, fault, "")
        };
        let error = within(Status::QueueFull.code().into());
        assert!(
            matches!(&error, ClientError::NestedRefused { status: Status::QueueFull, message, .. } if message == "full")
        );
        assert_eq!((error.blame(), error.retry_after()), (Blame::Overload, Some(Duration::from_millis(250))));
        assert!(matches!(within(1 << 20), ClientError::NestedRefused { status: Status::NestedRefused, .. }));
        let late = within(Status::DeadlineExceeded.code().into());
        assert!(matches!(late, ClientError::DeadlineExceeded { may_have_run: true, .. }), "{late:?}");
    }

    #[test]
    fn the_text_says_what_can_be_done() {
        assert_eq!(refused(Status::QueueFull).to_string(), "the server's queue is full; try again in 250 ms");
        let unknown = ClientError::UnknownMethod { name: "a.x".to_owned(), nearest: Some("a.b".to_owned()) };
        assert_eq!(unknown.to_string(), r#"the server has no method "a.x"; did you mean "a.b"?"#);
        let lost = ClientError::Disconnected { may_have_run: false, reason: "reset".to_owned() };
        assert_eq!(lost.to_string(), "disconnected (reset); the call was not sent");
    }
}
