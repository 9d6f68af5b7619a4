#!/usr/bin/env python3
"""Shows what hostile peers cost a client that behaves: its latency alone and beside each kind of crowd in turn.

    benches/hostile.py                                  about fifteen minutes; Markdown on standard output
    benches/hostile.py --check                          ... and exit code 1 where a target is missed
    benches/hostile.py --write docs/MEASUREMENTS.md     ... and the tables go into that page
    benches/hostile.py --smoke                          under a minute, small crowds: does it work? No figure means much

The client is `boneyard bench`: one connection, an open loop at a modest rate. A crowd is a process of this script. For
each kind there is a server of its own; rounds alone and beside the crowd alternate, and medians over rounds are shown.
Everything runs on this machine over loopback; nothing else should run meanwhile. Python 3.11 standard library only;
Linux only.
"""

import json
import multiprocessing
import random
import selectors
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from crowd import CALL, CANCEL, HELLO, JSON, NESTED, PING, PREFACE, Peer, frame, greeting
from measure import (
    Failure, Server, build, circumstances, command_on, free_port, heading, ini, median, note, parser_of, show, shown,
    table, verdicts,
)  # fmt: skip

MIB = 1 << 20

# The client that behaves: its calls a second.
RATE = 500

# Settings of the servers: short time-outs, so that peers time out within a round, and little memory, so that it fills.
MEMORY_MB = 64
SETTINGS = {
    "Server_Buffer_Memory_MB": MEMORY_MB,
    "Server_Hello_Timeout": 3,
    "Server_Frame_Timeout": 3,
    "Server_Send_Timeout": 3,
}

# Memory that a server keeps besides for reuse: 8 MiB for its port, three times 128 KiB for each worker.
SPARE_MB = 16

# By default glibc keeps for each thread what it has freed: see docs/operations/attacked.md.
ALLOCATOR = "MALLOC_MMAP_THRESHOLD_=65536"

# Time until connections and memory must be back after a crowd has gone.
BACK_SECONDS = 10

def call(number, identity, arguments=b"", deadline_ms=0):
    return frame(CALL, number, identity, struct.pack("<II", 0, deadline_ms) + arguments)


def call_bytes(number, identity, size):
    return call(number, identity, struct.pack("<Q", size) + bytes(size))


# Address of the crowd that connects without end, so that the client that behaves is not counted with it.
CROWD_SOURCE = "127.0.0.2"

# Setting of the servers that have an admin server.
ADMIN_PORT = free_port()

# Workers and permits by default.
WORKERS = 20


def connect(address, greet=False, receive_buffer=None, source=None):
    peer = socket.socket()
    if source:
        peer.bind((source, 0))
    if receive_buffer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    peer.settimeout(5)
    peer.connect(address)
    if greet:
        peer.sendall(greeting())
    return peer


def method_number(address, name):
    """The number of a method at a server."""
    peer = Peer("%s:%d" % address)
    peer.close()
    return peer.methods[name]


def reset(peer):
    """Resets a connection."""
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


class Crowd:
    """A number of peers, each with bytes to send; one that is closed connects again."""

    def __init__(self, address, count, make, reads):
        self.address, self.make, self.reads = address, make, reads
        self.selector = selectors.DefaultSelector()
        self.peers = {}
        for _ in range(count):
            self.join()

    def join(self):
        try:
            peer, pending = self.make(self.address)
        except OSError:
            return
        peer.setblocking(False)
        self.peers[peer] = memoryview(pending)
        events = selectors.EVENT_READ if self.reads else 0
        events |= selectors.EVENT_WRITE if not self.reads else 0
        self.selector.register(peer, events)

    def leave(self, peer):
        self.selector.unregister(peer)
        del self.peers[peer]
        peer.close()

    def send(self, peer, count):
        """Sends up to so many bytes; False when the connection is closed."""
        try:
            sent = peer.send(self.peers[peer][:count])
            self.peers[peer] = self.peers[peer][sent:]
            return True
        except BlockingIOError:
            return True
        except OSError:
            return False

    def is_gone(self, peer):
        try:
            return not peer.recv(1 << 16)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def end(self):
        for peer in list(self.peers):
            self.leave(peer)


def slow_loris(address, count, over):
    """Half of them never finish their Hello, half a call; a byte a second each."""
    number = method_number(address, "load.echo")

    def make(address):
        if random.random() < 0.5:
            return connect(address), greeting()
        return connect(address, greet=True), call_bytes(number, 1, 1 << 16)

    crowd = Crowd(address, count, make, reads=True)
    due = time.monotonic()
    while not over.is_set():
        for key, _ in crowd.selector.select(max(0, min(due - time.monotonic(), 0.1))):
            if crowd.is_gone(key.fileobj):
                crowd.leave(key.fileobj)
                crowd.join()
        if time.monotonic() >= due:
            due += 1
            for peer in list(crowd.peers):
                if not crowd.send(peer, 1):
                    crowd.leave(peer)
                    crowd.join()
    crowd.end()


def never_read(address, count, over):
    """Each calls for 64 KiB again and again and reads none of it."""
    number = method_number(address, "load.echo")
    pending = b"".join(call_bytes(number, n, 1 << 16) for n in range(1, 200))
    make = lambda address: (connect(address, greet=True, receive_buffer=4096), pending)
    crowd = Crowd(address, count, make, reads=False)
    while not over.is_set():
        for peer in list(crowd.peers):
            if not crowd.send(peer, 1 << 18):
                crowd.leave(peer)
                crowd.join()
        time.sleep(0.05)
    crowd.end()


def half_open(address, count, over, says_hello=True):
    """They connect, half of them send a Hello, and nothing more."""
    kinds = [lambda a: (connect(a), b""), lambda a: (connect(a, greet=says_hello), b"")]
    crowd = Crowd(address, count, lambda address: random.choice(kinds)(address), reads=True)
    while not over.is_set():
        for key, _ in crowd.selector.select(0.1):
            if crowd.is_gone(key.fileobj):
                crowd.leave(key.fileobj)
                crowd.join()
    crowd.end()


def at_a_rate(address, rate, over, act):
    due = time.monotonic()
    while not over.is_set():
        try:
            act(address)
        except OSError:
            pass  # The server had enough of it first.
        due += 1 / rate
        time.sleep(max(0, due - time.monotonic()))


def resets(address, rate, over):
    """Each sends a Hello and half a call, and resets the connection."""
    number = method_number(address, "load.echo")
    half = call_bytes(number, 1, 1 << 16)[: 1 << 15]

    def act(address):
        peer = connect(address, greet=True)
        peer.sendall(half)
        reset(peer)

    at_a_rate(address, rate, over, act)


def noise(address, rate, over):
    """Each sends random bytes, with or without a Hello before them."""

    def act(address):
        with connect(address, greet=random.random() < 0.5) as peer:
            peer.sendall(random.randbytes(1000))

    at_a_rate(address, rate, over, act)


def cancels(address, count, over):
    """Each calls and cancels without end, reads its answers, and connects again soon after a GoAway."""
    number = method_number(address, "load.echo")
    pairs = lambda n: call(number, n, struct.pack("<Q", 0)) + frame(CANCEL, 0, n)
    pending = b"".join(pairs(n) for n in range(1, 20_000))
    crowd = Crowd(address, count, lambda address: (connect(address, greet=True), pending), reads=True)
    while not over.is_set():
        for peer in list(crowd.peers):
            if crowd.is_gone(peer) or not crowd.send(peer, 1 << 16):
                crowd.leave(peer)
        time.sleep(0.1)
        while len(crowd.peers) < count and not over.is_set():
            crowd.join()
    crowd.end()


def in_vain(address, count, over, bytes_of, first=b""):
    """Each sends the same frames without end and reads the answers; one that is closed connects again."""
    pending = memoryview(bytes_of * max(1, (1 << 16) // len(bytes_of)))
    crowd = Crowd(address, count, lambda address: (connect(address, greet=True), first), reads=True)
    for peer in crowd.peers:
        crowd.selector.modify(peer, selectors.EVENT_READ | selectors.EVENT_WRITE)
    while not over.is_set():
        for key, events in crowd.selector.select(0.1):
            peer = key.fileobj
            if not crowd.peers[peer]:
                crowd.peers[peer] = pending
            reads, writes = events & selectors.EVENT_READ, events & selectors.EVENT_WRITE
            if reads and crowd.is_gone(peer) or writes and not crowd.send(peer, 1 << 16):
                crowd.leave(peer)
        while len(crowd.peers) < count and not over.is_set():
            before = set(crowd.peers)
            crowd.join()
            for peer in set(crowd.peers) - before:
                crowd.selector.modify(peer, selectors.EVENT_READ | selectors.EVENT_WRITE)
            if before == set(crowd.peers):
                time.sleep(0.1)
    crowd.end()


def empty_calls(address, count, over):
    """Each sends calls without a body and reads the answers."""
    in_vain(address, count, over, frame(CALL, 1, 1))


def no_methods(address, count, over):
    """Each calls an unknown method and reads the answers."""
    in_vain(address, count, over, call(9999, 1))


def broken_chains(address, count, over):
    """Each sends nested calls whose chain is cut off in its sixteenth entry and reads the answers."""
    entry = struct.pack("<QQIQ", 1, 2, 3, 16) + bytes(16)
    in_vain(address, count, over, frame(CALL, 1, 1, bytes(8) + b"\x10" + (entry * 16)[:-3], NESTED))


def pings(address, count, over):
    """Each pings without end and reads the answers."""
    in_vain(address, count, over, frame(PING, 0, 1))


def cancels_of_nothing(address, count, over):
    """Each cancels calls that do not exist, without end."""
    in_vain(address, count, over, frame(CANCEL, 0, 1))


# Limit of calls out for the crowd that exceeds it. More than one: the client has two out at times.
SESSION_CALLS = 3


def over_their_limit(address, count, over):
    """Each has as many long calls out as allowed (`Server_Session_Calls=3`), and makes others without end."""
    number = method_number(address, "load.sleep")
    sleep = b"".join(call(number, n, struct.pack("<Q", 60_000)) for n in range(1, SESSION_CALLS + 1))
    in_vain(address, count, over, call(number, 2, struct.pack("<Q", 1)), sleep)


# Run time of a call of the crowd that fills the queue.
SLEEP_MS = 2


def full_queue(address, count, over):
    """Each has as many calls out as allowed, so that together they keep the queue full, and calls on."""
    in_vain(address, count, over, call(method_number(address, "load.sleep"), 1, struct.pack("<Q", SLEEP_MS)))


def open_sessions(address, count, over):
    """Each opens sessions without end and closes none."""
    in_vain(address, count, over, call(method_number(address, "session.open"), 1))


def wrong_texts(address, count, over):
    """Each calls in JSON with 4 MB of text where no text is expected, and reads the answers."""
    body = struct.pack("<II", 0, 0) + b'"' + b"\x7f" * 4_000_000 + b'"'
    in_vain(address, count, over, frame(CALL, method_number(address, "server.ping"), 1, body, JSON))


def silent_admin(address, count, over):
    """Each connects to the admin server and sends nothing; one that is closed connects again."""
    half_open((address[0], ADMIN_PORT), count, over, says_hello=False)


def reconnects(address, rate, over):
    """Each connects, sends a Hello and closes, from one other address."""

    def act(address):
        connect(address, greet=True, source=CROWD_SOURCE).close()

    at_a_rate(address, rate, over, act)


def long_names(address, rate, over):
    """Each connects with a name of 1,016 bytes and closes, while sessions are logged."""
    name = b"x" * 1016
    hello = PREFACE + frame(HELLO, body=struct.pack("<Q", len(name)) + name)

    def act(address):
        with connect(address, source=CROWD_SOURCE) as peer:
            peer.sendall(hello)
            peer.recv(1 << 16)

    at_a_rate(address, rate, over, act)


# Crowds beside which the median, too, must be near that of the client alone: they need no worker.
ANSWERED = [empty_calls, no_methods, broken_chains, pings, cancels_of_nothing, over_their_limit]

# Crowds whose calls are run by workers like others: the client has its turn, but not a processor for itself. Its times
# are shown, without a target.
RUN = [open_sessions, wrong_texts]

# Calls a second of the client beside a crowd, if not RATE: no more than its share of the capacity.
RATES = {full_queue: 100}

# Further settings of the servers that meet a crowd. The crowd over its limit keeps its workers busy in every
# round.
BESIDES = {
    over_their_limit: {
        "Server_Session_Calls": SESSION_CALLS,
        "Server_Pool_Tasks": 400,
        "Server_Max_Concurrent_Trans": 400,
    },
    open_sessions: {"Server_MaxUsers": 10_000},
    silent_admin: {"Admin_Address": f"127.0.0.1:{ADMIN_PORT}"},
    reconnects: {"Server_Max_Connects_Per_Minute": 60},
    long_names: {"Log_Sessions": 1, "Log_Level": "info"},
}

# Name, what it does, and how many of it or how many a second there are, in full and in a smoke run.
KINDS = [
    ("slow loris", slow_loris, 1000, 50),
    ("never read", never_read, 1000, 50),
    ("half open", half_open, 1000, 50),
    ("resets in a frame", resets, 200, 50),
    ("random bytes", noise, 200, 50),
    ("call and cancel", cancels, 4, 2),
    ("empty calls", empty_calls, 40, 8),
    ("calls of no method", no_methods, 40, 8),
    ("broken chains", broken_chains, 40, 8),
    ("pings", pings, 40, 8),
    ("cancels of nothing", cancels_of_nothing, 40, 8),
    ("over their limit", over_their_limit, 40, 8),
    ("full queue", full_queue, 24, 24),
    ("opened sessions", open_sessions, 2, 2),
    ("texts of the wrong type", wrong_texts, 4, 2),
    ("silent at the admin server", silent_admin, 40, 40),
    ("connects again and again", reconnects, 200, 50),
    ("long names in the log", long_names, 200, 50),
]


class Place:
    """Where the programs are, and how long everything takes."""

    def __init__(self, programs, folder, options):
        self.programs, self.folder, self.options = programs, folder, options

    def server(self, settings):
        permits = settings.get("Server_Max_Concurrent_Trans", WORKERS)
        workers = settings.get("Server_Pool_Tasks", WORKERS)
        level = settings.get("Log_Level", "warn")
        path, numbers = ini(self.folder, permits, workers, lines=[f"Log_Level={level}"])
        written = {"Server_Max_Concurrent_Trans", "Server_Pool_Tasks", "Log_Level"}
        lines = {key: value for key, value in {**SETTINGS, **settings}.items() if key not in written}
        with path.open("a") as file:
            file.writelines(f"{key}={value}\n" for key, value in lines.items())
        return Server(["env", ALLOCATOR, self.programs / "boneyard", "serve", path], numbers)

    def client(self, server, watch, rate=RATE):
        """The client that behaves, and the most memory that the server had meanwhile."""
        seconds = self.options.seconds
        options = ["-c", 1, "--rate", rate, "-d", seconds, "--warm-up", 0.5]
        command = [self.programs / "boneyard", "bench", server.address, "--json", *options]
        process = subprocess.Popen(command_on(None, command), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            while process.poll() is None:
                watch.append(server.rss())
                time.sleep(0.02)
            out, error = process.communicate()
        finally:
            process.kill()
            process.wait()
        if process.returncode != 0:
            raise Failure(f"{process.args}: {error.decode(errors='replace').strip()}")
        run = json.loads(out)
        return {
            "p50_ms": run["latency"]["p50_us"] / 1000,
            "p99_ms": run["latency"]["p99_us"] / 1000,
            "ok": run["ok"],
            "refused": sum(run["errors"].values()),
            "lost": run["unanswered"] + run["connections_lost"],
        }


def beside(place, server, kind, count, watch):
    """The client beside a crowd that has been there for a while."""
    host, port = server.address.split(":")
    over = multiprocessing.Event()
    crowd = multiprocessing.Process(target=kind, args=((host, int(port)), count, over), daemon=True)
    crowd.start()
    try:
        time.sleep(place.options.settle)
        if crowd.exitcode is not None:
            raise Failure(f"the crowd of {kind.__name__} ended by itself")
        return place.client(server, watch, RATES.get(kind, RATE))
    finally:
        over.set()
        crowd.join(20)
        crowd.kill()


def is_back(server, descriptors):
    """Returns whether all connections are closed, and there is room for a large call, soon enough."""
    deadline = time.monotonic() + BACK_SECONDS
    while server.descriptors() > descriptors:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    host, port = server.address.split(":")
    number = method_number((host, int(port)), "load.echo")
    with connect((host, int(port)), greet=True) as peer:
        stream = peer.makefile("rb")
        stream.read(struct.unpack("<I", stream.read(16)[:4])[0])
        peer.sendall(call_bytes(number, 1, 2 * MIB))
        size, kind, _, status, _ = struct.unpack("<IBBHQ", stream.read(16))
        return (kind, status) == (4, 0) and size > 2 * MIB


def measure_kind(place, name, kind, count):
    alone, crowded, watch = [], [], []
    with place.server(BESIDES.get(kind, {})) as server:
        time.sleep(0.3)  # The connection that showed that the server is there has to go.
        start, descriptors = server.rss(), server.descriptors()
        for _ in range(place.options.rounds):
            alone.append(place.client(server, [], RATES.get(kind, RATE)))
            crowded.append(beside(place, server, kind, count, watch))
            back = is_back(server, descriptors)
            if not back:
                break
    total = lambda key: sum(run[key] for run in crowded)
    found = {
        "name": name,
        "count": count,
        "what": " ".join(kind.__doc__.split()),
        "alone": {key: median(alone, key) for key in ("p50_ms", "p99_ms")},
        "beside": {key: median(crowded, key) for key in ("p50_ms", "p99_ms")},
        "ok": total("ok"),
        "refused": total("refused"),
        "lost": total("lost") + sum(run["lost"] for run in alone),
        "grown": max(watch) - start,
        "back": back,
        "median_too": kind in ANSWERED or kind is full_queue,
        "none_refused": kind is full_queue or kind in RUN,
        "timed": kind not in RUN,
        # A client beside them has its turn after one call of each, when a worker is done with its current one.
        "turn_ms": SLEEP_MS * (count / WORKERS + 1) if kind is full_queue else 0,
    }
    p99 = {when: found[when]["p99_ms"] for when in ("alone", "beside")}
    p50 = {when: found[when]["p50_ms"] for when in ("alone", "beside")}
    note(f"{name}: p50 {p50['beside']:.2f} ms, alone {p50['alone']:.2f} ms; p99 {p99['beside']:.2f} ms, alone {p99['alone']:.2f} ms; {found['grown'] / MIB:.1f} MiB")
    return found


def figures_table(record):
    head = ["crowd", "of"]
    head += [word for key in ("p50", "p99") for word in (f"{key} ms alone", "beside", "times")]
    head += ["answered", "refused", "lost"]
    head += ["memory grew by, MiB", "all is back"]
    rows = []
    for row in record["kinds"]:
        times = []
        for key in ("p50_ms", "p99_ms"):
            alone, beside = row["alone"][key], row["beside"][key]
            times += [shown(alone, 2), shown(beside, 2), shown(beside / alone)]
        counts = [f"{row[key]:,}" for key in ("ok", "refused", "lost")]
        rows.append([row["name"], row["count"], *times, *counts, shown(row["grown"] / MIB), "yes" if row["back"] else "NO"])
    return table(head, rows)


def targets(record):
    """Each target: what it says, its bound, the figure, and whether it is met."""
    for row in record["kinds"]:
        name = row["name"]
        if row["none_refused"]:
            yield f"{name}: calls refused", "0", row["refused"], row["refused"] == 0
        for what in [] if not row["timed"] else ["p50", "p99"] if row["median_too"] else ["p99"]:
            # Twice what it is alone, and its turn where it has to wait for that.
            most, figure = 2 * (row["alone"][f"{what}_ms"] + row["turn_ms"]), row["beside"][f"{what}_ms"]
            yield f"{name}: {what}", f"at most {most:.2f} ms", figure, figure <= most
        grown = row["grown"] / MIB
        most = MEMORY_MB + SPARE_MB
        yield f"{name}: memory grew by", f"at most {most} MiB", grown, grown <= most
        yield f"{name}: calls lost", "0", row["lost"], row["lost"] == 0
        yield f"{name}: left behind", "0", int(not row["back"]), row["back"]


def render(record):
    what = f"{record['rounds']} rounds of {record['seconds']:g} s, alone and beside in turn; {RATE} calls/s on one"
    what += " connection. " + ", ".join(f"`{key}={value}`" for key, value in SETTINGS.items()) + "."
    kinds = "\n".join(f"- {row['name']}: {row['what'][0].lower()}{row['what'][1:]}" for row in record["kinds"])
    parts = [heading(record, what), figures_table(record), kinds]
    return "\n\n".join(parts + ([] if record["smoke"] else [verdicts(targets(record))]))


def measure(options):
    with tempfile.TemporaryDirectory() as folder:
        place = Place(build(not options.smoke), folder, options)
        wanted = [kind for kind in KINDS if not options.only or options.only in kind[0]]
        return {
            **circumstances(options),
            "seconds": options.seconds,
            "rounds": options.rounds,
            "kinds": [
                measure_kind(place, name, kind, few if options.smoke else many) for name, kind, many, few in wanted
            ],
        }


def main():
    parser = parser_of(__doc__)
    parser.add_argument("--seconds", type=float, default=5, help="counted seconds of a run (5)")
    parser.add_argument("--rounds", type=int, default=3, help="runs alone and beside, of each kind (3)")
    parser.add_argument("--settle", type=float, default=3, help="seconds a crowd is there before the client (3)")
    parser.add_argument("--only", metavar="NAME", help="only the crowds whose name has this in it")
    options = parser.parse_args()
    if options.smoke:
        options.seconds, options.rounds, options.settle = 1, 1, 0.5
    record = show(options, measure, render, "hostile")
    if options.smoke:
        return 1 if any(row["lost"] or not row["back"] or not row["ok"] for row in record["kinds"]) else 0
    return 1 if options.check and not all(met for *_, met in targets(record)) else 0


if __name__ == "__main__":
    multiprocessing.set_start_method("fork")
    sys.exit(main())
