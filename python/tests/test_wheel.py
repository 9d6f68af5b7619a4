"""Guarantees of the wheel beyond those of the client of the specification."""

import dataclasses
import gc
import importlib.metadata
import inspect
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import tracemalloc
from pathlib import Path

import boneyard
import boneyard.aio
import pytest
from boneyard import Client, errors
from conftest import Wire, wait_until

FOR_EVER = 600_000

# Longer than it takes to take a call back, on a busy machine too.
BUSY = 3000


@dataclasses.dataclass
class Note:
    title: str
    text: str


def test_a_dataclass_is_an_object(server):
    with Client(server.address) as client:
        number = client.call("notes.create", Note("a", "b"))
        assert Note(**client.call("notes.read", number)) == Note("a", "b")
        assert client.call("server.echo", [Note("a", Note("b", "c"))])[0]["text"] == {"title": "b", "text": "c"}
        with pytest.raises(TypeError):
            client.call("server.echo", Note)


def test_arguments_are_nested_as_deeply_as_the_server_reads(server):
    def nest(depth):
        value = 0
        for _ in range(depth):
            value = [value]
        return value

    with Client(server.address) as client:
        assert client.call("server.echo", nest(127)) == nest(127)
        with pytest.raises(ValueError):
            client.call("server.echo", nest(128))


def test_the_tree_of_exceptions_has_a_class_for_each_status_of_the_protocol():
    page = (Path(__file__).parents[2] / "docs/PROTOCOL.md").read_text()
    rows = page.split("<!-- statuses -->")[1].split("<!-- /statuses -->")[0].splitlines()[3:]
    statuses = {int(cells[1]): cells[2].strip() for cells in (row.split("|") for row in rows) if len(cells) > 3}
    own = {"ReplyTooLarge", "NotConnected", "Throttled", "Lost", "TimedOut", "Refused", "Failed", "BoneyardError"}
    assert {"Ok", *errors._CLASSES} - own == set(statuses.values())
    for number, name in statuses.items():
        if number:
            kind = getattr(errors, name)
            assert issubclass(kind, errors.Refused if 10 <= number < 40 else errors.Failed), name
            error = errors.made(name, "why", 7, 0.25, 10 <= number < 40)
            assert type(error) is kind and str(error) == f"{name}: why"
            again = pickle.loads(pickle.dumps(error))
            assert (type(again), vars(again)) == (kind, vars(error))
    assert type(errors.made("Status 77", "", 0, None, False)) is errors.Failed
    assert issubclass(errors.TimedOut, errors.Lost)


def test_options_and_addresses_that_are_none_are_said_at_once():
    for make in (
        lambda: Client("no address"),
        lambda: Client("127.0.0.1:0"),
        lambda: Client("127.0.0.1", name="x" * 300),
        lambda: Client("127.0.0.1", connect_timeout=0),
        lambda: Client("127.0.0.1", connect_timeout=-1),
        lambda: Client("127.0.0.1", timeout=float("nan")),
    ):
        with pytest.raises(ValueError):
            make()
    with pytest.raises(TypeError):
        Client("127.0.0.1", timeout="soon")


def test_the_first_call_connects_and_says_if_it_cannot():
    # Bound, so that nobody else listens there.
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        client = Client("127.0.0.1:%d" % nobody.getsockname()[1])
        with pytest.raises(errors.NotConnected):
            client.call("server.ping", timeout=0.3)
        with pytest.raises(errors.NotConnected):
            client.start("server.ping", timeout=30)
        hasty = Client("127.0.0.1:%d" % nobody.getsockname()[1], wait_for_server=False, keepalive=None)
        with pytest.raises(errors.NotConnected):
            hasty.call("server.ping", timeout=3600)
        with pytest.raises(ValueError, match="keepalive is under 1 s"):
            Client("127.0.0.1", keepalive=0.5)


def test_of_several_addresses_the_first_that_takes_the_client_is_used(serve):
    first, second = serve(), serve()
    with Client([first.address, second.address], retries=20) as client, Client(second.address) as watcher:
        client.call("notes.create", {"title": "first", "text": ""})
        assert watcher.call("notes.list") == []
        first.kill()
        wait_until("the next connection is made", lambda: "server.ping" in methods(client))
        client.call("notes.create", {"title": "second", "text": ""})
        assert watcher.call("notes.list") == [[1, "second"]]
    with pytest.raises(ValueError):
        Client([])
    with pytest.raises(TypeError):
        Client(1352)


def methods(client):
    """Those of the server, or none while it is not there."""
    try:
        client.call("server.ping")
        return client.methods
    except errors.BoneyardError:
        return []


def test_retries_are_a_number_that_can_be(server):
    for retries in (-1, 2**32, 2**80):
        with pytest.raises(ValueError, match="retries is a number from 0 to 4294967295"):
            Client(server.address, retries=retries)
    with pytest.raises(TypeError):
        Client(server.address, retries="2")


def test_a_closed_client_calls_no_more(server):
    client = Client(server.address)
    assert client.call("server.ping") is None
    call = client.start("load.sleep", 20)
    client.close()
    client.close()
    with pytest.raises(ValueError, match="closed"):
        client.call("server.ping")
    assert call.result() is None, "a call that was out is answered"


def test_a_refused_call_is_made_again_by_itself(serve):
    server = serve("Server_Session_Calls=1")
    with Client(server.address, timeout=None, retries=10) as client, Client(server.address, retries=0) as other:
        # Calls of one connection come in their order.
        busy = client.start("load.sleep", 300)
        assert client.call("server.echo", 1) == 1
        busy.result()
        busy = other.start("load.sleep", FOR_EVER)
        with pytest.raises(errors.SessionLimit):
            other.call("server.echo", 1)
        assert not busy.done()


def test_a_client_goes_on_after_its_server_was_started_again(serve, request):
    server, stop, done, wrong = serve(), threading.Event(), [0, 0, 0, 0], []
    client = Client(server.address, timeout=60)

    def work(thread):
        while not stop.is_set():
            value = [thread, done[thread]]
            try:
                if client.call("server.echo", value) != value:
                    wrong.append(value)
                done[thread] += 1
            except errors.Refused:
                pass  # A server that stops loses no call; for one that is away for long, the client gives up.
            except errors.BoneyardError as error:
                wrong.append(error)

    def called(since):
        return lambda: all(now > before + 20 for now, before in zip(done, since))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(2):
        wait_until("all threads call", called(list(done)))
        server.stop()
        server = server.again()
        request.addfinalizer(server.kill)
    wait_until("all threads call again", called(list(done)))
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_session_is_attached_again_by_its_next_call(serve):
    server = serve()
    wire, watcher = Wire(server.address), Client(server.address)
    client = Client(wire.address, retries=20)
    session = client.session()
    before = watcher.call("server.info")["sessions"]
    wire.cut()
    wait_until("the connection is gone", lambda: watcher.call("server.info")["sessions"] == before - 1)

    def echoed():
        try:
            return session.call("server.echo", 1) == 1
        except errors.Lost:
            return False  # Sent before the client saw the end of the connection: it may have run, so it is not retried.

    wait_until("the next call attaches the session", echoed)
    assert watcher.call("server.info")["sessions"] == before, "the same session, on a new connection"
    ticket = session.detach()
    assert session.detach() == ticket, "twice is once"
    with pytest.raises(ValueError, match="the session is closed or detached"):
        session.call("server.ping")
    with client.attach(ticket) as again:
        assert again.call("server.ping") is None
        assert again.ticket == ticket
    assert watcher.call("server.info")["sessions"] == before - 1
    with pytest.raises(ValueError, match="ticket"):
        client.attach({"id": 1})


def test_a_call_nobody_has_any_more_is_cancelled(serve):
    server = serve("Server_Pool_Tasks=1")
    with Client(server.address) as client:
        busy = client.start("load.sleep", BUSY)
        call = client.start("notes.create", {"title": "never", "text": ""})
        del call
        assert client.call("notes.list", timeout=30) == []
        assert busy.done()


def test_threads_wait_for_one_call_and_one_of_them_cancels_it(serve):
    with Client(serve().address, timeout=None) as client:
        call, outcomes = client.start("load.sleep", FOR_EVER), []

        def work():
            try:
                call.result()
            except BaseException as error:
                outcomes.append(type(error).__name__)

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        assert call.cancel() and not call.cancel()
        for thread in threads:
            thread.join()
        assert outcomes == ["CancelledError"] * 3


@pytest.mark.parametrize(
    "wait",
    [
        lambda client: client.call("load.sleep", FOR_EVER),
        lambda client: client.start("load.sleep", FOR_EVER).result(),
    ],
    ids=["call", "result"],
)
def test_a_signal_ends_a_wait(serve, wait):
    with Client(serve().address, timeout=None) as client:
        me = threading.get_ident()

        def interrupt():
            wait_until("it runs", lambda: client.call("server.info")["in_flight"] == 2)
            signal.pthread_kill(me, signal.SIGINT)

        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            wait(client)
        thread.join()


def test_a_signal_ends_the_wait_for_another_attempt():
    me = threading.get_ident()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up():
            peer = listener.accept()[0]
            signal.pthread_kill(me, signal.SIGINT)
            peer.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        client = Client("127.0.0.1:%d" % listener.getsockname()[1])
        with pytest.raises(KeyboardInterrupt):
            client.call("server.ping")
        thread.join()
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_a_child_makes_a_client_of_its_own_and_leaves_the_parents_alone(server):
    client = Client(server.address, timeout=30)
    call = client.start("load.sleep", 200)
    child = os.fork()
    if child == 0:
        # Whatever happens here must not run pytest on.
        code = 1
        try:
            for use in (lambda: client.call("server.ping"), call.done, call.result, lambda: client.session()):
                with pytest.raises(RuntimeError, match="fork"):
                    use()
            del client, call
            gc.collect()
            with Client(server.address) as own:
                code = 0 if own.call("server.echo", 1) == 1 else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert call.result() is None, "the child has not ended the connection"
    assert client.call("server.echo", 2) == 2


def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_hundred_thousand_calls_leave_nothing_behind(server):
    def calls(client, count):
        for _ in range(count // 100):
            pending = [client.start("server.echo", {"n": n, "text": "x" * 100}) for n in range(99)]
            assert client.call("server.echo", 1) == 1
            assert [call.result()["n"] for call in pending] == list(range(99))
            with pytest.raises(errors.BadRequest):
                client.call("load.spin", "x")

    with Client(server.address) as client:
        calls(client, 10_000)
        gc.collect()
        before = resident()
        calls(client, 80_000)
        tracemalloc.start()
        calls(client, 1_000)
        kept = tracemalloc.get_traced_memory()[0]
        calls(client, 10_000)
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - kept
        tracemalloc.stop()
        assert grown < 64 << 10, "objects of Python"
        assert resident() - before < 16 << 20, "memory of the process"


def test_the_package_says_what_it_has():
    assert all(hasattr(boneyard, name) for name in boneyard.__all__)
    folder = Path(boneyard.__file__).parent
    assert (folder / "py.typed").exists() and (folder / "_boneyard.pyi").exists()
    licenses = [file.name for file in importlib.metadata.files("boneyard") if "LICENSE" in file.name]
    assert sorted(licenses) == ["LICENSE-APACHE", "LICENSE-MIT"]
    assert str(inspect.signature(Client.call)) == "(self, /, method, arguments=None, timeout=Ellipsis)"
    options = [inspect.signature(kind).parameters.values() for kind in (Client, boneyard.aio.Client)]
    blocking, asyncs = ([(one.name, one.kind, one.default) for one in each] for each in options)
    assert blocking == asyncs


# Whoever asks for the exception of a call that was cancelled runs Python code, which may ask for that call.
ASKS_MEANWHILE = """
import concurrent.futures as real, sys, types
import boneyard

class Module(types.ModuleType):
    def __getattr__(self, name):
        assert call.done()
        return getattr(real, name)

with boneyard.Client(sys.argv[1]) as client:
    call = client.start("load.sleep", 600_000)
    assert call.cancel()
    sys.modules["concurrent.futures"] = Module("concurrent.futures")
    try:
        call.result()
    except real.CancelledError:
        print("heard")
"""


def test_no_lock_is_held_while_python_runs(server):
    words = [sys.executable, "-I", "-c", ASKS_MEANWHILE, server.address]
    assert subprocess.run(words, capture_output=True, text=True, timeout=60).stdout == "heard\n"
