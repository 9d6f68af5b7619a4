from asyncio import Future
from collections.abc import Sequence
from types import EllipsisType
from typing import Any, TypeAlias, TypeVar, final

from .times import Times

_C = TypeVar("_C", bound=Client)

# Seconds, None for no limit, ... for the client's own.
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
        """A client for `host`, `host:port` or `[IPv6]:port`; the default port is 1352. Of several addresses, at most
        64, the first that accepts is used, whenever a connection is made.

        `name`: name in the server's log, at most 256 bytes. `timeout`: how long each call waits, by default 10 s.
        `connect_timeout`: of one attempt to connect. `retries`: most retries of `call`. `throttle`: whether calls are
        held back while the server refuses most of them. `wait_for_server`: whether `call` waits, within its timeout
        (10 s without one), for a server that is not there. `keepalive`: after this many seconds of silence the system
        probes the server's machine, and closes the connection after as many more without an answer; None never probes.
        """

    def call(self, method: str, arguments: Any = None, timeout: _Timeout = ...) -> Any:
        """Calls a method and waits for its result. Retried within its timeout when it was refused for load or because
        the server stops; waits for a server that is not there. Raises `boneyard.BoneyardError`."""

    def start(self, method: str, arguments: Any = None, timeout: _Timeout = ...) -> Pending:
        """Sends a call, once, and returns at once, unless the connection has to be made first."""

    @property
    def methods(self) -> list[str]:
        """Names of all methods of the server, sorted. Connects if there is no connection."""

    def session(self) -> Session:
        """Opens a session: a client whose calls find the same state on the server, whatever the connection."""

    def attach(self, ticket: Any) -> Session:
        """Attaches the session of a ticket to this client."""

    def close(self) -> None:
        """Closes the client; the connection ends with its last pending call. May be called twice."""

    def __enter__(self: _C) -> _C: ...
    def __exit__(self, *exception: object) -> None: ...

@final
class Session(Client):
    """A client whose calls find the same state on the server, whatever the connection. After its connection was lost
    the next call attaches it anew. `UnknownSession` means that it is closed or another client has it."""

    @property
    def ticket(self) -> Any:
        """Ticket by which another client can attach the session: a JSON value, and a secret."""

    def close(self) -> None:
        """Closes the session on the server and waits until that is done. May be called twice."""

    def detach(self) -> Any:
        """Releases the session without closing it, and returns its ticket."""

@final
class Pending:
    """A call that was sent, once. It is cancelled when the object is dropped. Threads may share it."""

    def done(self) -> bool:
        """Returns whether it is over: answered, failed or cancelled."""

    def result(self, timeout: float | None = None) -> Any:
        """Waits for the result, at most `timeout` seconds; by default until the call's own deadline.

        Raises TimeoutError if it is not there by then, and the call goes on; `boneyard.BoneyardError` if it failed;
        concurrent.futures.CancelledError after `cancel`."""

    def cancel(self) -> bool:
        """Cancels the call. The server does not run a call that it has not started. False if it is over already."""

    @property
    def times(self) -> Times | None:
        """Parts of its time, once it has a result; else None."""

@final
class UnsentCall:
    """A call that was started and would have to block to be sent."""

@final
class EventLoopBridge:
    """The pending calls of one event loop, for `boneyard.aio`."""

    def fileno(self) -> int: ...
    def begin(
        self, client: Client, method: str, arguments: Any, timeout: _Timeout, future: Future[Any]
    ) -> int | UnsentCall: ...
    def send(self, unsent: UnsentCall, future: Future[Any]) -> int: ...
    def answer(self) -> None: ...
    def cancel(self, number: int) -> None: ...

def forked() -> None: ...
