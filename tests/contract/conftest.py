"""The backends that the contract is asked of."""

import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from qdrant_client import AsyncQdrantClient

from datastores.base import DomainStore
from datastores.edge.store import EdgeStore
from datastores.qdrant.store import QdrantStore
from tests.contract.versions import Reopen
from tests.qdrant_calls import Calls
from tests.storage import server_config

SERVER = "DRCAP_TEST_QDRANT_URL"
Open = Callable[[], Awaitable[DomainStore]]


@asynccontextmanager
async def edge(folder: Path) -> AsyncIterator[Open]:
    async def open_store() -> DomainStore:
        return await EdgeStore.open(folder / "store")

    yield open_store


@asynccontextmanager
async def memory(folder: Path) -> AsyncIterator[Open]:
    """One in-process client, in which the data lives; it never gives way to other tasks by itself."""
    client = AsyncQdrantClient(":memory:")

    async def open_store() -> DomainStore:
        return await QdrantStore.open(server_config("http://memory"), Calls(client).client)

    yield open_store
    await client.close()


@asynccontextmanager
async def server(folder: Path) -> AsyncIterator[Open]:
    """A real server, under a prefix of this test's own; `DRCAP_TEST_QDRANT_KEY` where it asks for one."""
    if SERVER not in os.environ:
        pytest.skip(f"needs a Qdrant server: its URL in {SERVER}")
    key = os.environ.get("DRCAP_TEST_QDRANT_KEY")
    config = server_config(os.environ[SERVER], write_key=key, prefix=f"test-{secrets.token_hex(4)}")

    async def open_store() -> DomainStore:
        return await QdrantStore.open(config)

    yield open_store
    client = AsyncQdrantClient(url=config.url, api_key=key)
    for collection in (await client.get_collections()).collections:
        if collection.name.startswith(f"{config.prefix}."):
            await client.delete_collection(collection.name)
    await client.close()


BACKENDS = {"edge": edge, "memory": memory, "server": server}


@pytest.fixture(params=list(BACKENDS))
async def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Reopen]:
    """Closes the store, where one is open, and opens it again over the same data."""
    opened: list[DomainStore] = []
    async with AsyncExitStack() as stack:
        open_store = await stack.enter_async_context(BACKENDS[request.param](tmp_path))

        async def again() -> DomainStore:
            for store in opened:
                await store.close()
            opened[:] = [await open_store()]
            return opened[0]

        yield again
        for store in opened:
            await store.close()


@pytest.fixture
async def store(reopen: Reopen) -> DomainStore:
    return await reopen()
