"""The situations of verdict.py: servers that are limited by something known, and healthy ones, as rows of data.

A row's truth does not come from the verdict: `change` is what its author holds for the remedy (or for no remedy), and
`brings` how many times as much is then done; `verdict.py --truth` measures that. Python 3.11 standard library only.
"""

import json
from dataclasses import dataclass

from verdict_loads import Bursts, Calls, Coming, Hogs, Large

# What a change is for: more calls, or the calls of one method that others hold up, or that none is refused.
CALLS, OTHERS, REFUSED = "calls", "others", "refused"


@dataclass(frozen=True)
class Situation:
    """A server under load."""

    name: str
    # Verdicts that are right: `kind`, or `kind:name` with the port or the method.
    accepted: tuple
    settings: tuple = ()
    loads: tuple = ()
    ports: int = 1
    # Whether the verdict must give lines; None: it may.
    lines: bool | None = None
    # Lines, or the method without which the load is pressed, and how many times as much that brings.
    change: tuple | str = ()
    brings: float = 1.0
    better: str = CALLS
    # The method whose calls count for OTHERS.
    others: str | None = None
    # Loads the processors, so nothing may run beside it.
    alone: bool = False
    # Limit of descriptors of the server.
    descriptors: int | None = None
    # Workers of a plain TCP server that handlers ask, called DEPENDENCY in arguments.
    dependency: int = 0
    # Settings of a second server, called SECOND; the first is FIRST.
    second: tuple | None = None


def fixed(ms):
    return {"fixed": ms}


def random(ms):
    return {"exponential": ms}


def bimodal(share, first, second):
    return {"bimodal": [share, first, second]}


def sleep(time):
    return {"sleep": time}


def call(server, method, *steps):
    """A call of another server within a handler. Its arguments are JSON within JSON."""
    return {"call": [server, method, json.dumps(steps)]}


def calls(*steps, **how):
    return Calls(argument=steps, **how)


def size(pool, throttle, *more):
    return (f"Server_Pool_Tasks={pool}", f"Server_Max_Concurrent_Trans={throttle}", *more)


def each(ports, load):
    return tuple(load(port) for port in range(ports))


SMALL = size(10, 40)

HEALTHY = (
    Situation("healthy: idle", ("nothing",), SMALL),
    Situation(
        "healthy: open, 40 % busy", ("nothing",), SMALL, (calls(sleep(fixed(10)), rate=400, connections=8),),
        lines=False, change=size(40, 80),
    ),
    Situation(
        "healthy: open, random, 60 % busy", ("nothing",), SMALL, (calls(sleep(random(20)), rate=300, connections=8),),
        lines=False, change=size(40, 80),
    ),
    Situation(
        "healthy: as many callers as workers", ("nothing",), SMALL, (calls(sleep(random(20)), connections=10),),
        lines=False, change=size(40, 80),
    ),
    Situation(
        "healthy: 3 ports half busy", ("nothing",), size(10, 30),
        each(3, lambda port: calls(sleep(bimodal(0.8, 5, 50)), connections=5, port=port)), ports=3,
        lines=False, change=size(40, 120),
    ),
    Situation(
        "healthy: a lock that is mostly free", ("nothing",), SMALL,
        (calls(sleep(random(20)), {"std_lock": random(0.5)}, connections=8),), lines=False, change=size(40, 80),
    ),
    Situation(
        "healthy: a dependency with room", ("nothing",), SMALL,
        (calls({"tcp": ["DEPENDENCY", random(20)]}, connections=8),), lines=False, change=size(40, 80), dependency=16,
    ),
    Situation(
        "healthy: bursts that the workers take at once", ("nothing",), SMALL,
        (Bursts(argument=(sleep(fixed(5)),), count=10, pause=0.3),), lines=False, change=size(40, 80),
    ),
    Situation(
        "healthy: a few long calls beside short ones", ("nothing",), SMALL,
        (calls(sleep(fixed(3000)), connections=3, method="work.report"), calls(sleep(random(10)), connections=5)),
        lines=False, change=size(40, 80),
    ),
    Situation(
        "healthy: two servers, tx.blocking", ("nothing",), size(10, 4),
        (calls(call("SECOND", "work.read", {"block": random(10)}), connections=8),), lines=False,
        change=size(40, 80), second=size(20, 20),
    ),
)

THROTTLE = (
    Situation(
        "throttle: 3 x 40 workers, 20 permits, 200 callers", ("throttle",), size(40, 20),
        each(3, lambda port: calls(sleep(fixed(50)), connections=67 - (port == 2), port=port)), ports=3,
        lines=True, change=("Server_Max_Concurrent_Trans=120",), brings=6.0,
    ),
    Situation(
        "throttle: 40 workers, 10 permits, 30 callers", ("throttle",), size(40, 10),
        (calls(sleep(random(40)), connections=30),), lines=True,
        change=("Server_Max_Concurrent_Trans=40",), brings=3.0,
    ),
    Situation(
        "throttle: open, 1.25 times what 8 permits do", ("throttle",), size(40, 8),
        (calls(sleep(fixed(20)), rate=500, connections=8),), lines=True,
        change=("Server_Max_Concurrent_Trans=40",), brings=1.25,
    ),
    Situation(
        "throttle: open, 3.2 times what 8 permits do, refused", ("throttle",), size(40, 8, "Server_Queue_Limit=200"),
        (calls(sleep(random(20)), rate=1280, connections=16),), lines=True,
        change=("Server_Max_Concurrent_Trans=40",), brings=3.2,
    ),
    Situation(
        "throttle: 8 ports, 16 permits", ("throttle",), size(8, 16),
        each(8, lambda port: calls(sleep(random(30)), connections=8, port=port)), ports=8, lines=True,
        change=("Server_Max_Concurrent_Trans=64",), brings=4.0,
    ),
    Situation(
        "throttle: handlers that partly wait in tx.blocking", ("throttle",), size(40, 5),
        (calls(sleep(fixed(10)), {"block": fixed(30)}, connections=40),), lines=True,
        change=("Server_Max_Concurrent_Trans=40",), brings=2.0,
    ),
    Situation(
        "throttle: 2 ports, one of them open", ("throttle",), size(30, 12),
        (calls(sleep(random(40)), connections=30), calls(sleep(random(20)), rate=150, connections=4, port=1)),
        ports=2, lines=True, change=("Server_Max_Concurrent_Trans=60",), brings=2.6,
    ),
)

POOL = (
    Situation(
        "pool: 10 workers, 40 callers", ("pool",), SMALL, (calls(sleep(random(40)), connections=40),), lines=True,
        change=size(40, 40), brings=4.0,
    ),
    Situation(
        "pool: handlers in tx.blocking, 4 permits", ("pool",), size(10, 4),
        (calls({"block": fixed(50)}, connections=40),), lines=True, change=("Server_Pool_Tasks=40",), brings=4.0,
    ),
    Situation(
        "pool: open, twice what 8 workers do, refused", ("pool",), size(8, 40, "Server_Queue_Limit=100"),
        (calls(sleep(random(25)), rate=640, connections=16),), lines=True,
        change=("Server_Pool_Tasks=32",), brings=2.0,
    ),
    Situation(
        "pool: run times of two kinds", ("pool",), size(8, 64), (calls(sleep(bimodal(0.9, 5, 100)), connections=32),),
        lines=True, change=("Server_Pool_Tasks=32",), brings=4.0,
    ),
    Situation(
        "pool: three ports equally full", ("pool",), size(8, 96),
        each(3, lambda port: calls(sleep(random(30)), connections=24, port=port)), ports=3, lines=True,
        change=("Server_Pool_Tasks=16",), brings=2.0,  # A step: what it has beyond that is not seen from here.
    ),
    Situation(
        "pool: one of three ports full", ("pool:PORT2",), size(8, 96),
        (
            calls(sleep(random(40)), connections=32, port=1),
            calls(sleep(random(20)), rate=100, connections=4),
            calls(sleep(random(20)), rate=100, connections=4, port=2),
        ),
        ports=3, lines=True, change=("PORT2_Pool_Tasks=32",), brings=2.5,
    ),
    Situation(
        "pool: as many permits as workers", ("pool", "throttle"), size(10, 10),
        (calls(sleep(random(40)), connections=40),), lines=True, change=size(40, 40), brings=4.0,
    ),
    Situation(
        "pool: one worker", ("pool", "throttle"), size(1, 1), (calls(sleep(fixed(20)), connections=4),), lines=True,
        change=size(4, 4), brings=4.0,
    ),
    Situation(
        "pool: open, CoDel refuses half", ("pool",), size(8, 64, "Server_CoDel_Mode=refuse"),
        (calls(sleep(random(20)), rate=800, connections=16),), lines=True,
        change=("Server_Pool_Tasks=32",), brings=2.0,
    ),
    Situation(
        "pool: a dependency with room for all", ("pool",), size(8, 64),
        (calls({"tcp": ["DEPENDENCY", random(30)]}, connections=24),), lines=True, dependency=64,
        change=("Server_Pool_Tasks=16",), brings=2.0,  # A step: what it has beyond that is not seen from here.
    ),
    Situation(
        "pool: calls another server that has room", ("pool",), size(8, 64),
        (calls(call("SECOND", "work.read", sleep(random(30))), connections=32),), lines=True, second=size(64, 64),
        change=("Server_Pool_Tasks=16",), brings=2.0,  # A step, as above.
    ),
    Situation(
        "pool: a disk with room", ("pool",), size(4, 40),
        (calls(sleep(random(20)), {"fsync": 4096}, connections=16),), lines=True, change=size(16, 40), brings=3.9,
    ),
    Situation(
        "pool: fits, but calls wait now and then", ("nothing", "pool"), size(4, 40),
        (calls(sleep(random(10)), rate=350, connections=8),), change=size(16, 40),
    ),
    Situation(
        "pool: a lock beside it that does not limit yet", ("pool",), size(5, 40),
        (calls(sleep(random(40)), {"std_lock": random(1)}, connections=20),), lines=True,
        change=size(20, 40), brings=4.0,
    ),
    Situation(
        "pool: a lock that limits soon", ("pool", "method"), size(4, 40),
        (calls(sleep(random(20)), {"std_lock": random(2.5)}, connections=40),), change=size(40, 40), brings=2.3,
    ),
    Situation(
        "pool: a dependency that limits soon", ("pool", "method"), size(4, 40),
        (calls({"tcp": ["DEPENDENCY", random(20)]}, connections=24),), dependency=8, change=size(24, 40), brings=2.0,
    ),
)

METHOD = (
    Situation(
        "method: one method has the workers", ("method:work.report",), SMALL,
        (
            calls(sleep(random(100)), connections=12, method="work.report"),
            calls(sleep(fixed(5)), connections=10, method="work.read"),
        ),
        lines=True, change="work.report", brings=3.0, better=OTHERS, others="work.read",
    ),
    Situation(
        "method: longer than a look", ("method:work.report", "pool"), size(8, 64),
        (
            calls(sleep(fixed(2000)), connections=6, method="work.report"),
            calls(sleep(fixed(20)), connections=30, method="work.read"),
        ),
        lines=True, change=("Server_Pool_Tasks=40",), brings=14.0, better=OTHERS, others="work.read",
    ),
    Situation(
        "method: longer than a look, the others 1 ms", ("method:work.report", "pool"), size(8, 64),
        (
            calls(sleep(fixed(2000)), connections=6, method="work.report"),
            calls(sleep(fixed(1)), connections=30, method="work.read"),
        ),
        lines=True, change=("Server_Pool_Tasks=40",), brings=10.0, better=OTHERS, others="work.read", alone=True,
    ),
    Situation(
        "lock: std, random", ("method",), size(20, 40),
        (calls({"std_lock": random(5)}, sleep(random(5)), connections=30),), change=size(60, 80),
    ),
    Situation(
        "lock: parking_lot, random", ("method",), size(16, 32),
        (calls({"parking_lot": random(4)}, sleep(random(10)), connections=40),), change=size(40, 80),
    ),
    Situation(
        "lock: all permits out", ("method",), size(40, 20), (calls({"std_lock": random(10)}, connections=60),),
        change=("Server_Max_Concurrent_Trans=40",),
    ),
    Situation(
        "lock: run times of two kinds besides", ("method",), size(24, 64),
        (calls({"std_lock": random(3)}, sleep(bimodal(0.8, 2, 60)), connections=60),), change=size(60, 80),
    ),
    Situation(
        "lock: one method's, beside another method", ("method:work.write",), size(16, 64),
        (
            calls({"std_lock": random(8)}, connections=20, method="work.write"),
            calls(sleep(random(10)), rate=100, connections=4, method="work.read"),
        ),
        change=size(40, 80),
    ),
    Situation(
        "lock: one method's has the workers of another", ("method:work.write", "pool"), size(16, 64),
        (
            calls({"std_lock": random(8)}, connections=20, method="work.write"),
            calls(sleep(random(10)), connections=4, method="work.read"),
        ),
        lines=True, change="work.write", brings=2.0, better=OTHERS, others="work.read",
    ),
    Situation(
        "lock: held while a processor is used", ("method",), size(16, 32),
        (calls({"spin_lock": random(2)}, connections=24),), change=size(32, 64), alone=True,
    ),
    Situation(
        "dependency: a semaphore of 3", ("method",), size(20, 40),
        (calls({"semaphore": [3, random(15)]}, sleep(random(5)), connections=40),), change=size(40, 80),
    ),
    Situation(
        "dependency: 4 workers, plain TCP", ("method",), size(24, 48),
        (calls({"tcp": ["DEPENDENCY", random(20)]}, connections=40),), dependency=4, change=size(40, 80),
    ),
    Situation(
        "dependency: 4 workers, all permits out", ("method",), size(40, 12),
        (calls({"tcp": ["DEPENDENCY", random(20)]}, sleep(random(4)), connections=40),), dependency=4,
        change=("Server_Max_Concurrent_Trans=40",),
    ),
    Situation(
        "dependency: a Boneyard server with 4 workers", ("method",), size(20, 40),
        (calls(call("SECOND", "work.read", sleep(random(20))), connections=40),), second=size(4, 40),
        change=size(40, 80),
    ),
)

CPU = (
    Situation(
        "cpu: 20 permits, 100 callers", ("cpu",), size(40, 20), (calls({"spin": fixed(5)}, connections=100),),
        lines=False, change=("Server_Max_Concurrent_Trans=40",), alone=True,
    ),
    Situation(
        "cpu: open, more than the processors do, refused", ("cpu",), size(8, 40, "Server_Queue_Limit=100"),
        (calls({"spin": random(5)}, rate=700, connections=16),), lines=False, change=("Server_Pool_Tasks=32",),
        alone=True,
    ),
    Situation(
        "cpu: workers enough, nothing waits in a queue", ("cpu",), size(40, 40),
        (calls({"spin": random(10)}, connections=30),), lines=False, change=size(80, 80), alone=True,
    ),
    Situation(
        "cpu: as many permits as processors, which others use", ("cpu", "throttle"), size(8, 2),
        (calls({"spin": fixed(4)}, connections=16), Hogs(count=2)), change=("Server_Max_Concurrent_Trans=8",),
        brings=1.6, alone=True,
    ),
    Situation(
        "throttle: then the processors", ("throttle",), size(40, 4),
        (calls({"spin": fixed(0.5)}, sleep(fixed(8)), connections=40),), lines=True,
        change=("Server_Max_Concurrent_Trans=40",), brings=6.5, alone=True,
    ),
)

LIMITS = (
    Situation(
        "queue_bound: bursts", ("queue_bound",), size(10, 40, "Server_Queue_Limit=20"),
        (Bursts(argument=(sleep(fixed(1)),)),), lines=True, change=("Server_Queue_Limit=200",), better=REFUSED,
    ),
    Situation(
        "client: 4 connections with 50 calls out", ("client",), size(4, 40),
        (
            calls(sleep(fixed(20)), connections=4, out=50),
            Bursts(argument=(sleep(fixed(20)),), count=1, pause=0, source="127.0.0.2", method="work.read"),
        ),
        lines=True, change="work.run", brings=2.0, better=OTHERS, others="work.read",
    ),
    Situation(
        "client: one connection with 500 calls out, same address", ("client",), size(8, 40),
        (calls(sleep(random(10)), out=500), calls(sleep(random(10)), connections=8, method="work.read")),
        lines=True, change="work.run", brings=1.5, better=OTHERS, others="work.read",
    ),
    Situation(
        "client: 100 connections of one address", ("client", "pool"), size(10, 60),
        (
            calls(sleep(random(20)), connections=100),
            Bursts(argument=(sleep(fixed(20)),), count=1, pause=0, source="127.0.0.2", method="work.read"),
        ),
        change="work.run", brings=3.0, better=OTHERS, others="work.read",
    ),
    Situation(
        "descriptors: a setting can be lower", ("descriptors",),
        ("Server_Descriptors_Per_Session=4", "Server_Hello_Timeout=0"), (Coming(count=120, pause=0.05),), lines=True,
        descriptors=300, change=("Server_Descriptors_Per_Session=1",), better=REFUSED,
    ),
    Situation(
        "descriptors: the process has too few", ("descriptors",), ("Server_Hello_Timeout=0",),
        (Coming(count=300, pause=0.03),), lines=False, descriptors=200, change=(), better=REFUSED,
    ),
    Situation(
        "users: 36 come, 20 may", ("users",), ("Server_MaxUsers=20",), (Coming(count=36),), lines=True,
        change=("Server_MaxUsers=40",), better=REFUSED,
    ),
    Situation(
        "restricted", ("restricted",), ("Server_Restricted=2",), (Coming(count=20),), lines=True,
        change=("Server_Restricted=0",), better=REFUSED,
    ),
    Situation(
        "connects: a client connects four times a second", ("connects",), ("Server_Max_Connects_Per_Minute=20",),
        (Coming(count=1, pause=0.25, stays=False),), lines=True, change=("Server_Max_Connects_Per_Minute=300",),
        better=REFUSED,
    ),
    Situation(
        "session_calls: 30 at once, 8 may", ("session_calls",), size(20, 40, "Server_Session_Calls=8"),
        (Bursts(argument=(sleep(fixed(5)),), count=30),), lines=True,
        change=("Server_Session_Calls=40",), better=REFUSED,
    ),
    Situation(
        "client_calls: 4 connections with 10 calls at once, 16 of a client may", ("client_calls",),
        size(50, 60, "Server_Client_Calls=16"),
        tuple(Bursts(argument=(sleep(fixed(20)),), count=10, pause=0.1) for _ in range(4)), lines=True,
        change=("Server_Client_Calls=80",), better=REFUSED,
    ),
    Situation(
        "method_limit: calls wait for it beside idle workers", ("method_limit:work.report",),
        size(20, 40, "work.report=2,100"), (calls(sleep(random(40)), connections=10, method="work.report"),),
        lines=True, change=("work.report=10,100",), brings=5.0,
    ),
    Situation(
        "method_limit: open, it refuses half", ("method_limit:work.report",), size(40, 60, "work.report=4,4"),
        (calls(sleep(random(20)), rate=400, connections=8, method="work.report"),), lines=True,
        change=("work.report=40,40",), brings=2.3,
    ),
    Situation(
        "buffers: calls are refused", ("buffers",), size(4, 40, "Server_Buffer_Memory_MB=16"),
        (Large(argument=(sleep(fixed(50)),), connections=20, out=10, bytes=100_000),), lines=True,
        change=("Server_Buffer_Memory_MB=64",), better=REFUSED, alone=True,
    ),
    Situation(
        "buffers: connections are closed", ("buffers",), size(10, 40, "Server_Buffer_Memory_MB=16"),
        (Large(argument=(sleep(fixed(50)),), connections=60),), lines=True, change=("Server_Buffer_Memory_MB=128",),
        better=REFUSED, alone=True,
    ),
    Situation(
        "nested: handlers call their own server", ("nested",), size(4, 40),
        (calls(call("FIRST", "work.read", sleep(fixed(5))), connections=12),), lines=True,
        change=("Server_Nested_Reserve=1",), better=REFUSED,
    ),
    Situation(
        "nested: through a second server", ("nested",), size(4, 40),
        (calls(call("SECOND", "work.run", call("FIRST", "work.read", sleep(fixed(5)))), connections=12),),
        lines=True, second=size(20, 40), change=("Server_Nested_Reserve=1",), better=REFUSED,
    ),
    Situation(
        "deadlock: two servers call each other", ("deadlock", "nested"), size(4, 40),
        (
            calls(call("SECOND", "work.read", sleep(fixed(5))), connections=20),
            calls(call("FIRST", "work.read", sleep(fixed(5))), connections=20, port=-1),
        ),
        lines=False, second=size(4, 40), change=("Server_Pool_Tasks=16",),
    ),
)

SEVERAL = (
    Situation(
        "two: permits, and connections are refused", ("users", "throttle"), size(40, 10, "Server_MaxUsers=40"),
        (calls(sleep(random(40)), connections=30), Coming(count=30)), lines=True,
        change=("Server_Max_Concurrent_Trans=40", "Server_MaxUsers=80"), better=REFUSED,
    ),
    Situation(
        "two: workers of one port, then permits of all", ("pool", "throttle"), size(6, 16),
        each(2, lambda port: calls(sleep(random(30)), connections=24 if port else 8, port=port)), ports=2, lines=True,
        change=("PORT2_Pool_Tasks=24", "Server_Max_Concurrent_Trans=40"), brings=2.5,
    ),
    Situation(
        "two: a lock, and the workers of another port", ("pool:PORT1", "method:work.write"), size(10, 64),
        (
            calls(sleep(random(40)), connections=30),
            calls({"std_lock": random(10)}, connections=20, method="work.write", port=1),
        ),
        ports=2, change=size(30, 64), brings=2.4,
    ),
    Situation(
        "load that changes: light, then heavy", ("throttle",), size(40, 10),
        (calls(sleep(random(40)), connections=5), calls(sleep(random(40)), connections=30, begin=12)), lines=True,
        change=("Server_Max_Concurrent_Trans=40",), brings=3.5,
    ),
    Situation(
        "load that changes: heavy, then light", ("nothing",), size(40, 10),
        (calls(sleep(random(40)), connections=5), calls(sleep(random(40)), connections=30, end=12)), lines=False,
        change=("Server_Max_Concurrent_Trans=40",),
    ),
    Situation(
        "load that changes: permits, then a lock", ("method:work.write",), size(30, 10),
        (
            calls(sleep(random(40)), connections=30, end=12),
            calls({"std_lock": random(10)}, connections=30, begin=12, method="work.write"),
        ),
        change=size(30, 30),
    ),
)

SITUATIONS = (*HEALTHY, *THROTTLE, *POOL, *METHOD, *CPU, *LIMITS, *SEVERAL)

# Changes that no verdict proposes: situations by name, and the lines asked of `whatif`.
WHAT_IF = (
    ("throttle: 3 x 40 workers, 20 permits, 200 callers", ("Server_Max_Concurrent_Trans=50",)),
    ("pool: open, twice what 8 workers do, refused", ("Server_Pool_Tasks=12",)),
    ("pool: run times of two kinds", ("Server_Pool_Tasks=16",)),
    ("pool: one of three ports full", ("Server_Max_Concurrent_Trans=6",)),
    ("lock: std, random", ("Server_Pool_Tasks=6",)),
)
