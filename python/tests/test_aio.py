"""The asyncio client."""

import asyncio
import gc
import os
import threading
import weakref

import pytest
from boneyard import errors
from boneyard.aio import Client
from conftest import wait_until

FOR_EVER = 600_000

# Longer than it takes to take a call back, on a busy machine too.
BUSY = 3000


async def until(what, condition):
    end = asyncio.get_running_loop().time() + 60
    while not await condition():
        assert asyncio.get_running_loop().time() < end, f"waited in vain until {what}"
        await asyncio.sleep(0.002)


def runs(client, count):
    """Returns whether `count` calls are in flight, the asking one included."""

    async def running():
        return (await client.call("server.info"))["in_flight"] == count

    return running


def test_many_calls_are_out_at_once_on_no_thread_of_their_own(server):
    async def main():
        async with Client(server.address) as client:
            assert await client.call("server.echo", {"a": 1}) == {"a": 1}
            threads = threading.active_count()
            answers = await asyncio.gather(*(client.call("server.echo", n) for n in range(500)))
            assert answers == list(range(500))
            assert threading.active_count() == threads
            assert "notes.read" in await client.methods()

    asyncio.run(main())


def test_errors_are_those_of_the_blocking_client(server):
    async def main():
        async with Client(server.address) as client:
            with pytest.raises(errors.Application) as raised:
                await client.call("notes.read", 999_999)
            assert raised.value.code == 1
            with pytest.raises(errors.BadRequest):
                await client.call("notes.read", "x")
            with pytest.raises(errors.UnknownMethod):
                await client.call("notes.reed", 1)
            with pytest.raises(errors.TimedOut):
                await client.call("load.sleep", 5000, timeout=1)
            with pytest.raises(ValueError):
                await client.call("server.echo", float("nan"))
        with pytest.raises(ValueError, match="closed"):
            await client.call("server.ping")

    asyncio.run(main())


def test_the_loop_goes_on_while_calls_wait(serve):
    server = serve("Server_Pool_Tasks=3")

    async def main():
        async with Client(server.address, timeout=None) as client:
            calls = [asyncio.ensure_future(client.call("load.sleep", FOR_EVER)) for _ in range(2)]
            await until("both run", runs(client, 3))
            server.kill()
            outcomes = await asyncio.gather(*calls, return_exceptions=True)
            assert [type(outcome) for outcome in outcomes] == [errors.Lost, errors.Lost]

    asyncio.run(main())


def test_a_task_that_is_cancelled_cancels_its_call(serve):
    server = serve("Server_Pool_Tasks=1")

    async def main():
        async with Client(server.address) as client:
            await client.call("server.ping")
            busy = asyncio.ensure_future(client.call("load.sleep", BUSY))
            never = asyncio.ensure_future(client.call("notes.create", {"title": "never", "text": ""}))
            late = asyncio.ensure_future(
                asyncio.wait_for(client.call("notes.create", {"title": "late", "text": ""}), 0.01)
            )
            await asyncio.sleep(0)
            never.cancel()
            outcomes = await asyncio.gather(never, late, return_exceptions=True)
            assert [type(outcome) for outcome in outcomes] == [asyncio.CancelledError, asyncio.TimeoutError]
            assert await client.call("notes.list", timeout=30) == []
            assert await busy is None

    asyncio.run(main())


def test_a_task_that_is_cancelled_while_it_connects_leaves_nothing_out(server):
    async def main():
        async with Client(server.address) as client:
            first = asyncio.ensure_future(client.call("load.sleep", FOR_EVER))
            await asyncio.sleep(0)
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            assert await client.call("server.echo", 1) == 1

    asyncio.run(main())


def test_sessions_work_as_clients_do(serve):
    server = serve()

    async def main():
        async with Client(server.address) as client:
            alone = (await client.call("server.info"))["sessions"]
            async with await client.session() as session:
                assert await session.call("server.echo", 1) == 1
                assert (await client.call("server.info"))["sessions"] == alone + 1
            assert (await client.call("server.info"))["sessions"] == alone
            ticket = await (await client.session()).detach()
            attached = await client.attach(ticket)
            assert attached.ticket == ticket and await attached.call("server.echo", 2) == 2
            await attached.close()
            assert (await client.call("server.info"))["sessions"] == alone

    asyncio.run(main())


def test_the_next_call_after_a_restart_connects_anew(serve, request):
    server = serve()

    async def main():
        async with Client(server.address, connect_timeout=1) as client:
            assert await client.call("server.echo", 1) == 1
            server.stop()
            request.addfinalizer(server.again().kill)

            async def answered():
                try:
                    return await client.call("server.echo", 2) == 2
                except (errors.Refused, errors.Lost):
                    return False

            await until("a call is answered", answered)

    asyncio.run(main())


def test_a_client_belongs_to_one_loop_at_a_time(server):
    client = Client(server.address)
    assert asyncio.run(client.call("server.echo", 1)) == 1
    assert asyncio.run(client.call("server.echo", 2)) == 2, "the first loop is closed"

    async def main():
        await client.call("server.ping")
        wrong = []

        def elsewhere():
            try:
                asyncio.run(client.call("server.ping"))
            except RuntimeError as error:
                wrong.append(str(error))

        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        assert wrong == ["the client belongs to another event loop"]
        await client.close()

    asyncio.run(main())


def test_a_child_that_closes_the_client_leaves_the_parents_alone(server):
    client, loop = Client(server.address), asyncio.new_event_loop()
    assert loop.run_until_complete(client.call("server.echo", 1)) == 1
    child = os.fork()
    if child == 0:
        # Whatever happens here must not run pytest on.
        code = 1
        try:
            asyncio.run(client.close())
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert loop.run_until_complete(asyncio.wait_for(client.call("server.echo", 2), 60)) == 2
    loop.run_until_complete(client.close())
    loop.close()


def test_a_loop_may_end_with_calls_out(serve):
    client = Client(serve("Server_Pool_Tasks=2").address, timeout=None)

    async def main():
        call = asyncio.ensure_future(client.call("load.sleep", FOR_EVER))
        await until("it runs", runs(client, 2))
        return call

    call = asyncio.run(main())
    assert call.cancelled()
    del call
    gc.collect()
    assert asyncio.run(client.call("server.echo", 1)) == 1


def test_calls_that_are_out_when_the_client_is_closed_are_answered(server):
    async def main():
        client = Client(server.address)
        assert await client.call("server.echo", 1) == 1
        state = client._loop_state
        call = asyncio.ensure_future(client.call("load.sleep", 300))
        await asyncio.sleep(0)
        await client.close()
        assert await asyncio.wait_for(call, 60) is None
        with pytest.raises(ValueError, match="closed"):
            await client.call("server.ping")
        watched = [state.bridge.fileno(), client._loop_state.bridge.fileno()]
        assert not any(asyncio.get_running_loop().remove_reader(one) for one in watched)

    asyncio.run(main())


def test_a_loop_that_was_closed_with_calls_out_cancels_them(serve):
    server = serve("Server_Pool_Tasks=2")
    client = Client(server.address, timeout=None)
    loop = asyncio.new_event_loop()
    assert loop.run_until_complete(client.call("server.echo", 1)) == 1

    async def main():
        return weakref.ref(asyncio.ensure_future(client.call("load.sleep", FOR_EVER)))

    task = loop.run_until_complete(main())
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    assert task() is not None
    del client, loop

    def gone():
        # A thread that still sends the call, on a busy machine, holds it a moment longer.
        gc.collect()
        return task() is None

    wait_until("the task is gone", gone)
