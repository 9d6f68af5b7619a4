"""A server with a road to it on which things go wrong: connections are reset, slowed, or the server is killed.

The road is a proxy on a port of its own, which lives as long as this object, so that clients find the way again. What
goes wrong is drawn from the generator it is given. Python 3.11 standard library only.
"""

import contextlib
import selectors
import socket
import struct
import threading
import time

from measure import Failure, Server

KINDS = KILLED, RESET, SLOW, ALL = ["the server killed", "connections reset", "slow", "all at once"]
# Slow is so many bytes at a time, so far apart.
SLOW_BYTES = 4096
SLOW_SECONDS = 0.005


class Trouble:
    def __init__(self, command, port, rng):
        self.command, self.port, self.rng = command, port, rng
        self.kind, self.acting, self.closed = "", threading.Lock(), threading.Event()
        self.lock, self.roads = threading.Lock(), []
        self.killed, self.resets, self.slowed, self.carried = 0, 0, 0, 0
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.server = None

    def __enter__(self):
        self.server = Server(self.command, [self.port]).__enter__()
        threading.Thread(target=self._accept, daemon=True).start()
        self.worker = threading.Thread(target=self._work)
        self.worker.start()
        return self

    def __exit__(self, *_):
        self.closed.set()
        self.worker.join()
        self.listener.close()
        self.server.__exit__()

    def told(self):
        return (f"{self.killed} servers killed, {self.resets} connections reset, "
                f"{self.carried} carried, {self.slowed} pieces slowed")

    @contextlib.contextmanager
    def at_work(self, kind):
        """Things go wrong in one way inside of the block; before and after it the server is well."""
        self.kind = kind
        try:
            yield
        finally:
            self.kind = ""
            with self.acting:
                pass
        if not self.worker.is_alive():
            raise Failure("nothing makes trouble any more, so what held shows nothing")

    def _work(self):
        # One thread for all servers: the kernel kills a server when the thread that started it ends.
        while not self.closed.wait(self.rng.uniform(0.05, 0.8)):
            with self.acting:
                if self.kind in (KILLED, ALL) and self.rng.random() < 0.5:
                    self._kill()
                if self.kind in (RESET, ALL):
                    self._reset()

    def _kill(self):
        self.server.__exit__()
        self.killed += 1
        time.sleep(self.rng.uniform(0, 0.3))
        self.server = Server(self.command, [self.port]).__enter__()

    def _reset(self):
        with self.lock:
            roads = [road for road in self.roads if self.rng.random() < 0.5]
        for client, _ in roads:
            with contextlib.suppress(OSError):
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                # Wakes the thread that carries it, which closes: with this option set, by a reset.
                client.shutdown(socket.SHUT_RD)
                self.resets += 1

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client):
        """Both ways until either end closes."""
        with client:
            try:
                server = socket.create_connection(("127.0.0.1", self.port), timeout=5)
            except OSError:
                return
            road = (client, server)
            with self.lock:
                self.roads.append(road)
                self.carried += 1
            with server, contextlib.suppress(OSError):
                self._copy(client, server)
            with self.lock:
                self.roads.remove(road)

    def _copy(self, client, server):
        other = {client: server, server: client}
        with selectors.DefaultSelector() as ready:
            for end in other:
                ready.register(end, selectors.EVENT_READ)
            while True:
                for key, _ in ready.select():
                    slow = self.kind in (SLOW, ALL)
                    piece = key.fileobj.recv(SLOW_BYTES if slow else 1 << 16)
                    if not piece:
                        return
                    if slow:
                        self.slowed += 1
                        time.sleep(SLOW_SECONDS)
                    other[key.fileobj].sendall(piece)
