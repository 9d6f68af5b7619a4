"""Clients of one connection and one call at a time, in JSON: enough to use stubs without the package."""

import asyncio
import json
import socket
import struct
from typing import Any


class Client:
    def __init__(self, address: str) -> None:
        host, port = address.rsplit(":", 1)
        self._stream = socket.create_connection((host, int(port)))
        self._stream.sendall(b"BNYD" + struct.pack("<HH", 1, 1) + self._frame(1, 0, 0, 0, struct.pack("<Q", 4) + b"stub"))
        _, body = self._read()
        (length,) = struct.unpack_from("<Q", body)
        at = 8 + length + 4
        (count,) = struct.unpack_from("<Q", body, at)
        at += 8
        self._methods: dict[str, int] = {}
        for _ in range(count):
            number, length = struct.unpack_from("<HQ", body, at)
            self._methods[body[at + 10 : at + 10 + length].decode()] = number
            at += 10 + length + 8
        self._call = 0

    def call(self, method: str, arguments: Any = None, /) -> Any:
        self._call += 1
        body = struct.pack("<II", 0, 10_000) + json.dumps(arguments).encode()
        self._stream.sendall(self._frame(3, 1, self._methods[method], self._call, body))
        status, body = self._read()
        result = json.loads(body[12:])
        if status != 0:
            raise RuntimeError(status, result)
        return result

    @staticmethod
    def _frame(kind: int, flags: int, code: int, call: int, body: bytes) -> bytes:
        return struct.pack("<IBBHQ", len(body), kind, flags, code, call) + body

    def _read(self) -> tuple[int, bytes]:
        length, _, _, code, _ = struct.unpack("<IBBHQ", self._exactly(16))
        return code, self._exactly(length)

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            part = self._stream.recv(count - len(data))
            if not part:
                raise ConnectionError("the server closed the connection")
            data += part
        return data


class AsyncClient:
    """The same for asyncio."""

    def __init__(self, address: str) -> None:
        self._client = Client(address)
        self._lock = asyncio.Lock()

    async def call(self, method: str, arguments: Any = None, /) -> Any:
        async with self._lock:
            return await asyncio.to_thread(self._client.call, method, arguments)
