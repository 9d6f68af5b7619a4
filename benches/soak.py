#!/usr/bin/env python3
"""Puts a server of small pools under everything at once, and checks that all is as before when it is over.

    benches/soak.py                                 ten minutes; Markdown on standard output
    benches/soak.py --minutes 600                   a night
    benches/soak.py --check                         ... and exit code 1 where a target is missed
    benches/soak.py --write docs/MEASUREMENTS.md    ... and the tables go into that page
    benches/soak.py --smoke                         about twenty seconds; exit code 1 where a target is missed

At once: normal load in a closed and in an open loop, floods with deadlines that cannot be kept, handlers that block,
clients that are killed, and the crowds of crowd.py. The server is read from outside, once a second. Everything runs
on this machine over loopback. Python 3.11 standard library only; Linux only.
"""

import json
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from crowd import Peer
from measure import (
    ROOT, Failure, Server, build, circumstances, command_on, heading, ini, note, parser_of, show, shown, table,
    verdicts,
)  # fmt: skip

WORKERS = 8
PERMITS = 6
PORTS = 2

# Smaller limits than usual, so that they are reached.
LINES = [
    "Log_Level=info",
    "Server_Queue_Limit=200",
    "Server_CoDel_Mode=refuse",
    "Server_Hello_Timeout=5",
    "Server_Frame_Timeout=5",
    "Server_Send_Timeout=5",
    "Server_Session_Timeout=1",
]
DESCRIPTORS = 2500

# The crowds, their port, and their size.
CROWDS = [
    ("idle", 0, 1000),
    ("churn", 0, 1),
    ("loris", 1, 100),
    ("deaf", 1, 20),
    ("reset", 0, 1),
    ("noise", 1, 1),
    ("cancel", 0, 10),
    ("press", 1, 2000),
    ("session", 0, 5),
]

# Loads by `boneyard bench`: name, port, seconds of each turn, seconds between two, and the options.
LOADS = [
    ("closed loop", 0, 3, 0, ["-c", 2, "-o", 1, "--method", "load.sleep", "--arguments", 2]),
    ("open loop", 1, 3, 0, ["-c", 4, "--rate", 500]),
    ("flood", 0, 2, 4, ["-c", 16, "--rate", 6000, "--method", "load.sleep", "--arguments", 2, "--deadline", 0.02]),
    ("blocking", 1, 3, 1, ["-c", 2, "-o", 2, "--method", "load.block", "--arguments", 20]),
]
NORMAL = ["closed loop", "open loop"]

# A rehearsal method that panics, if there is one, and its line in the log.
PANIC = "load.panic"

# Growth of memory from the second third of the time to the last: a share and a constant.
GROWTH_SHARE = 0.05
MIB = 1 << 20

# Time until all must be as before, in seconds: no time-out of the server is longer than a minute, and it checks that of
# sessions once a minute.
SETTLE = 150


class Loads:
    """Loads that run turn after turn, each in a thread, until told to end."""

    def __init__(self, programs, server):
        self.programs, self.server = programs, server
        self.ended = threading.Event()
        self.found = {name: {"done": 0, "refused": 0, "lost": 0} for name, *_ in LOADS}
        self.found["killed"] = {"done": 0, "refused": 0, "lost": 0}
        self.troubles = []
        self.threads = [threading.Thread(target=self._load, args=load) for load in LOADS]
        self.threads.append(threading.Thread(target=self._kill))

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        for thread in self.threads:
            thread.join()

    def _start(self, port, options):
        command = [self.programs / "boneyard", "bench", self.server.addresses[port], "--json", *options]
        return subprocess.Popen(command_on(None, command), stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def _load(self, name, port, seconds, pause, options):
        found = self.found[name]
        while not self.ended.is_set():
            process = self._start(port, [*options, "-d", seconds, "--warm-up", 0.01])
            out, said = process.communicate()
            if process.returncode == 0:
                run = json.loads(out)
                found["done"] += run["ok"]
                found["refused"] += sum(run["errors"].values())
                found["lost"] += run["connections_lost"]
                # At the end of a closed loop some are always out.
                found["lost"] += run["unanswered"] if "--rate" in options else 0
            else:
                # While there are no descriptors there are no connections.
                self.troubles.append(f"{name}: {said.decode(errors='replace').strip()}")
            self.ended.wait(pause)

    def _kill(self):
        while not self.ended.wait(0.5):
            process = self._start(0, ["-c", 4, "-o", 8, "--method", "load.sleep", "--arguments", 1, "-d", 60])
            self.ended.wait(0.7)
            process.kill()
            process.communicate()
            self.found["killed"]["done"] += 1


class Crowds:
    """The processes of crowd.py."""

    def __init__(self, server, share):
        self.started = []
        for at, (kind, port, count) in enumerate(CROWDS):
            count = max(1, int(count * share)) if count >= 100 else count
            command = [sys.executable, ROOT / "benches/crowd.py", kind, server.addresses[port], count]
            command += [f"127.0.1.{at + 1}"]
            self.started.append((kind, command))
        self.found = {}

    def __enter__(self):
        self.started = [
            (kind, subprocess.Popen(command_on(None, command), stdin=subprocess.PIPE, stdout=subprocess.PIPE))
            for kind, command in self.started
        ]
        return self

    def __exit__(self, *_):
        for _, process in self.started:
            process.stdin.close()
            process.stdin = None
        for kind, process in self.started:
            try:
                out, _ = process.communicate(timeout=60)
                self.found[kind] = {"lost": None, **json.loads(out)}
            except (subprocess.TimeoutExpired, json.JSONDecodeError):
                process.kill()
                process.wait()


def info(server):
    """The answer of `server.info`; None while the server refuses connections."""
    peer = None
    try:
        peer = Peer(server.address, patience=5)
        return peer.ask("server.info", None)
    except OSError:
        return None
    finally:
        if peer:
            peer.close()


def panic(server):
    """Makes a handler panic, if the server has such a method."""
    try:
        peer = Peer(server.address, patience=5)
        if PANIC in peer.methods:
            peer.ask(PANIC, None)
        peer.close()
    except OSError:
        pass


def sample(server, start):
    said = info(server) or {}
    return {
        "at": time.monotonic() - start,
        "rss": server.rss(),
        "threads": server.threads(),
        "descriptors": server.descriptors(),
        **{key: said.get(key) for key in ("in_flight", "permits_out", "answered", "sessions")},
    }


def settled(server, before, smoke):
    """The last sample, once all is as before or the time for that is over."""
    start = time.monotonic()
    while True:
        # The connection of the last sample may still be open.
        time.sleep(0.2)
        last = {**sample(server, start), "descriptors": None}
        time.sleep(0.2)
        last["descriptors"] = server.descriptors()
        same = last["descriptors"] == before["descriptors"] and last["in_flight"] == 1
        same = same and (smoke or last["sessions"] == 1)
        if same or last["at"] > SETTLE:
            return last


def live(server, programs, options):
    """The whole life of the server."""
    info(server)
    time.sleep(0.5)
    before = settled(server, {"descriptors": server.descriptors()}, options.smoke)
    start, samples = time.monotonic(), []
    crowds, loads = Crowds(server, 0.2 if options.smoke else 1), Loads(programs, server)
    with crowds, loads:
        while time.monotonic() - start < options.seconds:
            time.sleep(1)
            samples.append(sample(server, start))
            panic(server)
            if server.process.poll() is not None:
                raise Failure(f"the server ended with {server.process.returncode}")
            if len(samples) % 60 == 0:
                note(f"{len(samples)} looks, {samples[-1]['rss'] / MIB:.1f} MiB")
    after = settled(server, before, options.smoke)
    server.process.send_signal(signal.SIGTERM)
    return {
        "before": before,
        "samples": samples,
        "after": after,
        "found": {**loads.found, **crowds.found},
        "missing": [kind for kind, *_ in CROWDS if kind not in crowds.found],
        "troubles": loads.troubles,
        "exit": server.process.wait(timeout=60),
    }


def measure(options):
    with tempfile.TemporaryDirectory() as folder:
        programs = build(not options.smoke)
        log = Path(folder) / "server.log"
        path, ports = ini(folder, PERMITS, WORKERS, PORTS, [*LINES, f"Log_File={log}"])
        limited = ["sh", "-c", f'ulimit -n {DESCRIPTORS // (5 if options.smoke else 1)} && exec "$0" "$@"']
        with Server([*limited, programs / "boneyard", "serve", path], ports) as server:
            record = live(server, programs, options)
        lines = log.read_text(errors="replace").splitlines()
    errors = [line for line in lines if " ERROR " in line and PANIC not in line and "panicked" not in line]
    return {
        **circumstances(options),
        "seconds": options.seconds,
        **record,
        "log_lines": len(lines),
        "log_errors": errors,
        "last_words": lines[-1] if lines else "",
    }


def thirds(record):
    """The samples of each third of the time."""
    samples = record["samples"]
    third = max(1, len(samples) // 3)
    return samples[:third], samples[third : 2 * third], samples[2 * third :]


def middle(samples, key):
    values = [sample[key] for sample in samples if sample[key] is not None]
    return statistics.median(values) if values else None


def targets(record):
    """Each target: what it says, its bound, the figure, and whether it is met."""
    exactly = lambda what, value, expected: (what, f"{expected}", value, value == expected)
    before, after = record["before"], record["after"]
    for name in NORMAL:
        found = record["found"][name]
        yield f"{name}: calls answered", "over 0", found["done"], found["done"] > 0
        yield exactly(f"{name}: connections lost, calls without an answer", found["lost"], 0)
    yield exactly("crowds that did not end in order", len(record["missing"]), 0)
    yield exactly("descriptors afterwards, as before", after["descriptors"], before["descriptors"])
    threads = {sample["threads"] for sample in record["samples"]} | {after["threads"]}
    for bound, value in (("fewest", min(threads)), ("most", max(threads))):
        yield exactly(f"threads, {bound} at any look, as before", value, before["threads"])
    yield exactly("calls in flight afterwards, the one that asks included", after["in_flight"], 1)
    if not record["smoke"]:
        yield exactly("sessions afterwards, that of the connection that asks", after["sessions"], 1)
    out = after["permits_out"]
    yield "permits out afterwards, with that of the call that asks", "at most 1", out, out is not None and out <= 1
    if not record["smoke"]:
        _, second, last = thirds(record)
        growth = middle(last, "rss") - middle(second, "rss")
        bound = GROWTH_SHARE * middle(second, "rss") + MIB
        what = "memory, MiB more in the last third than in the second"
        yield what, f"at most {bound / MIB:.1f}", growth / MIB, growth <= bound
    yield exactly("errors in the log", len(record["log_errors"]), 0)
    yield exactly("exit code after SIGTERM", record["exit"], 0)
    lost = 0 if record["last_words"].endswith("Stopped, 0 lost") else None
    yield exactly("calls lost by the stop", lost, 0)


def life_table(record):
    head = ["", "memory MiB", "threads", "descriptors", "in flight", "permits out", "calls answered"]
    rows = []
    times = [("before", [record["before"]])]
    times += list(zip(("first third", "second third", "last third"), thirds(record)))
    for title, samples in [*times, ("afterwards", [record["after"]])]:
        rss = middle(samples, "rss")
        figures = [shown(middle(samples, key), 0) for key in ("threads", "descriptors", "in_flight", "permits_out")]
        answered = [sample["answered"] for sample in samples if sample["answered"] is not None]
        rows.append([title, shown(rss and rss / MIB), *figures, f"{max(answered):,}" if answered else "-"])
    return table(head, rows)


def crowd_table(record):
    rows = []
    for name, found in record["found"].items():
        rows.append([name, f"{found['done']:,}", f"{found['refused']:,}", shown(found["lost"], 0)])
    return table(["load or crowd", "done", "refused or cut off", "lost"], rows)


def render(record):
    what = f"{record['seconds'] / 60:g} minutes,"
    what += f" {PORTS} ports of {WORKERS} workers, {PERMITS} permits; medians of a look each second."
    parts = [heading(record, what), life_table(record), crowd_table(record), verdicts(targets(record))]
    if troubles := record["troubles"]:
        parts.append(f"- turns of loads that came to nothing: {len(troubles)}; the last: {troubles[-1]}")
    parts.append("\n".join(f"- in the log: `{line}`" for line in record["log_errors"][:10]))
    return "\n\n".join(part for part in parts if part)


def main():
    parser = parser_of(__doc__)
    parser.add_argument("--minutes", type=float, default=10, help="how long it lasts (10)")
    options = parser.parse_args()
    options.seconds = 12 if options.smoke else 60 * options.minutes
    record = show(options, measure, render, "soak")
    checked = options.check or options.smoke
    return 1 if checked and not all(met for *_, met in targets(record)) else 0


if __name__ == "__main__":
    sys.exit(main())
