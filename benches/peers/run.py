#!/usr/bin/env python3
"""Measures Boneyard through its client library beside tarpc, tonic and thrift through theirs, as benches/compare.py does.

    benches/peers/run.py                               about twelve minutes, after a long build
    benches/peers/run.py --check                       ... and exit code 1 where a target is missed
    benches/peers/run.py --write docs/PERFORMANCE.md   ... and the table goes into that page

README.md beside this file says what each peer is given. Python 3.11 standard library only; Linux only.
"""

import argparse
import dataclasses
import sys
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import compare
from compare import BONEYARD, BONEYARD_40, DEEP, FLOOR, LARGE, MANY, ONE, SLEEP, SLEEPERS
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
class Library(Peer):
    """Boneyard's client library, pressing Boneyard's server."""

    server: compare.Subject = field(default_factory=lambda: BONEYARD)

    def start(self, place, core):
        return self.server.start(place, core)


FUTURES = Library("boneyard, library: futures", "boneyard-futures")
THREADS = Library("boneyard, library: threads", "boneyard-threads")
OURS = [FUTURES, THREADS, BONEYARD]
TARPC = [Peer("tarpc, inline", "tarpc"), Peer("tarpc, pool", "tarpc", "pool")]
TONIC = [Peer("tonic, inline", "tonic"), Peer("tonic, pool", "tonic", "pool")]
# A connection of thrift's has a thread to itself, so an echo is given as many as there are connections.
THRIFT = Peer("thrift", "thrift", workers=64)
THRIFT_40 = Peer("thrift, 40 threads", "thrift")

SLEEPING = [dataclasses.replace(library, server=BONEYARD_40) for library in (FUTURES, THREADS)]

PAIR = dataclasses.replace(ONE, key="pair", title="1 x 1, two cores", core=None)
LOADS = [
    dataclasses.replace(PAIR, subjects=[FLOOR, *OURS, *TARPC, *TONIC, THRIFT]),
    dataclasses.replace(ONE, subjects=[FLOOR, *OURS, *TARPC, *TONIC, THRIFT]),
    dataclasses.replace(MANY, subjects=[FLOOR, *OURS, *TARPC, *TONIC, THRIFT]),
    dataclasses.replace(DEEP, subjects=[FLOOR, *OURS, *TARPC, *TONIC]),
    dataclasses.replace(LARGE, subjects=[FLOOR, *OURS, *TARPC, *TONIC, THRIFT]),
    dataclasses.replace(SLEEP, subjects=[*SLEEPING, BONEYARD_40, TARPC[1], TONIC[1], THRIFT_40]),
]


class Programs:
    """Boneyard's and the peers', each in the folder its own build put it."""

    def __init__(self, release):
        self.ours = build(release)
        self.peers = build(release, HERE) / "peers"

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
        ("many", "64 x 1: calls/s of futures, of tarpc's", FUTURES, "calls_per_second", TARPC[0], 1.3),
        ("many", "64 x 1: calls/s of threads, of tarpc's", THREADS, "calls_per_second", TARPC[0], 1.0),
        ("deep", "8 x 32: calls/s of futures, of tarpc's", FUTURES, "calls_per_second", TARPC[0], 2.5),
        ("large", "8 x 64 KiB: MB/s of futures, of the floor's", FUTURES, "megabytes_per_second", FLOOR, 0.55),
        ("large", "8 x 64 KiB: MB/s of futures, of tarpc's", FUTURES, "megabytes_per_second", TARPC[0], 1.6),
    ]
    for load, what, subject, key, to, bound in rows:
        if figures.has(load):
            value = figures.ratio(load, subject, key, to)
            if bound < 0:
                yield what, f"at most {-bound}", value, value <= -bound
            else:
                yield what, f"at least {bound}", value, value >= bound


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    compare.arguments(parser, LOADS)
    parser.add_argument("--check", action="store_true", help="exit code 1 where a target is missed")
    options = parser.parse_args()
    record = compare.record_of(options, LOADS, Programs)
    figures = compare.Figures(record)
    troubles = [f"- not all went well: {trouble}" for trouble in figures.troubles()]
    judged = "" if record["smoke"] else verdicts(targets(figures))
    parts = [heading(record), compare.load_table(figures, LOADS), judged]
    parts.append("\n".join([*starved(record), *troubles]))
    text = "\n\n".join(part for part in parts if part)
    print(text)
    if options.write:
        write_between(options.write, "peers", text)
    return 1 if options.check and not all(met for *_, met in targets(figures)) else 0


if __name__ == "__main__":
    sys.exit(main())
