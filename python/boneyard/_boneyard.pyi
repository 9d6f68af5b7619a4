from asyncio import Future
from collections.abc import Sequence
from types import EllipsisType
from typing import Any, TypeAlias, TypeVar, final

from .times import Times

_C = TypeVar("_C", bound=Client)

# Seconds, None for without end, ... for the client's own.
_Timeout: TypeAlias = float | None | EllipsisType

class Client:
    """A server to call. May be shared by threads, which then share one connection. The first call connects; the first
    call after the connection was lost connects anew."""

    def __new__(
        cls: type[_C],
        address: str | Sequence[str],
        *,
        name: str | None = None,
        timeout: _Timeout = ...,
        connect_timeout: float = 5.0,
        retries: int = 2,
        throttle: bool = True,
        wait_for_server: bool = True,
        keepalive: float | None = 60.0,
    ) -> _C:
        """A client for `host`, `host:port` or `[IPv6]:port`; the port is 1352 where it is left out. Of several
        addresses, at most 64, the first that takes the client is used, whenever a connection is made.

        `name`: what it tells the server it is called, at most 256 bytes. `timeout`: how long each call waits, 10 s
        unless told. `connect_timeout`: of one attempt to connect. `retries`: how many times `call` is made again at
        most. `throttle`: whether calls are held back while the server refuses most of them. `wait_for_server`: whether
        `call` waits, within its timeout (10 s without one), for a server that is not there. `keepalive`: after so many
        seconds of silence the system asks whether the server's machine is there, and gives the connection up after as
        many more; None never asks.
        """

    def call(self, method: str, arguments: Any = None, timeout: _Timeout = ...) -> Any:
        """Calls a method and waits for its result. Made again by itself, within its time, when it was refused for load
        or because the server stops; waits for a server that is not there. Raises `boneyard.BoneyardError`."""

    def start(self, method: str, arguments: Any = None, timeout: _Timeout = ...) -> Pending:
        """Sends a call, once, and goes on at once, unless the connection has to be made first."""

    @property
    def methods(self) -> list[str]:
        """Names of all methods of the server, sorted. Connects if there is no connection."""

    def session(self) -> Session:
        """Opens a session: a client whose calls find the same state on the server, whatever the connection."""

    def attach(self, ticket: Any) -> Session:
        """The session of a ticket, from now on this client's."""

    def close(self) -> None:
        """Lets go of the connection, which ends with the last call that is out. Twice is once."""

    def __enter__(self: _C) -> _C: ...
    def __exit__(self, *exception: object) -> None: ...

@final
class Session(Client):
    """A client whose calls find the same state on the server, whatever the connection. After its connection was lost
    the next call attaches it anew. `UnknownSession` says that it is closed or another client has it."""

    @property
    def ticket(self) -> Any:
        """What another client needs to attach the session: any JSON value, and a secret."""

    def close(self) -> None:
        """Closes the session on the server and waits until that is done. Twice is once."""

    def detach(self) -> Any:
        """Lets go of the session without closing it, and returns its ticket."""

@final
class Pending:
    """A call that was sent. It is sent once. When nobody has it any more, it is cancelled. Threads may share it."""

    def done(self) -> bool:
        """Is it over: answered, failed or cancelled?"""

    def result(self, timeout: float | None = None) -> Any:
        """Waits for the result, at most so many seconds; without a number, until the call's own deadline.

        Raises TimeoutError if it is not there by then, and the call goes on; `boneyard.BoneyardError` if it failed;
        concurrent.futures.CancelledError after `cancel`."""

    def cancel(self) -> bool:
        """Says that nobody wants the result any more. The server does not run a call that it has not begun. False if
        it is over already."""

    @property
    def times(self) -> Times | None:
        """Where its time went, once it has a result; else None."""

@final
class Unsent:
    """A call that has begun and would have had to wait to be sent."""

@final
class Gate:
    """The calls of one event loop; what `boneyard.aio` is made of."""

    def fileno(self) -> int: ...
    def begin(
        self, client: Client, method: str, arguments: Any, timeout: _Timeout, future: Future[Any]
    ) -> int | Unsent: ...
    def send(self, unsent: Unsent, future: Future[Any]) -> int: ...
    def answer(self) -> None: ...
    def cancel(self, number: int) -> None: ...

def forked() -> None: ...
