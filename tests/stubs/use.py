"""Uses the stubs of the test's server; what a type checker must refuse is marked, and an unused mark is an error."""

import asyncio
import sys
from typing import Optional

from plain import AsyncClient, Client
from stubs import AsyncServices, Color, Note, NoteError, Services

services = Services(Client(sys.argv[1]))
color: Color = {"Rgb": [1, 2, 3]}
note: Note = {
    "title": "a",
    "color": color,
    "due": 2**64 - 1,
    "tags": ["x"],
    "seen by": {"1": ("x", True)},
    "raw": [0, 255],
}
number = services.notes.create(note)
read = services.notes.read(number)
assert read is not None
title: str = read["title"]
assert title == "a" and read["color"] == color and read["due"] == 2**64 - 1
assert read["seen by"] == {"1": ["x", True]} and read["raw"] == [0, 255]
assert services.notes.read(number + 1) is None
assert services.notes.list() == [[number, "a"]]
assert services.more_notes_async.import_(["Red", {"Named": {"name": "b"}}]) == ["Red", {"Named": {"name": "b"}}]
assert services.notes.any({"any": [1]}) == {"any": [1]}
assert services.notes.class_(None) == "of the program"
services.server.ping()
assert NoteError(2) is NoteError.None_
try:
    services.notes.delete(1)
except Exception as error:
    assert error.args[1]["code"] == NoteError.NoSuchNote
else:
    raise AssertionError("there is no such note")


async def use_asyncio() -> None:
    services = AsyncServices(AsyncClient(sys.argv[1]))
    numbers = await asyncio.gather(services.notes.create(note), services.notes.create(note))
    first: int = numbers[0]
    read: Optional[Note] = await services.notes.read(first)
    assert read is not None and read["title"] == "a"
    await services.server.ping()
    assert await services.more_notes_async.import_(["Red", "Red"]) == ["Red", "Red"]
    assert first in [found for found, _ in await services.notes.list()]


asyncio.run(use_asyncio())
try:
    Services(AsyncClient(sys.argv[1]))  # type: ignore[arg-type]
except TypeError as error:
    assert str(error) == "this client is for asyncio: use AsyncServices"
else:
    raise AssertionError("its results would be coroutines")

if len(sys.argv) > 2:
    services.notes.read("1")  # type: ignore[arg-type]
    services.more_notes_async.import_(["Green", "Red"])  # type: ignore[list-item]
    services.notes.create({"title": "a"})  # type: ignore[typeddict-item]
