# Written by `boneyard stubs --lang python`. Use it so, or with AsyncServices, boneyard.aio.Client and await:
#
#     Services(boneyard.Client("127.0.0.1:1352")).notes.read(1)

import inspect
from enum import IntEnum
from typing import Any, Dict, List, Literal, Optional, Protocol, Sequence, TypedDict, Union

# A result, and no coroutine: a type checker then tells the two kinds of clients apart.
Json = Union[None, bool, int, float, str, List[Any], Dict[str, Any]]


class Caller(Protocol):
    def call(self, method: str, arguments: Any = None, /) -> Json: ...


class AsyncCaller(Protocol):
    async def call(self, method: str, arguments: Any = None, /) -> Any: ...



class NoteError(IntEnum):
    # The `code` of the exception `Application`.
    NoSuchNote = 1  # there is no such note
    None_ = 2  # * / nothing
    Last = 4294967295  # the number is "large"

ColorGray = TypedDict("ColorGray", {"Gray": int})

ColorRgb = TypedDict("ColorRgb", {"Rgb": Sequence[int]})

ColorNamedNamed = TypedDict("ColorNamedNamed", {"name": str})

ColorNamed = TypedDict("ColorNamed", {"Named": ColorNamedNamed})

Color = Union[Literal["Red"], ColorGray, ColorRgb, ColorNamed]

Note = TypedDict("Note", {"title": str, "color": Color, "due": Optional[int], "tags": List[str], "seen by": Dict[str, Sequence[Union[bool, str]]], "raw": List[int]})

ErrorCode = TypedDict("ErrorCode", {"code": int, "name": str, "text": str})

MethodErrors = TypedDict("MethodErrors", {"name": str, "codes": List[ErrorCode]})

PortInfo = TypedDict("PortInfo", {"name": str, "address": str, "workers": int})

Info = TypedDict("Info", {"server": str, "protocol": int, "uptime_ms": int, "max_concurrent_trans": int, "in_flight": int, "permits_out": int, "permits_peak": int, "answered": int, "ports": List[PortInfo], "sessions": int, "sessions_timed_out": int, "sessions_displaced": int})

ShapeTexts = TypedDict("ShapeTexts", {"request": str, "response": str})

MethodSchema = TypedDict("MethodSchema", {"fingerprint": int, "bincode": Optional[ShapeTexts], "json": Optional[ShapeTexts], "unknown": str})


class MoreNotesAsyncService:
    def __init__(self, caller: Caller) -> None:
        self._caller: Any = caller

    def import_(self, arguments: Sequence[Color]) -> List[Color]:
        result: List[Color] = self._caller.call("more-notes.async.import", arguments)
        return result


class NotesService:
    def __init__(self, caller: Caller) -> None:
        self._caller: Any = caller

    def any(self, arguments: Any) -> Any:
        result: Any = self._caller.call("notes.any", arguments)
        return result

    def class_(self, arguments: Any) -> Any:
        # types not known: it was declared without a description
        result: Any = self._caller.call("notes.class", arguments)
        return result

    def create(self, arguments: Note) -> int:
        result: int = self._caller.call("notes.create", arguments)
        return result

    def delete(self, arguments: int) -> None:
        # Application errors: NoteError
        result: None = self._caller.call("notes.delete", arguments)
        return result

    def list(self) -> List[Sequence[Union[int, str]]]:
        result: List[Sequence[Union[int, str]]] = self._caller.call("notes.list", None)
        return result

    def read(self, arguments: int) -> Optional[Note]:
        result: Optional[Note] = self._caller.call("notes.read", arguments)
        return result


class ServerService:
    def __init__(self, caller: Caller) -> None:
        self._caller: Any = caller

    def echo(self, arguments: Any) -> Any:
        # types not known: it reads and writes its bytes itself
        result: Any = self._caller.call("server.echo", arguments)
        return result

    def errors(self, arguments: str) -> MethodErrors:
        result: MethodErrors = self._caller.call("server.errors", arguments)
        return result

    def info(self) -> Info:
        result: Info = self._caller.call("server.info", None)
        return result

    def methods(self) -> List[str]:
        result: List[str] = self._caller.call("server.methods", None)
        return result

    def ping(self) -> None:
        result: None = self._caller.call("server.ping", None)
        return result

    def schema(self, arguments: str) -> MethodSchema:
        result: MethodSchema = self._caller.call("server.schema", arguments)
        return result


class Services:
    def __init__(self, caller: Caller) -> None:
        if inspect.iscoroutinefunction(caller.call):
            raise TypeError("this client is for asyncio: use AsyncServices")
        self.more_notes_async = MoreNotesAsyncService(caller)
        self.notes = NotesService(caller)
        self.server = ServerService(caller)


class AsyncMoreNotesAsyncService:
    def __init__(self, caller: AsyncCaller) -> None:
        self._caller: Any = caller

    async def import_(self, arguments: Sequence[Color]) -> List[Color]:
        result: List[Color] = await self._caller.call("more-notes.async.import", arguments)
        return result


class AsyncNotesService:
    def __init__(self, caller: AsyncCaller) -> None:
        self._caller: Any = caller

    async def any(self, arguments: Any) -> Any:
        result: Any = await self._caller.call("notes.any", arguments)
        return result

    async def class_(self, arguments: Any) -> Any:
        # types not known: it was declared without a description
        result: Any = await self._caller.call("notes.class", arguments)
        return result

    async def create(self, arguments: Note) -> int:
        result: int = await self._caller.call("notes.create", arguments)
        return result

    async def delete(self, arguments: int) -> None:
        # Application errors: NoteError
        result: None = await self._caller.call("notes.delete", arguments)
        return result

    async def list(self) -> List[Sequence[Union[int, str]]]:
        result: List[Sequence[Union[int, str]]] = await self._caller.call("notes.list", None)
        return result

    async def read(self, arguments: int) -> Optional[Note]:
        result: Optional[Note] = await self._caller.call("notes.read", arguments)
        return result


class AsyncServerService:
    def __init__(self, caller: AsyncCaller) -> None:
        self._caller: Any = caller

    async def echo(self, arguments: Any) -> Any:
        # types not known: it reads and writes its bytes itself
        result: Any = await self._caller.call("server.echo", arguments)
        return result

    async def errors(self, arguments: str) -> MethodErrors:
        result: MethodErrors = await self._caller.call("server.errors", arguments)
        return result

    async def info(self) -> Info:
        result: Info = await self._caller.call("server.info", None)
        return result

    async def methods(self) -> List[str]:
        result: List[str] = await self._caller.call("server.methods", None)
        return result

    async def ping(self) -> None:
        result: None = await self._caller.call("server.ping", None)
        return result

    async def schema(self, arguments: str) -> MethodSchema:
        result: MethodSchema = await self._caller.call("server.schema", arguments)
        return result


class AsyncServices:
    def __init__(self, caller: AsyncCaller) -> None:
        self.more_notes_async = AsyncMoreNotesAsyncService(caller)
        self.notes = AsyncNotesService(caller)
        self.server = AsyncServerService(caller)
