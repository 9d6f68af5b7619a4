"""Why a call has no result.

    BoneyardError
        Refused        certainly not begun: it may be made again without doing a thing twice
        Failed         begun, and there is no result
        Lost           nobody knows whether it ran

Below these there is a class for each status of the protocol and for what the client notices itself. Arguments that are
no JSON, addresses and options that are none raise TypeError or ValueError.
"""

from __future__ import annotations


class BoneyardError(Exception):
    """A call has no result.

    `status`: the status by its name in the protocol, or the class's own. `code`: the application's own number, else 0.
    `retry_after`: in how many seconds the server asks to try again, or None. `message`: for people.
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
    """The call was not begun."""


class Failed(BoneyardError):
    """The call was begun and failed."""


class Lost(BoneyardError):
    """The connection ended before the answer came: the call may have run."""


class TimedOut(Lost):
    """The time was over before the answer came: the call may have run."""


class Application(Failed):
    """The handler ran and said no; `code` and `message` are its own."""


class Panicked(Failed):
    """The handler failed in a way it did not foresee; it may have done a part."""


class BadResponse(Failed):
    """The handler ran, and its result could not be sent or is no JSON."""


class ReplyTooLarge(Failed):
    """The handler ran, and its result is larger than the client takes."""


class NotConnected(Refused):
    """There was no connection to send the call on."""


class Throttled(Refused):
    """The client held the call back: the server refused most of those before it."""


class UnknownMethod(Refused):
    """The server has no method of this name."""


class BadRequest(Refused):
    """The arguments are not of the method's type."""


class TooLarge(Refused):
    """The arguments are larger than the server takes."""


class UnsupportedVersion(Refused):
    """Server and client have no version of the protocol in common."""


class ProtocolError(Refused):
    """The server says that this client breaks the protocol."""


class TooSlow(Refused):
    """The server says that this client was too slow."""


class UnknownSession(Refused):
    """The session is closed, or another client has it."""


class QueueFull(Refused):
    """The queue of the server's port is full."""


class Draining(Refused):
    """The server is stopping."""


class WouldBeLate(Refused):
    """By what waits before it, the call would be answered after its deadline."""


class Overloaded(Refused):
    """The server's queue has been standing for too long."""


class SessionLimit(Refused):
    """As many calls are out as may be."""


class NestedDeadlock(Refused):
    """Every worker that could run the call waits for calls like it."""


class MaxUsers(Refused):
    """The server has as many sessions as it may have."""


class Restricted(Refused):
    """An administrator lets no new sessions in."""


class NoDescriptors(Refused):
    """The server has no descriptor for another connection."""


class BuffersFull(Refused):
    """The server's buffers are full."""


class DeadlineExceeded(Refused):
    """The time was over before the call was begun."""


class Cancelled(Refused):
    """The server says that the call was cancelled before it was begun."""


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
