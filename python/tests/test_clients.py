"""Guarantees of both clients: the wheel's, and the one of under 200 lines that was written from docs/PROTOCOL.md."""

import ast
import concurrent.futures
import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from conftest import NOTES, PATIENCE, ROOT, Wire, wait_until

# Longer than any test waits.
FOR_EVER = 600_000

# Longer than it takes to look at a call or to take one back, on a busy machine too.
BUSY = 3000


def test_a_call_gives_its_result(server, connect):
    client = connect(server)
    assert client.call("server.ping") is None
    assert client.call("load.spin", 10) >= 10
    number = client.call("notes.create", {"title": "Milk", "text": "two bottles"})
    assert client.call("notes.read", number) == {"title": "Milk", "text": "two bottles"}
    assert [number, "Milk"] in client.call("notes.list")
    assert {"notes.read", "server.echo"} <= set(client.methods)
    assert list(client.methods) == sorted(client.methods) == client.call("server.methods")


@pytest.mark.parametrize(
    "value",
    [
        None, True, False, 0, -1, 2**53 + 1, -(2**63), 2**63, 2**64 - 1, 2**64, -(2**64), 2**200, 0.0, -0.5, 1e308,
        5e-324, 0.1, "", "\0\x1f\"\\/\x7f", "\u00e4\u20ac\U0001f600", "x" * 100_000, [], {}, [[], {}, ""],
        {"": {"": [None]}}, {"a": 1, "b": [1, 2.5, "c"]}, list(range(10_000)),
    ],
    ids=lambda value: repr(value)[:20],
)  # fmt: skip
def test_a_value_comes_back_as_it_went(server, connect, value):
    back = connect(server).call("server.echo", value)
    assert (back, type(back)) == (value, type(value))


def test_what_json_has_no_form_for_goes_in_the_form_of_serde(server, connect):
    client = connect(server)
    for given, back in [
        (b"\x00\x09\x0a\x63\x64\xff", [0, 9, 10, 99, 100, 255]),
        (bytearray(b"ab"), [97, 98]),
        (memoryview(b"ab"), [97, 98]),
        ((1, (2,)), [1, [2]]),
        ({1: "a", 2**64: "b"}, {"1": "a", str(2**64): "b"}),
        ({True: None}, {"true": None}),
    ]:
        assert client.call("server.echo", given) == back
    assert client.call("load.echo", bytes(range(256)) * 40) == list(range(256)) * 40


def test_what_is_no_json_is_not_sent(server, connect):
    client = connect(server)
    endless = []
    endless.append(endless)
    for value in (float("nan"), float("inf"), "\ud800", endless):
        with pytest.raises(ValueError):
            client.call("server.echo", value)
    for value in (object(), {(1, 2): 3}, [1, object()]):
        with pytest.raises(TypeError):
            client.call("server.echo", value)
    assert client.call("server.echo", 1) == 1


def test_an_error_says_by_its_class_whether_the_call_may_be_repeated(server, connect, library):
    client = connect(server)
    for method, arguments, kind, status, code, part in [
        ("notes.read", 999_999, library.Failed, "Application", 1, "no note 999999"),
        ("notes.create", {"title": "", "text": ""}, library.Failed, "Application", 2, "title"),
        ("notes.read", "x", library.Refused, "BadRequest", 0, "string"),
        ("notes.create", {"title": "a"}, library.Refused, "BadRequest", 0, "text"),
        ("notes.read", -1, library.Refused, "BadRequest", 0, "-1"),
        ("notes.reed", 1, library.Refused, "UnknownMethod", 0, "notes.reed"),
        ("server.echo", "x" * (5 << 20), library.Refused, "TooLarge", 0, "over the server's"),
    ]:
        with pytest.raises(kind) as raised:
            client.call(method, arguments)
        error = raised.value
        assert isinstance(error, library.BoneyardError)
        assert (error.status, error.code, error.retry_after) == (status, code, None)
        assert part in error.message and status in str(error)
    assert client.call("server.ping") is None, "the connection goes on"


def test_calls_are_out_together_and_come_back_in_any_order(server, connect):
    client = connect(server)
    slow = client.start("load.sleep", 20)
    calls = [client.start("server.echo", n) for n in range(300)]
    assert [call.result() for call in reversed(calls)] == list(reversed(range(300)))
    assert slow.result() is None and slow.done()
    assert slow.times.run >= 0.02 and slow.times.queue_wait >= 0 and slow.times.permit_wait >= 0
    assert slow.result() is None, "a result can be had again"


def test_waiting_with_a_bound_leaves_the_call_out(server, connect):
    call = connect(server).start("load.sleep", BUSY)
    with pytest.raises(concurrent.futures.TimeoutError):
        call.result(0)
    assert call.result() is None


def test_a_call_that_is_late_is_lost(serve, connect, library):
    client = connect(serve())
    client.call("server.ping")
    with pytest.raises(library.Lost) as raised:
        client.call("load.sleep", FOR_EVER, timeout=1)
    assert raised.value.status == "TimedOut"
    call = client.start("load.sleep", FOR_EVER, timeout=1)
    with pytest.raises(library.Lost):
        call.result()
    assert call.done()
    assert client.call("server.echo", 1) == 1


def test_a_call_that_was_never_begun_is_refused(serve, connect, library):
    client = connect(serve("Server_Pool_Tasks=1", "Server_Session_Calls=2"), timeout=None)
    out = [client.start("load.sleep", FOR_EVER), client.start("load.sleep", FOR_EVER)]
    with pytest.raises(library.Refused) as raised:
        client.start("server.ping").result()
    assert raised.value.status == "SessionLimit"
    assert not any(call.done() for call in out)


def test_a_cancelled_call_is_not_begun(serve, connect):
    client = connect(serve("Server_Pool_Tasks=1"))
    busy = client.start("load.sleep", BUSY)
    call = client.start("notes.create", {"title": "never", "text": ""})
    assert call.cancel() and call.done()
    with pytest.raises(concurrent.futures.CancelledError):
        call.result()
    assert client.call("notes.list", timeout=30) == []
    assert busy.done() and not busy.cancel()


def test_threads_share_a_client(server, connect):
    client, wrong = connect(server), []

    def work(thread):
        wrong.extend(n for n in range(100) if client.call("server.echo", [thread, n]) != [thread, n])

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_two_threads_are_in_calls_at_once(serve, connect, library):
    """Both wait while a third, this one, goes on: neither holds the interpreter."""
    server = serve("Server_Pool_Tasks=3")
    client, lost = connect(server, timeout=None), []

    def work():
        try:
            client.call("load.sleep", FOR_EVER)
        except library.Lost as error:
            lost.append(error.status)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    wait_until("both calls run", lambda: client.call("server.info")["in_flight"] == 3)
    server.kill()
    for thread in threads:
        thread.join()
    assert lost == ["Lost", "Lost"]


def sessions(client):
    return client.call("server.info")["sessions"]


def test_a_session_is_opened_attached_after_a_cut_and_closed(serve, connect, library):
    server = serve()
    wire, other = Wire(server.address), connect(server)
    alone = sessions(other)
    client = connect(wire)
    session = client.session()
    assert sessions(other) == alone + 2
    assert session.call("server.echo", 1) == 1
    wire.cut()
    wait_until("the connection is gone", lambda: sessions(other) == alone + 1)
    attached = other.attach(session.ticket)
    assert attached.call("server.echo", 2) == 2
    attached.close()
    assert sessions(other) == alone
    with pytest.raises(library.Refused) as raised:
        other.attach(session.ticket)
    assert raised.value.status == "UnknownSession"
    with other.session() as inner:
        assert inner.call("server.echo", 3) == 3
        assert sessions(other) == alone + 1
    assert sessions(other) == alone


def test_calls_are_lost_with_their_connection_and_told_apart_from_those_not_sent(serve, library):
    server = serve()
    client = library.Client(server.address, timeout=None)
    call = client.start("load.sleep", FOR_EVER)
    wait_until("it runs", lambda: client.call("server.info")["in_flight"] == 2)
    server.kill()
    with pytest.raises(library.Lost):
        call.result()
    with pytest.raises(library.Refused) as raised:
        wait_until("the client has seen the end", lambda: client.start("server.ping") and None)
    assert raised.value.status == "NotConnected"
    client.close()


def test_calls_that_are_out_are_answered_when_the_server_stops(serve, connect):
    server = serve("Server_Pool_Tasks=2")
    client = connect(server)
    call = client.start("load.sleep", BUSY)
    wait_until("it runs", lambda: client.call("server.info")["in_flight"] == 2)
    server.stop()
    assert call.result() is None


def test_the_client_of_the_specification_is_short_and_needs_no_package():
    text = Path(ROOT / "examples/client.py").read_text()
    assert len(text.splitlines()) < 200 and max(map(len, text.splitlines())) <= 120
    imports = [node for node in ast.walk(ast.parse(text)) if isinstance(node, (ast.Import, ast.ImportFrom))]
    assert all(isinstance(node, ast.Import) for node in imports)
    names = {name.name.split(".")[0] for node in imports for name in node.names}
    assert names <= sys.stdlib_module_names and "boneyard" not in names


def shell(*words, given=None):
    """The exit code of examples/client.py, its standard output and its standard error."""
    command = [sys.executable, ROOT / "examples/client.py", *words]
    said = subprocess.run(command, input=given, capture_output=True, text=True, timeout=PATIENCE)
    return said.returncode, said.stdout, said.stderr


def test_the_client_of_the_specification_calls_from_a_shell_with_the_exit_codes_of_the_program(serve):
    server = serve("Server_Pool_Tasks=2")
    address = server.address
    for words, given, code, out, err in [
        (("server.echo", '{"a": ["\u00e4", 18446744073709551615]}'), None, 0, '{"a": ["\u00e4", 18446744073709551615]}\n', ""),
        (("server.ping",), None, 0, "null\n", ""),
        (("server.echo", "-"), "[1]\n", 0, "[1]\n", ""),
        (("server.echo", "{"), None, 2, "", "line 1 column 2"),
        (("server.pign",), None, 2, "", "UnknownMethod"),
        (("load.sleep", '"x"'), None, 2, "", "BadRequest"),
        (("load.sleep", str(FOR_EVER + 1)), None, 3, "", "Application"),
        ((), None, 2, "", "client.py ADDR METHOD [JSON]"),
    ]:
        found = shell(address, *words, given=given)
        assert found[:2] == (code, out) and err in found[2], (words, found)
        same = subprocess.run([NOTES, "call", address, *words], input=given, capture_output=True, text=True)
        assert same.returncode == code, (words, same)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    sleeps = subprocess.Popen([sys.executable, ROOT / "examples/client.py", address, "load.sleep", str(FOR_EVER)], **quiet)
    wait_until("it runs", lambda: json.loads(shell(address, "server.info")[1])["in_flight"] == 2)
    server.kill()
    assert sleeps.wait(PATIENCE) == 4
    code, out, err = shell(address, "server.ping")
    assert (code, out) == (1, "") and "refused" in err
