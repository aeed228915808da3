import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from datastores.base import DomainStore
from models.bundle.loaded import LoadedBundle
from service.app import create_app
from service.runtime import Loaders
from service.settings import Settings
from tests.fakes import FakeBundle, FakeClap
from tests.memory_store import MemoryStore

CITY = ["tone 4", "tone 9 in the city", "a tram rings", "rain on a roof"]
FOREST = ["tone 4 between trees", "an owl calls", "wind in leaves"]


@pytest.fixture(autouse=True)
def jobs_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where every app of a test keeps its jobs, unless its settings say another folder."""
    folder = tmp_path / "jobs"
    monkeypatch.setenv("DRCAP_JOBS__PATH", str(folder))
    return folder


@asynccontextmanager
async def reach(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """The app with its lifespan running, reached in-process as a server would call it."""
    async with app.router.lifespan_context(app) as state:

        async def with_state(scope: Scope, receive: Receive, send: Send) -> None:
            await app({**scope, "state": dict(state or {})}, receive, send)

        transport = httpx.ASGITransport(with_state, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://drcap") as client:
            yield client


@asynccontextmanager
async def serving(
    store: DomainStore, bundle: LoadedBundle | None = None, settings: Settings | None = None
) -> AsyncIterator[httpx.AsyncClient]:
    """The app of the product over these parts, once they are loaded."""

    async def open_store(_: Settings) -> DomainStore:
        return store

    loaders = Loaders(lambda _: bundle or FakeBundle(), open_store)
    async with reach(create_app(settings or Settings(), loaders)) as client:
        for _ in range(2000):
            if (await client.get("/readyz")).status_code == 200:
                break
            await asyncio.sleep(0.001)
        yield client


@pytest.fixture
async def store() -> MemoryStore:
    """A datastore with two domains."""
    store, clap = MemoryStore(), FakeClap()
    for name, captions in (("city", CITY), ("forest", FOREST)):
        await store.put(name, captions, clap.embed_text(captions), clap.fingerprint)
    return store


@pytest.fixture
async def client(store: MemoryStore) -> AsyncIterator[httpx.AsyncClient]:
    """The app with two domains."""
    async with serving(store) as client:
        yield client
