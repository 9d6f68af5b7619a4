"""A client for Boneyard in pure Python, standard library only, written from docs/PROTOCOL.md alone.

    with Client("127.0.0.1:1352") as client:
        calls = [client.start("server.echo", n) for n in range(100)]     # all in flight at once
        print(client.call("server.ping"), [call.result() for call in calls])

Threads may share a client. It is one connection: make another when it is lost. The package in python/ does more.
From a shell: python3 client.py ADDR METHOD [JSON], with the exit codes of `boneyard call`.
"""

import collections, concurrent.futures, contextlib, io, itertools, json, socket, struct, sys, threading, time

HELLO, WELCOME, CALL, REPLY, CANCEL, PING, PONG, GOAWAY = range(1, 9)
HEADER = struct.Struct("<IBBHQ")  # body length, kind, flags, code, call id
CALL_PRELUDE, REPLY_PRELUDE = struct.Struct("<II"), struct.Struct("<III")  # session, deadline ms; 3 times in us
JSON_FLAG, BODY_MAX, CONTROL_BODY_MAX = 1, 64 << 20, 16 << 20
# <statuses> of docs/PROTOCOL.md
STATUSES = {0: "Ok", 1: "Application", 2: "NestedRefused", 10: "UnknownMethod", 11: "BadRequest", 12: "TooLarge",
    13: "UnsupportedVersion", 14: "ProtocolError", 15: "TooSlow", 16: "UnknownSession", 20: "QueueFull",
    21: "Draining", 22: "WouldBeLate", 23: "Overloaded", 24: "SessionLimit", 25: "NestedDeadlock",
    26: "MaxUsers", 27: "Restricted", 28: "NoDescriptors", 29: "BuffersFull", 30: "DeadlineExceeded",
    31: "Cancelled", 32: "ConnectLimit", 33: "SessionClosed", 34: "MethodLimit", 35: "ClientLimit",
    36: "ServiceBusy", 40: "Panicked", 41: "BadResponse", 42: "Internal",}
# </statuses>
Times = collections.namedtuple("Times", "queue_wait permit_wait run")  # seconds
# The next number or text of a body in bincode's legacy layout.
number = lambda body, form: struct.unpack("<" + form, body.read(struct.calcsize("<" + form)))[0]
text = lambda body: body.read(number(body, "Q")).decode()


class BoneyardError(Exception):
    """`status` by name, the application's own `code`, `retry_after` in seconds or None, `message` for people."""

    def __init__(self, status, message, code=0, retry_after_ms=0):
        super().__init__(f"{status}: {message}")
        self.status, self.message, self.code, self.retry_after = status, message, code, retry_after_ms / 1000 or None


# Not started, so it may be repeated; started, without a result; unknown.
Refused, Failed, Lost = (type(name, (BoneyardError,), {}) for name in ("Refused", "Failed", "Lost"))


class Pending(concurrent.futures.Future):
    """A call in flight. It has `times` once there is a result."""

    def __init__(self, client, timeout):
        super().__init__()
        self.client, self.id, self.times = client, next(client.ids), None
        self.until = None if timeout is None else time.monotonic() + timeout

    def result(self, timeout=None):
        """Waits `timeout` seconds, or until the call's deadline; a call that is late then is lost."""
        left = None if self.until is None else max(self.until - time.monotonic(), 0)
        patience = left if timeout is None else timeout if left is None else min(left, timeout)
        try:
            return super().result(patience)
        except concurrent.futures.TimeoutError:
            if patience != left:
                raise
            self.client.forget(self, Lost("TimedOut", "no answer in time"))
            return super().result()

    def cancel(self):
        return super().cancel() and self.client.forget(self)


class Session(collections.namedtuple("Session", "client session ticket")):
    """Calls that share state on the server. Its `ticket` attaches the session to another connection."""

    call = lambda self, method, arguments=None, timeout=...: self.client.call(method, arguments, timeout, self.session)
    close = lambda self: self.client.call("session.close", self.session)
    __enter__, __exit__ = lambda self: self, lambda self, *_: self.close()


class Client:
    """One connection. `timeout` in seconds holds for connecting and for each call; `None` is without end."""

    def __init__(self, address, *, name="client.py", timeout=10.0):
        host, _, port = address.rpartition(":") if ":" in address else (address, "", "1352")
        self.timeout, self.ids, self.out, self.end = timeout, itertools.count(1), {}, None
        # Two, since a write may wait until the server reads again, which may be when we have taken replies.
        self.lock, self.writing, hello = threading.Lock(), threading.Lock(), name.encode()
        hello = struct.pack("<Q", len(hello)) + hello
        self.socket = socket.create_connection((host.strip("[]"), int(port)), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb")
        self.socket.sendall(b"BNYD" + struct.pack("<HH", 1, 1) + HEADER.pack(len(hello), HELLO, 0, 0, 0) + hello)
        kind, _, code, _, body = self.frame()
        if kind != WELCOME:
            raise self.fault(code, 0, body)
        self.server, self.body_max = text(body), number(body, "I")
        entries = [(number(body, "H"), text(body), number(body, "Q")) for _ in range(number(body, "Q"))]
        self.numbers, self.methods = {name: id for id, name, _ in entries}, [name for _, name, _ in entries]
        self.socket.settimeout(None)
        threading.Thread(target=self.read, name="boneyard", daemon=True).start()

    def call(self, method, arguments=None, timeout=..., session=0):
        return self.start(method, arguments, timeout, session).result()

    def start(self, method, arguments=None, timeout=..., session=0):
        if method not in self.numbers:
            raise Refused("UnknownMethod", f"the server has no method {method!r}")
        timeout = self.timeout if timeout is ... else timeout
        call, deadline = Pending(self, timeout), 0 if timeout is None else min(max(int(timeout * 1000), 1), 0xFFFFFFFF)
        arguments = json.dumps(arguments, default=list, ensure_ascii=False, allow_nan=False)  # `list` of bytes
        body = CALL_PRELUDE.pack(session, deadline) + arguments.encode()
        if len(body) > self.body_max:
            raise Refused("TooLarge", f"{len(body)} bytes are over the server's {self.body_max}")
        with self.lock:
            if self.end:
                raise self.end if isinstance(self.end, Refused) else Refused("NotConnected", str(self.end))
            self.out[call.id] = call
        self.send(HEADER.pack(len(body), CALL, JSON_FLAG, self.numbers[method], call.id) + body)
        return call

    session = lambda self: Session(self, **self.call("session.open"))
    attach = lambda self, ticket: Session(self, self.call("session.attach", ticket), ticket)

    def forget(self, call, error=None):
        if call.id in self.out:
            self.send(HEADER.pack(0, CANCEL, 0, 0, call.id))  # The call is answered all the same.
        self.settle(call.id, error=error)
        return True

    def settle(self, number, result=None, error=None, times=(0, 0, 0)):
        call = self.out.pop(number, None)
        if call and call.set_running_or_notify_cancel():
            call.times = None if error else Times(*(us / 1e6 for us in times))
            call.set_exception(error) if error else call.set_result(result)

    def close(self):
        self.finish(Lost("Lost", "the client was closed"))

    __enter__, __exit__ = lambda self: self, lambda self, *_: self.close()

    def send(self, frame):
        try:
            with self.writing:
                self.socket.sendall(frame)
        except OSError as error:
            self.finish(error)

    def take(self, count):
        if len(data := self.file.read(count)) == count:
            return data
        raise ConnectionError("the server closed the connection")

    def frame(self):
        length, kind, flags, code, call = HEADER.unpack(self.take(HEADER.size))
        if length > (BODY_MAX if kind == REPLY else CONTROL_BODY_MAX):
            raise ConnectionError(f"a frame of {length} bytes")
        return kind, flags, code, call, io.BytesIO(self.take(length))

    def fault(self, status, flags, body):
        kind, name = Refused if 10 <= status < 40 else Failed, STATUSES.get(status, f"Status {status}")
        if flags & JSON_FLAG:
            return kind(name, **json.loads(body.read()))
        return kind(name, code=number(body, "I"), retry_after_ms=number(body, "I"), message=text(body))

    def read(self):
        try:
            while not (self.end and not self.out):
                kind, flags, status, call, body = self.frame()
                if kind == GOAWAY:
                    self.end = self.fault(status, 0, body)
                elif kind == REPLY:
                    times = REPLY_PRELUDE.unpack(body.read(REPLY_PRELUDE.size))
                    error = self.fault(status, flags, body) if status else None
                    self.settle(call, None if error else json.loads(body.read()), error, times)
            self.finish(self.end)
        except Exception as error:  # Whatever it is, no caller may be left waiting.
            self.finish(error)

    def finish(self, error):
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)  # Ends a write that waits, too.
        with self.lock:
            self.end = self.end or error
        for call in list(self.out):
            self.settle(call, error=Lost("Lost", str(self.end)))
        self.socket.close()


def main(address, method, arguments="null"):
    try:
        arguments = json.loads(sys.stdin.read() if arguments == "-" else arguments)
        with Client(address) as client:
            print(json.dumps(client.call(method, arguments), ensure_ascii=False))
        return 0
    except (BoneyardError, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        status = getattr(error, "status", "NotConnected" if isinstance(error, OSError) else "BadRequest")
        exits = {"NotConnected": 1, "DeadlineExceeded": 1, **{STATUSES[number]: 2 for number in (*range(10, 17), 31)}}
        return 4 if isinstance(error, Lost) else exits.get(status, 3)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]) if len(sys.argv) in (3, 4) else print(__doc__, file=sys.stderr) or 2)
