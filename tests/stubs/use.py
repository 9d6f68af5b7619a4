"""Uses the stubs of the test's server; what a type checker must refuse is marked, and an unused mark is an error."""

import sys

from plain import Client
from stubs import Color, Note, NoteError, Services

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

if len(sys.argv) > 2:
    services.notes.read("1")  # type: ignore[arg-type]
    services.more_notes_async.import_(["Green", "Red"])  # type: ignore[list-item]
    services.notes.create({"title": "a"})  # type: ignore[typeddict-item]
