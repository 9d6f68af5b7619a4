"""The asyncio client. No thread waits for a call: one descriptor of the event loop signals all answers.

    from boneyard.aio import Client

    async with Client("127.0.0.1:1352") as client:
        print(await asyncio.gather(*(client.call("server.echo", n) for n in range(100))))

A task that is cancelled, or whose `asyncio.timeout` passes, cancels its call. A call is one attempt: it is not retried
when it is refused or finds no server. The loop's executor is used to connect, and to open and close sessions.
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


class _LoopState:
    """The pending calls of one loop. Their descriptor is watched until the client is closed and none is pending."""

    def __init__(self, loop: asyncio.AbstractEventLoop, is_open: bool) -> None:
        self.loop, self.bridge, self.calls, self.open = loop, _boneyard.EventLoopBridge(), 0, is_open
        self.process = os.getpid()
        loop.add_reader(self.bridge.fileno(), self.bridge.answer)

    def unwatch_if_idle(self) -> None:
        """Stops watching once the client is closed and no call is pending."""
        if self.open or self.calls or self.loop.is_closed():
            return
        # The child of a fork shares what the loop watches, and must not change it.
        if self.process == os.getpid():
            self.loop.remove_reader(self.bridge.fileno())


class Client:
    """A client for one event loop: that of the first call. It has the arguments of `boneyard.Client`."""

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
        self._loop_state: _LoopState | None = None

    async def call(self, method: str, arguments: Any = None, timeout: float | None | EllipsisType = ...) -> Any:
        """Calls a method and waits for its result. The loop goes on meanwhile."""
        loop = asyncio.get_running_loop()
        state = self._loop_state
        if state is None or state.loop is not loop:
            state = self._enter(loop)
        bridge, future = state.bridge, loop.create_future()
        state.calls += 1
        try:
            number = bridge.begin(self._native, method, arguments, timeout, future)
            if not isinstance(number, int):
                number = await self._send(bridge, number, future)
            try:
                return await future
            except asyncio.CancelledError:
                bridge.cancel(number)
                raise
        finally:
            state.calls -= 1
            state.unwatch_if_idle()

    async def methods(self) -> list[str]:
        """Names of all methods of the server, sorted."""
        names: list[str] = await self._apart(lambda: self._native.methods)
        return names

    async def session(self) -> Session:
        """Opens a session; see `boneyard.Client.session`."""
        return Session._of(await self._apart(self._native.session))

    async def attach(self, ticket: Any) -> Session:
        """Attaches the session of a ticket to this client."""
        return Session._of(await self._apart(self._native.attach, ticket))

    async def close(self) -> None:
        """Closes the client; the connection ends with its last pending call. May be called twice."""
        self._leave()
        await self._apart(self._native.close)

    async def __aenter__(self: _C) -> _C:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    def _enter(self, loop: asyncio.AbstractEventLoop) -> _LoopState:
        if self._loop_state is not None and not self._loop_state.loop.is_closed():
            raise RuntimeError("the client belongs to another event loop")
        self._loop_state = _LoopState(loop, self._open)
        return self._loop_state

    def _leave(self) -> None:
        # Pending calls are still answered: the last of them ends the watch.
        state, self._loop_state, self._open = self._loop_state, None, False
        if state is not None:
            state.open = False
            state.unwatch_if_idle()

    async def _send(
        self, bridge: _boneyard.EventLoopBridge, unsent: _boneyard.UnsentCall, future: asyncio.Future[Any]
    ) -> int:
        sent: asyncio.Future[int] = asyncio.ensure_future(self._apart(bridge.send, unsent, future))
        try:
            return await asyncio.shield(sent)
        except asyncio.CancelledError:
            # It cannot be stopped while it connects; the call that it then sends is cancelled at once.
            def cancel(sent: asyncio.Future[int]) -> None:
                if not sent.cancelled() and sent.exception() is None:
                    bridge.cancel(sent.result())

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
        """Ticket by which another client can attach the session: a JSON value, and a secret."""
        return self._native.ticket

    async def detach(self) -> Any:
        """Releases the session without closing it, and returns its ticket."""
        self._leave()
        return await self._apart(self._native.detach)
