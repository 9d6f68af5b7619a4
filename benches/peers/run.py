#!/usr/bin/env python3
"""Measures Boneyard through its client libraries beside tarpc, tonic and thrift through theirs, as benches/compare.py does.

    benches/peers/run.py                               about 25 minutes, after a long build
    benches/peers/run.py --check                       ... and exit code 1 where a target is missed
    benches/peers/run.py --write docs/PERFORMANCE.md   ... and the table goes into that page
    benches/peers/run.py --smoke --ours                half a minute, without the long build: does it work?

README.md beside this file says what each peer is given. Python 3.11 standard library only; Linux only.
"""

import argparse
import dataclasses
import sys
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import capi
import compare
import python
from compare import BONEYARD, BONEYARD_40, DEEP, FLOOR, LARGE, MANY, ONE, SLEEP, SLEEPERS, WHERE_READ
from measure import Server, build, free_port, heading, verdicts, write_between


@dataclass
class Peer:
    """A library, and where its handlers run."""

    name: str
    library: str
    place: str = "inline"
    workers: int = SLEEPERS

    def start(self, place, core):
        port = free_port()
        command = [place.programs.peers, "serve", self.library, self.place, f"127.0.0.1:{port}", self.workers]
        return Server(command, [port], core)

    def press(self, place, load, address, options):
        size = [load.connections, load.out, load.method, load.payload]
        return [place.programs.peers, "load", self.library, address, *size, options.warm_up, options.seconds]


@dataclass
class Library:
    """One of Boneyard's client libraries, pressing Boneyard's server."""

    name: str
    client: str
    style: list = field(default_factory=list)
    server: compare.Subject = field(default_factory=lambda: BONEYARD)

    def start(self, place, core):
        return self.server.start(place, core)

    def press(self, place, load, address, options):
        size = [load.connections, load.out, load.method, load.argument or load.payload]
        client = place.programs.clients[self.client]
        return [*client, *self.style, address, *size, options.warm_up, options.seconds]


FUTURES = Library("boneyard, library: futures", "rust", ["futures"])
THREADS = Library("boneyard, library: threads", "rust", ["threads"])
C = Library("boneyard, C library", "c")
ASYNCIO = Library("boneyard, Python: asyncio", "python", ["asyncio"])
# What a program with one call at a time would write instead.
BLOCKING = Library("boneyard, Python: blocking", "python", ["one"])
LIBRARIES = [FUTURES, THREADS, C, ASYNCIO]
TARPC = [Peer("tarpc, inline", "tarpc"), Peer("tarpc, pool", "tarpc", "pool")]
TONIC = [Peer("tonic, inline", "tonic"), Peer("tonic, pool", "tonic", "pool")]
# A connection of thrift's has a thread to itself, so an echo is given as many as there are connections.
THRIFT = Peer("thrift", "thrift", workers=64)
THRIFT_40 = Peer("thrift, 40 threads", "thrift")

FUTURES_THERE = dataclasses.replace(FUTURES, name=f"{FUTURES.name}, where read", server=WHERE_READ)
THREADS_THERE = dataclasses.replace(THREADS, name=f"{THREADS.name}, where read", server=WHERE_READ)

SLEEPING = [dataclasses.replace(library, server=BONEYARD_40) for library in LIBRARIES]

OF_ONE = [
    FLOOR, *LIBRARIES, BLOCKING, FUTURES_THERE, THREADS_THERE, BONEYARD, WHERE_READ, *TARPC, *TONIC, THRIFT
]  # fmt: skip
OF_MANY = [FLOOR, *LIBRARIES, BONEYARD, WHERE_READ, *TARPC, *TONIC]
PAIR = dataclasses.replace(ONE, key="pair", title="1 x 1, two cores", core=None)
LOADS = [
    dataclasses.replace(PAIR, subjects=OF_ONE),
    dataclasses.replace(ONE, subjects=OF_ONE),
    dataclasses.replace(MANY, subjects=[*OF_MANY, THRIFT]),
    dataclasses.replace(DEEP, subjects=OF_MANY),
    dataclasses.replace(LARGE, subjects=[*OF_MANY, THRIFT]),
    dataclasses.replace(SLEEP, subjects=[*SLEEPING, BONEYARD_40, TARPC[1], TONIC[1], THRIFT_40]),
]


class Programs:
    """Boneyard's, the peers' and the clients of each language, each in the folder its own build put it."""

    def __init__(self, release, ours):
        self.ours = build(release)
        self.peers = None if ours else build(release, HERE) / "peers"
        self.clients = {
            "rust": [self.ours / "examples/client_load"],
            "c": [capi.compile_c(self.ours / "capi", release)],
            "python": [python.install(release), python.__file__, "load", "wheel"],
        }

    def __truediv__(self, name):
        return self.ours / name


def starved(record):
    """Connections that were never served: latencies of those that were do not show it."""
    for load, subjects in record["runs"].items():
        for subject, runs in subjects.items():
            worst = max(run.get("starved", 0) for run in runs)
            if worst:
                title = next(known.title for known in LOADS if known.key == load)
                yield f"- {title}, {subject}: {worst} connections were never answered"


def targets(figures):
    """Each target: what it says, its bound, the figure, and whether it is met. All through the peers' own libraries."""
    rows = [
        ("pair", "1 x 1, two cores: p50 of threads, of the floor's", THREADS, "p50_us", FLOOR, -1.75),
        ("pair", "1 x 1, two cores: p50 of futures, of tarpc's", FUTURES, "p50_us", TARPC[0], -1.1),
        ("one", "1 x 1, one core: p50 of threads, of the floor's", THREADS, "p50_us", FLOOR, -2.0),
        ("one", "1 x 1, one core: p50 of futures, of the floor's", FUTURES, "p50_us", FLOOR, -2.4),
        ("pair", "1 x 1, two cores, where read: p50 alone, of the floor's", WHERE_READ, "p50_us", FLOOR, -1.15),
        ("pair", "1 x 1, two cores, where read: p50 of threads, of the floor's", THREADS_THERE, "p50_us", FLOOR, -1.25),
        ("pair", "1 x 1, two cores, where read: p50 of futures, of tarpc's", FUTURES_THERE, "p50_us", TARPC[0], -1.1),
        ("one", "1 x 1, one core, where read: p50 alone, of the floor's", WHERE_READ, "p50_us", FLOOR, -1.45),
        ("one", "1 x 1, one core, where read: p50 of threads, of the floor's", THREADS_THERE, "p50_us", FLOOR, -1.5),
        ("one", "1 x 1, one core, where read: p50 of futures, of the floor's", FUTURES_THERE, "p50_us", FLOOR, -1.8),
        ("one", "1 x 1, one core, where read: p50 of threads, of tarpc's", THREADS_THERE, "p50_us", TARPC[0], -1.0),
        ("one", "1 x 1, one core, where read: p50 of futures, of tarpc's", FUTURES_THERE, "p50_us", TARPC[0], -1.0),
        ("large", "8 x 64 KiB, where read: MB/s alone, of the floor's", WHERE_READ, "megabytes_per_second", FLOOR, 0.88),
        ("many", "64 x 1: calls/s of futures, of tarpc's", FUTURES, "calls_per_second", TARPC[0], 1.3),
        ("many", "64 x 1: calls/s of threads, of tarpc's", THREADS, "calls_per_second", TARPC[0], 1.0),
        ("deep", "8 x 32: calls/s of futures, of tarpc's", FUTURES, "calls_per_second", TARPC[0], 2.5),
        ("large", "8 x 64 KiB: MB/s of futures, of the floor's", FUTURES, "megabytes_per_second", FLOOR, 0.55),
        ("large", "8 x 64 KiB: MB/s of futures, of tarpc's", FUTURES, "megabytes_per_second", TARPC[0], 1.6),
    ]
    for load, what, subject, key, to, bound in rows:
        # Without the peers there is nothing to hold some of them against.
        value = figures.ratio(load, subject, key, to) if figures.has(load) else None
        if value is not None and bound < 0:
            yield what, f"at most {-bound}", value, value <= -bound
        elif value is not None:
            yield what, f"at least {bound}", value, value >= bound


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    compare.arguments(parser, LOADS)
    parser.add_argument("--check", action="store_true", help="exit code 1 where a target is missed")
    parser.add_argument("--ours", action="store_true", help="only Boneyard's libraries; builds no peers")
    options = parser.parse_args()
    if options.ours:
        for load in LOADS:
            load.subjects = [subject for subject in load.subjects if not isinstance(subject, Peer)]
    record = compare.record_of(options, LOADS, lambda release: Programs(release, options.ours))
    figures = compare.Figures(record)
    troubles = [f"- not all went well: {trouble}" for trouble in figures.troubles()]
    judged = "" if record["smoke"] else verdicts(targets(figures))
    parts = [heading(record), compare.load_table(figures, LOADS), judged]
    parts.append("\n".join([*starved(record), *troubles]))
    text = "\n\n".join(part for part in parts if part)
    print(text)
    if options.write:
        write_between(options.write, "peers", text)
    if options.smoke:
        return 1 if troubles else 0
    return 1 if options.check and not all(met for *_, met in targets(figures)) else 0


if __name__ == "__main__":
    sys.exit(main())
