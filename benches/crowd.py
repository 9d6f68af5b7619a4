#!/usr/bin/env python3
"""Crowds of peers that no load generator makes: idle, slow and hostile ones. For idle.py and soak.py; hostile.py uses
its frames.

    benches/crowd.py idle 127.0.0.1:1352 5000 [SOURCE]

A crowd works until its standard input ends, then prints its counts as JSON. SOURCE is the address of this machine that
the connections come from, by default 127.0.0.1. It has the protocol of docs/PROTOCOL.md itself, so that it can break it
too. Python 3.11 standard library only; Linux only.
"""

import json
import random
import resource
import socket
import struct
import sys
import threading
import time

PREFACE = b"BNYD\x01\x00\x01\x00"
HEADER = struct.Struct("<IBBHQ")
HELLO, WELCOME, CALL, REPLY, CANCEL, PING = 1, 2, 3, 4, 5, 6
JSON, NESTED = 1, 2

# Time-out of requests to a server that is busy on purpose, in seconds.
PATIENCE = 20


def frame(kind, code=0, call=0, body=b"", flags=0):
    return HEADER.pack(len(body), kind, flags, code, call) + body


def greeting():
    name = b"crowd"
    return PREFACE + frame(HELLO, body=struct.pack("<Q", len(name)) + name)


class Refused(OSError):
    """The server sent a GoAway, or closed."""


class Peer:
    """A connection; the Hello is sent at once unless that is deferred."""

    def __init__(self, address, source="127.0.0.1", greeted=True, receive_buffer=None, patience=PATIENCE):
        host, port = address.rsplit(":", 1)
        self.socket = socket.socket()
        self.socket.settimeout(patience)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        try:
            self.socket.bind((source, 0))
            self.socket.connect((host, int(port)))
            self.methods = self._greet() if greeted else {}
        except BaseException:
            self.reset()
            raise
        self.calls = 0

    def _greet(self):
        self.socket.sendall(greeting())
        kind, _, _, body = self.read()
        if kind != WELCOME:
            raise Refused(f"frame {kind} in place of a Welcome")
        at = 8 + struct.unpack_from("<Q", body)[0] + 4
        (count,) = struct.unpack_from("<Q", body, at)
        at, methods = at + 8, {}
        for _ in range(count):
            number, length = struct.unpack_from("<HQ", body, at)
            methods[body[at + 10 : at + 10 + length].decode()] = number
            at += 10 + length + 8  # The fingerprint of its types is for clients that write bincode.
        return methods

    def call(self, method, arguments, deadline_ms=0):
        """The bytes of a call with JSON arguments."""
        self.calls += 1
        body = struct.pack("<II", 0, deadline_ms) + json.dumps(arguments).encode()
        return frame(CALL, self.methods[method], self.calls, body, JSON)

    def ask(self, method, arguments):
        """Calls and waits; the result, or None if the call was refused."""
        self.socket.sendall(self.call(method, arguments))
        kind, status, call, body = self.read()
        if kind != REPLY or call != self.calls:
            raise Refused(f"frame {kind} in place of a reply")
        return json.loads(body[12:]) if status == 0 else None

    def read(self):
        """Kind, code, call and body of the next frame."""
        size, kind, _, code, call = HEADER.unpack(self._exactly(HEADER.size))
        return kind, code, call, self._exactly(size)

    def _exactly(self, size):
        parts = []
        while size > 0:
            part = self.socket.recv(min(size, 1 << 16))
            if not part:
                raise Refused("closed")
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def close(self):
        self.socket.close()

    def reset(self):
        """Resets the connection, which leaves nothing in TIME_WAIT."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


class Crowd:
    """A number of peers, and the counts of what they did."""

    def __init__(self, address, count, source):
        self.address, self.count, self.source = address, count, source
        self.ended = threading.Event()
        self.done = self.refused = 0

    def go_on(self, pause):
        """Pauses; returns whether to go on."""
        return not self.ended.wait(pause)

    def peer(self, **how):
        """A new peer; None if the server refuses it."""
        try:
            return Peer(self.address, self.source, **how)
        except OSError:
            self.refused += 1
            return None

    def idle(self):
        """Send a Hello and stay. A peer that is refused or closed is replaced."""
        peers = []
        while True:
            while len(peers) < self.count and (peer := self.peer()):
                peers.append(peer)
                self.done += 1
                if self.ended.is_set():
                    break
            if not self.go_on(1 if len(peers) < self.count else 60):
                break
            peers = [peer for peer in peers if is_open(peer)]
        for peer in peers:
            peer.reset()

    def churn(self):
        """Connect, call, close."""
        while self.go_on(0.002):
            if peer := self.peer():
                try:
                    peer.ask("load.echo", "hello")
                    self.done += 1
                except OSError:
                    self.refused += 1
                peer.close()

    def loris(self):
        """Send Hellos and calls a byte at a time."""
        slow = []
        while self.go_on(0.2):
            while len(slow) < self.count and (peer := self.peer(greeted=False)):
                peer.socket.setblocking(False)
                slow.append((peer, iter(greeting() + frame(CALL, 1, 1, bytes(1000)))))
                self.done += 1
            left = []
            for peer, rest in slow:
                try:
                    byte = next(rest, None)
                    if byte is None:
                        peer.reset()
                    else:
                        peer.socket.send(bytes([byte]))
                        left.append((peer, rest))
                except BlockingIOError:
                    left.append((peer, rest))
                except OSError:
                    peer.reset()
                    self.refused += 1
            slow = left
        for peer, _ in slow:
            peer.reset()

    def deaf(self):
        """Call and never read."""
        peers = []
        while self.go_on(0.05):
            while len(peers) < self.count and (peer := self.peer(receive_buffer=4096)):
                peer.socket.setblocking(False)
                peers.append([peer, b""])
            for entry in list(peers):
                peer, rest = entry
                rest = rest or peer.call("load.echo", "x" * 16000)
                try:
                    entry[1] = rest[peer.socket.send(rest) :]
                    self.done += not entry[1]
                except BlockingIOError:
                    entry[1] = rest
                except OSError:
                    peer.reset()
                    peers.remove(entry)
                    self.refused += 1
        for peer, _ in peers:
            peer.reset()

    def reset(self):
        """Close in the middle of a call."""
        while self.go_on(0.01):
            if peer := self.peer():
                call = peer.call("load.echo", "x" * random.randrange(2000))
                try:
                    peer.socket.sendall(peer.call("load.sleep", 1) + call[: random.randrange(len(call))])
                    self.done += 1
                except OSError:
                    self.refused += 1
                peer.reset()

    def noise(self):
        """Send random bytes, at once or after a valid Hello."""
        while self.go_on(0.01):
            if peer := self.peer(greeted=random.random() < 0.5):
                try:
                    peer.socket.sendall(random.randbytes(random.randrange(1, 5000)))
                    self.done += 1
                    peer.socket.shutdown(socket.SHUT_WR)
                    while peer.socket.recv(1 << 16):
                        pass
                except OSError:
                    self.refused += 1
                peer.close()

    def cancel(self):
        """Call and cancel."""
        peer = None
        while self.go_on(0.02):
            peer = peer or self.peer()
            if not peer:
                continue
            try:
                calls = [peer.call("load.sleep", 5) for _ in range(self.count)]
                cancels = [frame(CANCEL, call=peer.calls - at) for at in range(self.count)]
                peer.socket.sendall(b"".join(calls + cancels))
                for _ in calls:
                    peer.read()
                self.done += len(calls)
            except OSError:
                peer.reset()
                peer = None
                self.refused += 1

    def press(self):
        """Connect, for a moment, with more peers than there are descriptors for."""
        while self.go_on(2):
            peers = []
            while len(peers) < self.count and not self.ended.is_set() and (peer := self.peer(patience=1)):
                peers.append(peer)
            self.done += len(peers)
            for peer in peers:
                peer.reset()

    def session(self):
        """Open sessions and never close them."""
        while self.go_on(0.05):
            if peer := self.peer():
                try:
                    if "session.open" in peer.methods:
                        for _ in range(self.count):
                            self.done += peer.ask("session.open", None) is not None
                except OSError:
                    self.refused += 1
                peer.close()


def is_open(peer):
    """Returns whether the server has sent nothing and closed nothing."""
    peer.socket.setblocking(False)
    try:
        return bool(peer.socket.recv(4096))
    except BlockingIOError:
        return True
    except OSError:
        return False


KINDS = ["idle", "churn", "loris", "deaf", "reset", "noise", "cancel", "press", "session"]


def main():
    if len(sys.argv) not in (4, 5) or sys.argv[1] not in KINDS:
        sys.exit(__doc__)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    crowd = Crowd(sys.argv[2], int(sys.argv[3]), sys.argv[4] if len(sys.argv) > 4 else "127.0.0.1")
    work = threading.Thread(target=getattr(crowd, sys.argv[1]))
    work.start()
    sys.stdin.buffer.read()
    crowd.ended.set()
    work.join()
    print(json.dumps({"done": crowd.done, "refused": crowd.refused}))


if __name__ == "__main__":
    main()
