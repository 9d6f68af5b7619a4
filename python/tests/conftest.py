"""Real servers for the tests: `examples/notes` with the rehearsal service, each on a port of its own.

Waits are for conditions, with a bound that only a failing test reaches. The fixture `connect` makes clients of both
kinds, the wheel's and examples/client.py, so that one suite is run over both.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTES = Path(os.environ.get("BONEYARD_NOTES", ROOT / "target/debug/examples/notes"))
PATIENCE = 60

# A shell without job control starts its background commands with SIGINT ignored; the tests of signals would then wait
# without end.
signal.signal(signal.SIGINT, signal.default_int_handler)

sys.path.insert(0, str(ROOT / "examples"))
import boneyard  # noqa: E402
import client as pure  # noqa: E402


def wait_until(what, condition):
    """Waits until `condition()` is true, and returns its value."""
    end = time.monotonic() + PATIENCE
    while not (met := condition()):
        assert time.monotonic() < end, f"waited in vain until {what}"
        time.sleep(0.002)
    return met


class Server:
    """A server process; `address` once it listens."""

    def __init__(self, folder, *lines, port=0):
        path = folder / "server.ini"
        path.write_text("\n".join([f"TCPIP_TCPIPAddress=0,127.0.0.1:{port}", "Load_Service=1", *lines, ""]))
        self.folder, self.lines, self.log = folder, lines, []
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
        self.process = subprocess.Popen([NOTES, "serve", path], **quiet, stderr=subprocess.PIPE, text=True)
        threading.Thread(target=lambda: self.log.extend(self.process.stderr), daemon=True).start()
        self.address = wait_until("the server listens", self._listening)

    def _listening(self):
        assert self.process.poll() is None, self.log
        lines = [line for line in self.log if "Listen for connect requests on " in line]
        return lines and lines[0].split(" at ")[1].split(", ")[0]

    def again(self):
        """The same server once more, at the same address."""
        return Server(self.folder, *self.lines, port=self.address.rpartition(":")[2])

    def stop(self):
        """Stops it with SIGTERM."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(PATIENCE) == 0

    def kill(self):
        self.process.kill()
        self.process.wait()


class Wire:
    """Relays connections to a server until it cuts them."""

    def __init__(self, address):
        host, port = address.split(":")
        self.target, self.sockets = (host, int(port)), []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                near, far = self.listener.accept()[0], socket.create_connection(self.target)
                self.sockets += [near, far]
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._pass, args=(source, sink), daemon=True).start()

    @staticmethod
    def _pass(source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def cut(self):
        sockets, self.sockets = self.sockets, []
        for end in sockets:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@pytest.fixture
def serve(tmp_path_factory):
    """Starts servers with these lines in their settings."""
    started = []

    def start(*lines):
        started.append(Server(tmp_path_factory.mktemp("server"), *lines))
        return started[-1]

    yield start
    for server in started:
        server.kill()


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """One that no test changes."""
    server = Server(tmp_path_factory.mktemp("server"))
    yield server
    server.kill()


@pytest.fixture(params=["wheel", "pure"])
def library(request):
    """The module under test."""
    return boneyard if request.param == "wheel" else pure


@pytest.fixture
def connect(library):
    """Makes clients, and closes them after the test."""
    with contextlib.ExitStack() as stack:
        yield lambda at, **options: stack.enter_context(library.Client(getattr(at, "address", at), **options))
