"""Exceptions of calls.

    BoneyardError
        Refused        certainly not started: a repeated call does nothing twice
        Failed         started, and there is no result
        Lost           unknown whether it ran

Below these there is a class for each status of the protocol and for errors of the client itself. Arguments that are not
JSON and invalid addresses or options raise TypeError or ValueError.
"""

from __future__ import annotations


class BoneyardError(Exception):
    """A call has no result.

    `status`: name of the status in the protocol, or of the class. `code`: the application's own number, of a
    `NestedRefused` the status of the refused call, else 0. `retry_after`: seconds after which the server asks to retry,
    or None. `message`: text for people.
    """

    def __init__(
        self, message: str = "", code: int = 0, retry_after: float | None = None, status: str | None = None
    ) -> None:
        self.status = status or type(self).__name__
        self.message, self.code, self.retry_after = message, code, retry_after
        super().__init__(message, code, retry_after, self.status)

    def __str__(self) -> str:
        return f"{self.status}: {self.message}" if self.message else self.status


class Refused(BoneyardError):
    """The call was not started."""


class Failed(BoneyardError):
    """The call was started and failed."""


class Lost(BoneyardError):
    """The connection ended before the answer came: the call may have run."""


class TimedOut(Lost):
    """The timeout passed before the answer came: the call may have run."""


class ReplyTooLarge(Failed):
    """The handler ran, and its result is larger than the client accepts."""


class NotConnected(Refused):
    """There was no connection to send the call on."""


class Throttled(Refused):
    """Not sent: client-side throttling after too many refusals."""


# <statuses> of the protocol, written by tests/statuses.rs of the root package
class Application(Failed):
    """The handler ran and refused, with a code and a message of its own."""


class NestedRefused(Failed):
    """The handler ran, and a call that it made was refused or late; it may have done a part."""


class UnknownMethod(Refused):
    """The server has no method of this name or number."""


class BadRequest(Refused):
    """The arguments do not decode (bytes left over included), or the prelude or the chain of calls is malformed."""


class TooLarge(Refused):
    """The call is larger than the server accepts; if it was sent, a GoAway follows."""


class UnsupportedVersion(Refused):
    """Server and client have no protocol version in common (in a GoAway)."""


class ProtocolError(Refused):
    """The client's bytes break the protocol (in a GoAway)."""


class TooSlow(Refused):
    """The client was too slow to say Hello, to finish a frame or to read replies (in a GoAway)."""


class UnknownSession(Refused):
    """The connection carries no session of this number, or none has this ticket; it may have been closed or moved."""


class QueueFull(Refused):
    """The port's queue is full, or a caller with fewer calls in it needed the place."""


class Draining(Refused):
    """The server is stopping."""


class WouldBeLate(Refused):
    """By the forecast, the call would be answered after its deadline."""


class Overloaded(Refused):
    """Calls have waited in the port's queue for too long, for too long a time (CoDel)."""


class SessionLimit(Refused):
    """The session has as many unanswered calls as `Server_Session_Calls` allows."""


class NestedDeadlock(Refused):
    """Every worker that could run the call waits for calls like it; `Server_Nested_Reserve` avoids that."""


class MaxUsers(Refused):
    """The server has as many sessions as `Server_MaxUsers` allows."""


class Restricted(Refused):
    """An administrator allows no new sessions (`Server_Restricted`)."""


class NoDescriptors(Refused):
    """The server has no descriptor left for another connection (in a GoAway)."""


class BuffersFull(Refused):
    """The server's buffers are full (`Server_Buffer_Memory_MB`)."""


class DeadlineExceeded(Refused):
    """The deadline passed. A server answers so only if the call was not started."""


class Cancelled(Refused):
    """The caller cancelled the call before it was started."""


class ConnectLimit(Refused):
    """The address connects more often than `Server_Max_Connects_Per_Minute` allows (in a GoAway)."""


class SessionClosed(Refused):
    """The session was idle and has been closed (in a GoAway, and in the replies to calls after it)."""


class MethodLimit(Refused):
    """As many calls of the method run and wait as `[Limits]` allows."""


class ClientLimit(Refused):
    """The client has as many calls in progress, over all its connections, as `Server_Client_Calls` allows."""


class ServiceBusy(Refused):
    """The handler says that it is busy and has done nothing."""


class Panicked(Failed):
    """The handler panicked; it may have done a part."""


class BadResponse(Failed):
    """The handler ran; its result cannot be encoded, is too large for a frame, or is not of the method's type."""


class Internal(Failed):
    """The handler failed; it may have done a part. The server's log has the error, which is not for callers."""


# </statuses>
def _below(kind: type[BoneyardError]) -> dict[str, type[BoneyardError]]:
    classes = {kind.__name__: kind}
    for below in kind.__subclasses__():
        classes.update(_below(below))
    return classes


_CLASSES = _below(BoneyardError)


def made(status: str, message: str, code: int, retry_after: float | None, refused: bool) -> BoneyardError:
    """The exception for a status; one that this version does not know is a plain `Refused` or `Failed`."""
    kind = _CLASSES.get(status, Refused if refused else Failed)
    return kind(message, code, retry_after, status)
