#!/usr/bin/env python3
"""Measures tarpc, tonic and thrift beside Boneyard: the same loads, the same way, the same table as benches/compare.py.

    benches/peers/run.py                               about eight minutes, after a long build
    benches/peers/run.py --write docs/PERFORMANCE.md   ... and the table goes into that page

README.md beside this file says what each peer is given. Python 3.11 standard library only; Linux only.
"""

import argparse
import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import compare
from compare import BONEYARD, BONEYARD_40, DEEP, FLOOR, MANY, ONE, SLEEP, SLEEPERS
from measure import Server, build, free_port, heading, write_between


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
        size = [load.connections, load.out, load.method]
        return [place.programs.peers, "load", self.library, address, *size, options.warm_up, options.seconds]


TARPC = [Peer("tarpc, inline", "tarpc"), Peer("tarpc, pool", "tarpc", "pool")]
TONIC = [Peer("tonic, inline", "tonic"), Peer("tonic, pool", "tonic", "pool")]
# A connection of thrift's has a thread to itself, so an echo is given as many as there are connections.
THRIFT = Peer("thrift", "thrift", workers=64)
THRIFT_40 = Peer("thrift, 40 threads", "thrift")

LOADS = [
    dataclasses.replace(ONE, subjects=[FLOOR, BONEYARD, *TARPC, *TONIC, THRIFT]),
    dataclasses.replace(MANY, subjects=[FLOOR, BONEYARD, *TARPC, *TONIC, THRIFT]),
    dataclasses.replace(DEEP, subjects=[FLOOR, BONEYARD, *TARPC, *TONIC]),
    dataclasses.replace(SLEEP, subjects=[BONEYARD_40, TARPC[1], TONIC[1], THRIFT_40]),
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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    compare.arguments(parser, LOADS)
    options = parser.parse_args()
    record = compare.record_of(options, LOADS, Programs)
    figures = compare.Figures(record)
    troubles = [f"- not all went well: {trouble}" for trouble in figures.troubles()]
    parts = [heading(record), compare.load_table(figures, LOADS), "\n".join([*starved(record), *troubles])]
    text = "\n\n".join(part for part in parts if part)
    print(text)
    if options.write:
        write_between(options.write, "peers", text)


if __name__ == "__main__":
    main()
