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

    `status`: name of the status in the protocol, or of the class. `code`: the application's own number, else 0.
    `retry_after`: seconds after which the server asks to retry, or None. `message`: text for people.
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


class Application(Failed):
    """The handler returned an error; `code` and `message` are its own."""


class Panicked(Failed):
    """The handler panicked; it may have done a part of its work."""


class BadResponse(Failed):
    """The handler ran, and its result could not be sent or is not JSON."""


class ReplyTooLarge(Failed):
    """The handler ran, and its result is larger than the client accepts."""


class NotConnected(Refused):
    """There was no connection to send the call on."""


class Throttled(Refused):
    """Not sent: client-side throttling after too many refusals."""


class UnknownMethod(Refused):
    """The server has no method of this name."""


class BadRequest(Refused):
    """The arguments are not of the method's type."""


class TooLarge(Refused):
    """The arguments are larger than the server accepts."""


class UnsupportedVersion(Refused):
    """Server and client have no version of the protocol in common."""


class ProtocolError(Refused):
    """The server reports that this client breaks the protocol."""


class TooSlow(Refused):
    """The server closed the connection because this client was too slow."""


class UnknownSession(Refused):
    """The session is closed, or another client has it."""


class QueueFull(Refused):
    """The queue of the server's port is full."""


class Draining(Refused):
    """The server is stopping."""


class WouldBeLate(Refused):
    """By the forecast the call would be answered after its deadline."""


class Overloaded(Refused):
    """The server's queue has been standing for too long."""


class SessionLimit(Refused):
    """The connection has as many calls out as allowed."""


class NestedDeadlock(Refused):
    """Every worker that could run the call waits for calls like it."""


class MaxUsers(Refused):
    """The server has as many sessions as allowed."""


class Restricted(Refused):
    """New sessions are not allowed (Server_Restricted)."""


class NoDescriptors(Refused):
    """The server has no descriptor for another connection."""


class BuffersFull(Refused):
    """The server's buffers are full."""


class DeadlineExceeded(Refused):
    """The deadline passed before the call was started."""


class Cancelled(Refused):
    """The call was cancelled before it was started."""


class ConnectLimit(Refused):
    """This address connects too often."""


class SessionClosed(Refused):
    """The connection was idle and has been closed."""


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
