#!/usr/bin/env python3
"""Measures calls from Python: the wheel of python/, the client of examples/, and grpcio.

    benches/python.py                               three minutes, after a long build; Markdown on standard output
    benches/python.py --check                       ... and exit code 1 where a target is missed
    benches/python.py --write docs/PERFORMANCE.md   ... and the tables go into that page
    benches/python.py --smoke                       a few seconds, without grpcio: does it work?

grpcio, which is C below Python, calls the tonic server of benches/peers, inline: a server in Python would be slower
than its client. The payload is 64 bytes both ways, for grpcio as they are and without protobuf, for the others as a
text in JSON. Each load is run A B A B with a fresh server process and a fresh client process for each run; figures are
medians over the rounds. Everything runs on this machine over loopback; nothing else should run meanwhile. Python 3.11
standard library only, except what python/check installs into its own environment; Linux only.
"""

import contextlib
import functools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from measure import (
    ROOT, Failure, Server, build, circumstances, free_port, heading, ini, median, note, parser_of, press, show, shown,
    table, verdicts,
)  # fmt: skip

PAYLOAD = 64
OUT = 64
LOADS = {"one": "one by one", "pipelined": f"pipelined, {OUT} out", "asyncio": f"asyncio, {OUT} tasks"}
CALLS_OUT = {"one": 1, "pipelined": OUT, "asyncio": OUT}
SUBJECTS = {
    "wheel": ["one", "pipelined", "asyncio"],
    "examples/client.py": ["one", "pipelined"],
    "grpcio": ["one", "pipelined", "asyncio"],
}
RATIO = 5


class Count:
    """Calls and their times, from the end of the warm-up on."""

    def __init__(self, warm_up, seconds):
        self.warm_up, self.seconds = warm_up, seconds
        self.times = []

    def start(self):
        """The connections are made: the warm-up begins."""
        self.begin = time.perf_counter() + self.warm_up
        self.end = self.begin + self.seconds

    def answered(self, start, answer, expected):
        """Counts a call; false when it is time to stop."""
        now = time.perf_counter()
        if answer != expected:
            raise SystemExit(f"the answer is not what was expected: {answer!r}")
        if self.begin <= now < self.end:
            self.times.append(now - start)
        return now < self.end

    def json(self):
        self.times.sort()
        at = lambda part: self.times[min(int(len(self.times) * part), len(self.times) - 1)] * 1e6 if self.times else 0
        latency = {"p50_us": at(0.5), "p99_us": at(0.99), "max_us": at(1)}
        rate = len(self.times) / self.seconds
        return json.dumps({"ok": len(self.times), "errors": {}, "calls_per_second": rate, "latency": latency})


@dataclass
class Work:
    """The call that is made again and again, and how many of it are out on each connection."""

    method: str
    argument: object
    out: int
    count: Count

    @property
    def expected(self):
        return None if self.method == "load.sleep" else self.argument

    def answered(self, start, answer):
        return self.count.answered(start, answer, self.expected)


def one_by_one(call, work):
    call(work.argument)
    work.count.start()
    going = True
    while going:
        start = time.perf_counter()
        going = work.answered(start, call(work.argument))


def pipelined(start_call, work):
    start_call(work.argument).result()
    work.count.start()
    out = deque((time.perf_counter(), start_call(work.argument)) for _ in range(work.out))
    going = True
    while out:
        start, call = out.popleft()
        going = work.answered(start, call.result()) and going
        if going:
            out.append((time.perf_counter(), start_call(work.argument)))


async def tasks(calls, work):
    """As many tasks as calls are out on each connection; `calls` has a function of each."""
    import asyncio

    async def task(call):
        going = True
        while going:
            start = time.perf_counter()
            going = work.answered(start, await call(work.argument))

    await asyncio.gather(*(call(work.argument) for call in calls))
    work.count.start()
    await asyncio.gather(*(task(call) for call in calls for _ in range(work.out)))


def load_ours(subject, load, address, connections, work):
    if load == "asyncio":
        import asyncio

        from boneyard.aio import Client

        async def run():
            async with contextlib.AsyncExitStack() as stack:
                clients = [await stack.enter_async_context(Client(address)) for _ in range(connections)]
                await tasks([functools.partial(client.call, work.method) for client in clients], work)

        return asyncio.run(run())
    if subject == "wheel":
        from boneyard import Client
    else:
        sys.path.insert(0, str(ROOT / "examples"))
        from client import Client
    with Client(address) as client:
        if load == "one":
            one_by_one(functools.partial(client.call, work.method), work)
        else:
            pipelined(functools.partial(client.start, work.method), work)


def load_grpcio(load, address, work):
    import grpc

    work.argument, method = work.argument.encode(), "/peer.Peer/Echo"
    if load == "asyncio":
        import asyncio

        async def run():
            async with grpc.aio.insecure_channel(address) as channel:
                await tasks([channel.unary_unary(method)], work)

        return asyncio.run(run())
    with grpc.insecure_channel(address) as channel:
        call = channel.unary_unary(method)
        if load == "one":
            one_by_one(call, work)
        else:
            pipelined(call.future, work)


def load(subject, load, address, connections, out, method, size, warm_up, seconds):
    """The client process: one run, its outcome as JSON. More than one connection only with the wheel and asyncio."""
    count = Count(float(warm_up), float(seconds))
    argument = "x" * int(size) if method == "echo" else int(size)
    work = Work(f"load.{method}", argument, int(out), count)
    if subject == "grpcio":
        load_grpcio(load, address, work)
    else:
        load_ours(subject, load, address, int(connections), work)
    print(count.json())


def install(release):
    """Builds the wheel and installs it, with what it is compared with; returns the Python that has it."""
    subprocess.run([ROOT / "python/check", *(["--release"] if release else []), "--install"], check=True)
    return ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "python/venv/bin/python"


def server_for(subject, programs, peers, folder):
    if subject == "grpcio":
        port = free_port()
        return Server([peers, "serve", "tonic", "inline", f"127.0.0.1:{port}", 40], [port])
    path, ports = ini(folder, 20)
    return Server([programs / "boneyard", "serve", path], ports)


def measure(options):
    python = install(not options.smoke)
    programs, peers = build(not options.smoke), options.peers
    if not options.smoke:
        peers = peers or build(True, ROOT / "benches/peers") / "peers"
    runs = {}
    with tempfile.TemporaryDirectory() as folder:
        for load in LOADS:
            for turn in range(options.rounds):
                for subject in SUBJECTS:
                    if load not in SUBJECTS[subject] or (subject == "grpcio" and not peers):
                        continue
                    with server_for(subject, programs, peers, folder) as server:
                        command = [python, __file__, "load", subject, load, server.address, 1, CALLS_OUT[load]]
                        command += ["echo", PAYLOAD, options.warm_up, options.seconds]
                        run = press(server, command, 1, options.seconds, options.warm_up)
                    if run["ok"] == 0:
                        raise Failure(f"no call was answered: {run}")
                    note(f"{LOADS[load]}, round {turn + 1}, {subject}: {run['calls_per_second']:,.0f} calls/s")
                    runs.setdefault(load, {}).setdefault(subject, []).append(run)
    return {
        **circumstances(options),
        "rounds": options.rounds,
        "seconds": options.seconds,
        "runs": runs,
    }


def ratio(record, load, subject):
    """Calls a second, of grpcio's."""
    runs = record["runs"][load]
    if "grpcio" not in runs:
        return None
    return median(runs[subject], "calls_per_second") / median(runs["grpcio"], "calls_per_second")


def targets(record):
    """Each target: what it says, its bound, the figure, and whether it is met."""
    for load in record["runs"]:
        value = ratio(record, load, "wheel")
        yield f"{LOADS[load]}: calls/s of the wheel, of grpcio's", f"at least {RATIO}", value, value >= RATIO


def render(record):
    head = ["load", "client", "calls/s", "of grpcio", "p50 us", "p99 us"]
    rows = []
    for load, subjects in record["runs"].items():
        for subject, runs in subjects.items():
            figures = [shown(median(runs, "calls_per_second")), shown(ratio(record, load, subject), 2)]
            figures += [shown(median(runs, key)) for key in ("p50_us", "p99_us")]
            rows.append([LOADS[load], subject, *figures])
    parts = [heading(record), table(head, rows)]
    if not record["smoke"]:
        parts.append(verdicts(targets(record)))
    return "\n\n".join(parts)


def main():
    if sys.argv[1:2] == ["load"]:
        return load(*sys.argv[2:])
    parser = parser_of(__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="rounds (5)")
    parser.add_argument("--seconds", type=float, default=3, help="counted seconds of a run (3)")
    parser.add_argument("--warm-up", type=float, default=1, help="seconds before counting begins (1)")
    parser.add_argument("--peers", metavar="PROGRAM", help="the program of benches/peers, where it is built already")
    options = parser.parse_args()
    if options.smoke:
        options.rounds, options.seconds, options.warm_up = 1, 0.5, 0.3
    record = show(options, measure, render, "python")
    return 1 if options.check and not options.smoke and not all(met for *_, met in targets(record)) else 0


if __name__ == "__main__":
    sys.exit(main())
