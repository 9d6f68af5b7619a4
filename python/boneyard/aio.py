"""The asyncio client. No thread waits for a call: one descriptor of the event loop hears of all answers.

    from boneyard.aio import Client

    async with Client("127.0.0.1:1352") as client:
        print(await asyncio.gather(*(client.call("server.echo", n) for n in range(100))))

A task that is cancelled, or whose `asyncio.timeout` is over, cancels its call. A call is one attempt: one that is
refused, or finds no server, is not made again by itself. The loop's executor is used to connect, and to open and close sessions.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from types import EllipsisType
from typing import Any, TypeVar

from . import _boneyard

__all__ = ["Client", "Session"]

_C = TypeVar("_C", bound="Client")


class _Ear:
    """The calls that one loop has out. Their descriptor is watched until the client is closed and none is out."""

    def __init__(self, loop: asyncio.AbstractEventLoop, is_open: bool) -> None:
        self.loop, self.gate, self.calls, self.open = loop, _boneyard.Gate(), 0, is_open
        self.process = os.getpid()
        loop.add_reader(self.gate.fileno(), self.gate.answer)

    def rest(self) -> None:
        """Watches no more, if that is over."""
        if self.open or self.calls or self.loop.is_closed():
            return
        # What the loop watches it has in common with the child of a fork, which must leave it alone.
        if self.process == os.getpid():
            self.loop.remove_reader(self.gate.fileno())


class Client:
    """A server to call, from one event loop: that of the first call. Takes what `boneyard.Client` takes."""

    def __init__(
        self,
        address: str | Sequence[str],
        *,
        name: str | None = None,
        timeout: float | None | EllipsisType = ...,
        connect_timeout: float = 5.0,
        retries: int = 2,
        throttle: bool = True,
        wait_for_server: bool = True,
        keepalive: float | None = 60.0,
    ) -> None:
        native = _boneyard.Client(
            address,
            name=name,
            timeout=timeout,
            connect_timeout=connect_timeout,
            retries=retries,
            throttle=throttle,
            wait_for_server=wait_for_server,
            keepalive=keepalive,
        )
        self._take(native)

    def _take(self, native: _boneyard.Client) -> None:
        self._native, self._open = native, True
        self._ear: _Ear | None = None

    async def call(self, method: str, arguments: Any = None, timeout: float | None | EllipsisType = ...) -> Any:
        """Calls a method and waits for its result. The loop goes on meanwhile."""
        loop = asyncio.get_running_loop()
        ear = self._ear
        if ear is None or ear.loop is not loop:
            ear = self._enter(loop)
        gate, future = ear.gate, loop.create_future()
        ear.calls += 1
        try:
            number = gate.begin(self._native, method, arguments, timeout, future)
            if not isinstance(number, int):
                number = await self._send(gate, number, future)
            try:
                return await future
            except asyncio.CancelledError:
                gate.cancel(number)
                raise
        finally:
            ear.calls -= 1
            ear.rest()

    async def methods(self) -> list[str]:
        """Names of all methods of the server, sorted."""
        names: list[str] = await self._apart(lambda: self._native.methods)
        return names

    async def session(self) -> Session:
        """Opens a session; see `boneyard.Client.session`."""
        return Session._of(await self._apart(self._native.session))

    async def attach(self, ticket: Any) -> Session:
        """The session of a ticket, from now on this client's."""
        return Session._of(await self._apart(self._native.attach, ticket))

    async def close(self) -> None:
        """Lets go of the connection, which ends with the last call that is out. Twice is once."""
        self._leave()
        await self._apart(self._native.close)

    async def __aenter__(self: _C) -> _C:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    def _enter(self, loop: asyncio.AbstractEventLoop) -> _Ear:
        if self._ear is not None and not self._ear.loop.is_closed():
            raise RuntimeError("the client belongs to another event loop")
        self._ear = _Ear(loop, self._open)
        return self._ear

    def _leave(self) -> None:
        # Calls that are out are still answered: the last of them ends the watch.
        ear, self._ear, self._open = self._ear, None, False
        if ear is not None:
            ear.open = False
            ear.rest()

    async def _send(self, gate: _boneyard.Gate, unsent: _boneyard.Unsent, future: asyncio.Future[Any]) -> int:
        sent: asyncio.Future[int] = asyncio.ensure_future(self._apart(gate.send, unsent, future))
        try:
            return await asyncio.shield(sent)
        except asyncio.CancelledError:
            # It cannot be stopped while it connects; what it then sends is cancelled at once.
            def cancel(sent: asyncio.Future[int]) -> None:
                if not sent.cancelled() and sent.exception() is None:
                    gate.cancel(sent.result())

            sent.add_done_callback(cancel)
            raise

    @staticmethod
    async def _apart(function: Any, *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(None, function, *arguments)


class Session(Client):
    """A client whose calls find the same state on the server; see `boneyard.Session`."""

    _native: _boneyard.Session

    @classmethod
    def _of(cls, native: _boneyard.Session) -> Session:
        session = cls.__new__(cls)
        session._take(native)
        return session

    @property
    def ticket(self) -> Any:
        """What another client needs to attach the session: a JSON value, and a secret."""
        return self._native.ticket

    async def detach(self) -> Any:
        """Lets go of the session without closing it, and returns its ticket."""
        self._leave()
        return await self._apart(self._native.detach)
