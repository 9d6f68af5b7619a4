"""What `boneyard stubs --lang python` writes for a running server, over the package's clients of both kinds."""

import asyncio
import importlib.util
import subprocess

import boneyard
import pytest
from boneyard import aio
from conftest import NOTES


@pytest.fixture(scope="module")
def stubs(server, tmp_path_factory):
    """The module that the program writes."""
    path = tmp_path_factory.mktemp("stubs") / "notes_stubs.py"
    said = subprocess.run([NOTES, "stubs", server.address, "--lang", "python"], check=True, stdout=subprocess.PIPE)
    path.write_bytes(said.stdout)
    spec = importlib.util.spec_from_file_location("notes_stubs", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


NOTE = {"title": "Milk", "text": "two bottles"}


def test_the_blocking_classes_call(server, stubs):
    with boneyard.Client(server.address) as client:
        services = stubs.Services(client)
        number = services.notes.create(NOTE)
        assert services.notes.read(number) == NOTE and [number, "Milk"] in services.notes.list()
        with client.session() as session:
            assert stubs.Services(session).server.ping() is None
        with pytest.raises(boneyard.errors.Application):
            services.notes.read(10**6)


def test_the_classes_for_asyncio_call(server, stubs):
    async def use():
        async with aio.Client(server.address) as client:
            services = stubs.AsyncServices(client)
            numbers = await asyncio.gather(*(services.notes.create(NOTE) for _ in range(20)))
            assert len(set(numbers)) == 20 and await services.notes.read(numbers[0]) == NOTE
            async with await client.session() as session:
                assert await stubs.AsyncServices(session).server.ping() is None
            with pytest.raises(boneyard.errors.Application):
                await services.notes.read(10**6)

    asyncio.run(use())


def test_an_asyncio_client_is_refused_by_the_blocking_classes(server, stubs):
    with pytest.raises(TypeError, match="for asyncio: use AsyncServices"):
        stubs.Services(aio.Client(server.address))
