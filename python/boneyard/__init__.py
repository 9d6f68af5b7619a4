"""Client for Boneyard servers.

    from boneyard import Client

    with Client("127.0.0.1:1352") as client:
        print(client.call("server.echo", {"hello": "world"}))             # waits, at most 10 s
        calls = [client.start("server.echo", n) for n in range(100)]      # all out at once
        print([call.result() for call in calls])

Arguments and results are Python objects: None, bool, int, float, str, list and dict; arguments also tuples, bytes,
bytearrays, memoryviews and dataclasses. Errors are in `boneyard.errors`, the asyncio client in `boneyard.aio`.

Threads may share a client; none of them holds the GIL while it waits. A client made before a fork raises RuntimeError
in the child, which has to make another; the parent's goes on.
"""

import os

from . import _boneyard
from ._boneyard import Client, Pending, Session
from .errors import BoneyardError, Failed, Lost, Refused
from .times import Times

__all__ = ["BoneyardError", "Client", "Failed", "Lost", "Pending", "Refused", "Session", "Times"]

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_boneyard.forked)
