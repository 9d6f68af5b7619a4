"""Servers and loads of verdict.py: each server a process with a settings file of its own, each load plain data that a
thread presses until it is over. All figures come from the counts of the server. Python 3.11 standard library only.
"""

import contextlib
import itertools
import json
import os
import socket
import subprocess
import threading
import time
import urllib.request
from dataclasses import dataclass

from crowd import CALL, JSON, Peer, frame
from measure import Failure, Server, command_on

# TCP ports are below those that the system gives to connections, so none is taken while a server starts again. Two runs
# of this script begin at different ones.
PORTS = itertools.count(10_000 + os.getpid() % 22 * 1000)
PORTS_LOCK = threading.Lock()

# Closes by the peer: not the server's doing.
BY_PEER = ("PeerClosed", "PeerClosedMidFrame", "SocketError")


def free_port():
    with PORTS_LOCK:
        for port in PORTS:
            with socket.socket() as probe, contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port


class Settings:
    """A settings file, with the section of the limits by method apart: those keys are names of methods."""

    def __init__(self, path, lines, ports=1):
        self.path, self.admin = path, free_port()
        self.ports = [free_port() for _ in range(ports)]
        names = [f"PORT{index + 1}" for index in range(ports)]
        self.server = {"Ports": ",".join(names), "Load_Service": "1", "Log_Level": "warn"}
        self.server["Admin_Address"] = f"127.0.0.1:{self.admin}"
        self.server |= {f"{name}_TCPIPAddress": f"0,127.0.0.1:{port}" for name, port in zip(names, self.ports)}
        self.limits = {}
        self.change(lines)

    @property
    def address(self):
        return f"127.0.0.1:{self.ports[0]}"

    def change(self, lines):
        """Replaces the lines with the same keys."""
        for key, value in (line.split("=", 1) for line in lines if not line.startswith("[")):
            section = self.limits if "." in key else self.server
            section.pop(next((known for known in section if known.lower() == key.lower()), None), None)
            section[key] = value
        parts = [self.server, *([{"[Limits]": None}, self.limits] if self.limits else [])]
        pairs = [pair for part in parts for pair in part.items()]
        self.path.write_text("".join(key + ("\n" if value is None else f"={value}\n") for key, value in pairs))

    def page(self, path):
        """A page of the admin server; None while there is none."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/{path}", timeout=5) as page:
                return page.read().decode()
        except OSError:
            return None

    def verdict(self):
        page = self.page("status.json")
        return page and json.loads(page)["verdict"]

    def counts(self):
        """What the server has counted so far."""
        return Counts(self.page("metrics") or "")

    def serve(self, program, descriptors=None):
        command = [program, "serve", self.path]
        if descriptors:
            command = ["sh", "-c", f"ulimit -n {descriptors} && exec \"$0\" \"$@\"", *command]
        return Server(command, self.ports)


class Counts:
    """Counters at one moment."""

    def __init__(self, text):
        self.when, self.ok, self.refused, self.by_method = time.monotonic(), 0, 0, {}
        for line in text.splitlines():
            name, _, rest = line.partition("{")
            labels, _, value = rest.rpartition("} ")
            if name in ("boneyard_answers_total", "boneyard_connections_closed_total"):
                good = 'status="Ok"' in labels
                self.ok += int(value) if good else 0
                by_peer = any(f'reason="{reason}"' in labels for reason in BY_PEER)
                self.refused += 0 if good or by_peer else int(value)
            elif name.startswith("boneyard_connections_refused"):
                self.refused += int(value)
            elif name == "boneyard_method_answers_total" and 'status="Ok"' in labels:
                method = labels.split('method="')[1].split('"')[0]
                self.by_method[method] = self.by_method.get(method, 0) + int(value)

    def since(self, before, method=None):
        """Calls done and refused per second, and those of a method that were done."""
        length = self.when - before.when
        of = lambda counts: counts.by_method.get(method, 0)
        return Rates(
            (self.ok - before.ok) / length, (self.refused - before.refused) / length, (of(self) - of(before)) / length
        )


@dataclass(frozen=True)
class Rates:
    """Per second: calls done, calls and connections refused or closed, calls done of the method looked at."""

    calls: float
    refused: float
    others: float


@dataclass(frozen=True)
class Site:
    """What a load needs to know: the program, and the addresses of the ports and of the other servers."""

    program: object
    ports: tuple
    names: tuple

    def text(self, argument):
        """An argument as JSON, with the names of servers replaced by their addresses."""
        text = json.dumps(argument)
        for name, address in self.names:
            text = text.replace(name, address)
        return text


@dataclass(frozen=True)
class Load:
    """Pressed from `begin` to `end`, in seconds; on the port of that index, of the last server with -1."""

    port: int = 0
    begin: float = 0
    end: float = float("inf")

    def press(self, site, over):
        """Presses until it is over."""
        address = site.ports[self.port]
        while not over.is_set():
            try:
                self.visit(address, site, over)
            except OSError:
                over.wait(0.2)  # Refused or closed: it comes again.

    def visit(self, address, site, over):
        raise NotImplementedError


@dataclass(frozen=True)
class Calls(Load):
    """Calls of the load generator: in a closed loop, or with `rate` at random times."""

    method: str = "work.run"
    argument: object = None
    connections: int = 1
    out: int = 1
    rate: float | None = None

    def press(self, site, over):
        command = [site.program, "bench", site.ports[self.port], "--method", self.method, "-c", self.connections]
        command += [] if self.argument is None else ["--arguments", site.text(self.argument)]
        command += ["-o", self.out] if self.rate is None else ["--rate", self.rate]
        command += ["-d", 3600, "--warm-up", 0.01]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        while not over.is_set():
            with subprocess.Popen(command_on(None, command), **quiet) as process:
                while process.poll() is None and not over.wait(0.05):
                    pass
                process.kill()


@dataclass(frozen=True)
class Bursts(Load):
    """So many calls at once on a connection, and a pause."""

    method: str = "work.run"
    argument: object = None
    count: int = 100
    pause: float = 0.4
    source: str = "127.0.0.1"

    def visit(self, address, site, over):
        peer, argument = Peer(address, self.source), json.loads(site.text(self.argument))
        with contextlib.closing(peer):
            while not over.is_set():
                peer.socket.sendall(b"".join(peer.call(self.method, argument) for _ in range(self.count)))
                for _ in range(self.count):
                    peer.read()
                over.wait(self.pause)


@dataclass(frozen=True)
class Large(Load):
    """Connections that each keep calls with large arguments out; one that is refused waits."""

    method: str = "work.run"
    argument: object = None
    connections: int = 1
    out: int = 1
    bytes: int = 1_000_000
    pause: float = 0.3

    def press(self, site, over):
        one = super().press
        visits = [threading.Thread(target=one, args=(site, over)) for _ in range(self.connections)]
        for visit in visits:
            visit.start()
        for visit in visits:
            visit.join()

    def visit(self, address, site, over):
        with contextlib.closing(Peer(address)) as peer:
            text = site.text(self.argument).encode()
            # White space belongs to no value, so the handler gets the argument alone.
            body = bytes(8) + text + b" " * (self.bytes - len(text))
            calls = itertools.count(1)
            send = lambda: peer.socket.sendall(frame(CALL, peer.methods[self.method], next(calls), body, JSON))
            for _ in range(self.out):
                send()
            while not over.is_set():
                if peer.read()[1] != 0:
                    over.wait(self.pause)
                send()


@dataclass(frozen=True)
class Coming(Load):
    """Connects with a Hello at a rate and stays, with so many connections at most; or calls once and goes."""

    count: int = 1
    pause: float = 0.2
    stays: bool = True

    def press(self, site, over):
        held = []
        while not over.wait(self.pause):
            with contextlib.suppress(OSError):
                if len(held) < self.count:
                    held.append(Peer(site.ports[self.port], patience=2))
                if not self.stays:
                    held.pop().close()
        for peer in held:
            peer.close()


@dataclass(frozen=True)
class Hogs(Load):
    """Other programs that use processors."""

    count: int = 1

    def press(self, site, over):
        started = [subprocess.Popen(command_on(None, ["sh", "-c", "while :; do :; done"])) for _ in range(self.count)]
        over.wait()
        for process in started:
            process.kill()
            process.wait()


class Pressing:
    """Loads, from the beginning to the end of the `with` block."""

    def __init__(self, loads, site):
        self.over, self.site = threading.Event(), site
        self.threads = [threading.Thread(target=self.press, args=(load,)) for load in loads]

    def press(self, load):
        if self.over.wait(load.begin):
            return
        ended = threading.Event()
        thread = threading.Thread(target=load.press, args=(self.site, ended))
        thread.start()
        self.over.wait(min(load.end - load.begin, threading.TIMEOUT_MAX))
        ended.set()
        thread.join()

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join()


class Dependency(Server):
    """A plain TCP server with so many workers."""

    def __init__(self, program, workers):
        port = free_port()
        super().__init__([program, "dependency", f"127.0.0.1:{port}", workers], [port])


class Place:
    """The program, and the folder of the settings files."""

    def __init__(self, program, folder):
        self.program, self.folder, self.numbers = program, folder, itertools.count(1)

    def settings(self, lines, ports=1):
        return Settings(self.folder / f"{next(self.numbers)}.ini", lines, ports)

    @contextlib.contextmanager
    def running(self, settings, situation, second=None):
        """The servers of a situation under its load."""
        with contextlib.ExitStack() as stack:
            names, addresses = [("FIRST", settings.address)], [f"127.0.0.1:{port}" for port in settings.ports]
            if situation.dependency:
                dependency = stack.enter_context(Dependency(self.program, situation.dependency))
                names.append(("DEPENDENCY", dependency.address))
            if second:
                stack.enter_context(second.serve(self.program))
                names.append(("SECOND", second.address))
                addresses.append(second.address)
            stack.enter_context(settings.serve(self.program, situation.descriptors))
            site = Site(self.program, tuple(addresses), tuple(names))
            stack.enter_context(Pressing(situation.loads, site))
            yield
            if settings.page("health/live") is None:
                raise Failure(f"{situation.name}: the server is gone")
