#!/usr/bin/env python3
"""Measures the verdict on servers that are limited by different things, and the effect of its advice.

    benches/verdict.py                                 about five minutes; Markdown on standard output
    benches/verdict.py --check                         ... and exit code 1 where a verdict is not what it should be
    benches/verdict.py --write docs/MEASUREMENTS.md    ... and the tables go into that page
    benches/verdict.py --debug                         ... with debug builds, which are sooner there
    benches/verdict.py --smoke                         a minute: the story of the throttle, with debug builds

Each server is a process of its own, under load by `boneyard bench` or by sockets of this script; its verdict is read
from its status page. The story: 3 ports x 40 workers, 200 clients,
Server_Max_Concurrent_Trans=20. The lines of the verdict go into the settings file, the server is started again, and
its verdict then says what that has brought. Everything runs on this machine over loopback. Python 3.11 standard library
only; Linux only.
"""

import json
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from crowd import Peer
from measure import (
    Failure, Server, build, circumstances, command_on, free_port, heading, note, parser_of, show, table,
)  # fmt: skip

# Longest wait for a verdict, and the time for its figures to settle.
PATIENCE = 40
SETTLES = 6

# How long a healthy server must stay silent.
SILENCE = 12

CLIENTS = 200


class Place:
    """Where the programs are, and a server's settings file that can be edited."""

    def __init__(self, programs, folder):
        self.boneyard, self.folder, self.count = programs / "boneyard", Path(folder), 0

    def settings(self, lines, ports=1):
        self.count += 1
        numbers = [free_port() for _ in range(ports)]
        admin = free_port()
        names = [f"PORT{index + 1}" for index in range(ports)]
        given = [f"Ports={','.join(names)}", f"Admin_Address=127.0.0.1:{admin}", "Load_Service=1", "Log_Level=warn"]
        given += [f"{name}_TCPIPAddress=0,127.0.0.1:{number}" for name, number in zip(names, numbers)]
        path = self.folder / f"{self.count}.ini"
        path.write_text("\n".join([*given, *lines]) + "\n")
        return Settings(path, numbers, admin)

    def server(self, settings, shell=None):
        command = [self.boneyard, "serve", settings.path]
        if shell:
            command = ["sh", "-c", f"{shell} && exec \"$0\" \"$@\"", *command]
        return Server(command, settings.ports)

    def press(self, address, method, argument, connections, out=1, seconds=60, rate=None):
        """A load generator; it ends with the `with` block."""
        command = [self.boneyard, "bench", address, "--json", "--method", f"load.{method}", "-c", connections]
        command += [] if argument is None else ["--arguments", argument]
        command += ["-o", out] if rate is None else ["--rate", rate]
        return Pressing(command_on(None, [*command, "-d", seconds, "--warm-up", 0.01]))


class Settings:
    """A settings file."""

    def __init__(self, path, ports, admin):
        self.path, self.ports, self.admin = path, ports, admin

    def change(self, lines):
        """Replaces the lines with the same keys."""
        keys = {line.split("=")[0].lower() for line in lines}
        kept = [line for line in self.path.read_text().splitlines() if line.split("=")[0].lower() not in keys]
        self.path.write_text("\n".join([*kept, *lines]) + "\n")

    def status(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/status.json", timeout=5) as page:
                return json.load(page)
        except OSError:
            return None  # Not yet there, or it has only just started.

    def verdict(self):
        status = self.status()
        return status and status["verdict"]

    def await_verdict(self, holds, what):
        """The verdict once it holds, a few seconds later."""
        deadline, last = time.monotonic() + PATIENCE, None
        while time.monotonic() < deadline:
            last = self.verdict()
            if last and holds(last):
                time.sleep(SETTLES)
                return self.verdict()
            time.sleep(0.25)
        raise Failure(f"{what}: the verdict is still {json.dumps(last, indent=1)}")


class Pressing:
    """A load generator that runs until the end of the `with` block."""

    def __init__(self, command):
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


class Busy:
    """A thread that repeats an action until the end of the `with` block."""

    def __init__(self):
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while not self.over.is_set():
            self.do()

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()


class Bursts(Busy):
    """A hundred calls at once, and a pause."""

    def __init__(self, address):
        super().__init__()
        self.peer = Peer(address)

    def do(self):
        self.peer.socket.sendall(b"".join(self.peer.call("load.sleep", 1) for _ in range(100)))
        for _ in range(100):
            self.peer.read()
        self.over.wait(0.4)


class Quiet(Busy):
    """One call after the other, from an address of its own."""

    def __init__(self, address, source):
        super().__init__()
        self.peer = Peer(address, source)

    def do(self):
        self.peer.ask("load.sleep", 20)


class Knocking(Busy):
    """Holds as many connections as it gets, and tries for more."""

    def __init__(self, port):
        super().__init__()
        self.port, self.held = port, []

    def do(self):
        for _ in range(10):
            self.held.append(socket.create_connection(("127.0.0.1", self.port), 5))
        while len(self.held) > 300:
            self.held.pop().close()
        self.over.wait(0.2)

    def __exit__(self, *_):
        super().__exit__()
        for one in self.held:
            one.close()


class Coming(Busy):
    """Connects and sends a Hello, five times a second, and stays connected."""

    def __init__(self, address):
        super().__init__()
        self.address, self.held = address, []

    def do(self):
        try:
            self.held.append(Peer(self.address))
        except OSError:
            pass  # Refused: it comes again.
        self.over.wait(0.2)


def watched(settings, kind, title):
    note(f"{title} ...")
    verdict = settings.await_verdict(lambda verdict: verdict["kind"] == kind, title)
    note(f"    {verdict['headline']}")
    return {"title": title, "should": kind, "verdict": verdict}


def silent(settings, title):
    note(f"{title} ...")
    deadline, said = time.monotonic() + SILENCE, None
    while time.monotonic() < deadline:
        verdict = settings.verdict()
        if verdict and verdict["kind"] != "nothing":
            raise Failure(f"{title}: {verdict['headline']}")
        said = verdict or said
        time.sleep(0.5)
    return {"title": title, "should": "nothing", "verdict": said}


def story(place, sleep_ms):
    """120 workers, a throttle of 20, 200 clients: the verdict, its lines applied, and what that brought."""
    title = f"3 x 40 workers, throttle 20, {CLIENTS} clients, load.sleep {sleep_ms}"
    settings = place.settings(["Server_Pool_Tasks=40", "Server_Max_Concurrent_Trans=20"], ports=3)

    def pressed():
        each = [CLIENTS // 3 + (1 if index < CLIENTS % 3 else 0) for index in range(3)]
        return [
            place.press(f"127.0.0.1:{port}", "sleep", sleep_ms, connections)
            for port, connections in zip(settings.ports, each)
        ]

    def beside(crowd, what):
        try:
            return what()
        finally:
            for one in crowd:
                one.__exit__()

    with place.server(settings):
        before = beside(pressed(), lambda: watched(settings, "throttle", title))
    settings.change(before["verdict"]["lines"])
    measured = lambda verdict: "measured" in (verdict["effect"] or "")
    with place.server(settings):
        after = beside(pressed(), lambda: settings.await_verdict(measured, "after the change"))
    note(f"    {after['effect']}")
    return {"sleep_ms": sleep_ms, "before": before["verdict"], "after": after}


def situations(place):
    """Servers, each limited by something else, and two that are not limited."""
    few = ["Server_Pool_Tasks=10", "Server_Max_Concurrent_Trans=40"]
    settings = place.settings(few)
    address = lambda: f"127.0.0.1:{settings.ports[0]}"
    with place.server(settings):
        yield silent(settings, "healthy: idle")
        with place.press(address(), "sleep", 10, 8, rate=400):
            yield silent(settings, "healthy: 400 calls/s of load.sleep 10 on 10 workers")
        with place.press(address(), "sleep", 50, 60):
            yield watched(settings, "pool", "10 workers, throttle 40, 60 clients, load.sleep 50")
    settings = place.settings(["Server_Pool_Tasks=10", "Server_Max_Concurrent_Trans=4"])
    with place.server(settings), place.press(address(), "block", 50, 60):
        yield watched(settings, "pool", "10 workers, throttle 4, 60 clients, load.block 50")
    settings = place.settings(["Server_Pool_Tasks=40", "Server_Max_Concurrent_Trans=20"])
    with place.server(settings), place.press(address(), "spin", 5000, 100):
        yield watched(settings, "cpu", "40 workers, throttle 20, 100 clients, load.spin 5000")
    settings = place.settings(few)
    with place.server(settings), place.press(address(), "sleep", 100, 12), place.press(address(), "echo", None, 40):
        yield watched(settings, "method", "10 workers, 12 clients of load.sleep 100 beside 40 of load.echo")
    settings = place.settings(["Server_Pool_Tasks=10", "Server_Max_Concurrent_Trans=40", "Server_Queue_Limit=20"])
    with place.server(settings), Bursts(address()):
        title = "10 workers, Server_Queue_Limit=20, a hundred calls of load.sleep 1 at once each 0.4 s"
        yield watched(settings, "queue_bound", title)
    settings = place.settings(["Server_Pool_Tasks=4", "Server_Max_Concurrent_Trans=40"])
    with place.server(settings), place.press(address(), "sleep", 20, 4, out=50), Quiet(address(), "127.0.0.2"):
        title = "4 workers, one client with 200 calls out beside one with one, load.sleep 20"
        yield watched(settings, "client", title)
    settings = place.settings(["Server_Hello_Timeout=0"])
    with place.server(settings, "ulimit -n 200"), Knocking(settings.ports[0]):
        yield watched(settings, "descriptors", "ulimit -n 200, more than 200 connections")
    for kind, line in [("users", "Server_MaxUsers=20"), ("connects", "Server_Max_Connects_Per_Minute=20")]:
        settings = place.settings([line])
        with place.server(settings), Coming(address()):
            yield watched(settings, kind, f"{line}, five connections a second that stay")


def story_text(story):
    before, after = story["before"], story["after"]
    lines = [before["headline"], *("  " + because for because in before["because"])]
    lines += ["  Lines for the settings file:", *("    " + line for line in before["lines"]), "  " + before["expected"]]
    lines += ["", "after a restart with these lines:", "", after["effect"]]
    title = f"3 ports x 40 workers, throttle 20, {CLIENTS} clients, `load.sleep {story['sleep_ms']}`:"
    return "\n".join([title, "", "```text", *lines, "```"])


def situations_table(record):
    rows = []
    for row in record["situations"]:
        verdict = row["verdict"]
        lines = ", ".join(f"`{line}`" for line in verdict["lines"]) or "none"
        rows.append([row["title"], verdict["headline"], f"{100 * verdict['sure']:.0f} %", lines])
    return table(["server and load", "verdict", "sure", "lines"], rows)


def render(record):
    what = "`benches/verdict.py`." + (" Debug builds." if record["debug"] else "")
    parts = [heading(record, what), *map(story_text, record["stories"])]
    return "\n\n".join(parts + ([situations_table(record)] if record["situations"] else []))


def measure(options):
    with tempfile.TemporaryDirectory() as folder:
        place = Place(build(not (options.smoke or options.debug)), folder)
        return {
            **circumstances(options),
            "debug": options.debug,
            "stories": [story(place, sleep_ms) for sleep_ms in ([50] if options.smoke else [50, 5])],
            "situations": [] if options.smoke else list(situations(place)),
        }


def is_met(record):
    """The verdicts were awaited already; checks that the advice is the known one, and that it helped."""
    for story in record["stories"]:
        if "Server_Max_Concurrent_Trans=120" not in story["before"]["lines"] or "expected" not in story["after"]["effect"]:
            return False
    return True


def main():
    parser = parser_of(__doc__)
    parser.add_argument("--debug", action="store_true", help="debug builds")
    options = parser.parse_args()
    record = show(options, measure, render, "verdict")
    return 1 if (options.check or options.smoke) and not is_met(record) else 0


if __name__ == "__main__":
    sys.exit(main())
