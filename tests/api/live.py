"""The app over fakes behind a real port, for clients that open connections of their own."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from openai import OpenAI

from datastores.base import DomainStore
from models.bundle.loaded import LoadedBundle
from service.app import create_app
from service.runtime import Loaders
from service.settings import AuthSettings, JobsSettings, Settings
from tests.api.conftest import CITY, FOREST
from tests.fakes import FakeBundle
from tests.memory_store import MemoryStore
from tests.served import served


@contextmanager
def live(store: DomainStore, bundle: LoadedBundle | None = None, settings: Settings | None = None) -> Iterator[str]:
    """Serve these parts meanwhile; gives the URL, once they are loaded."""

    async def open_store(_: Settings) -> DomainStore:
        return store

    with served(create_app(settings or Settings(), Loaders(lambda _: bundle or FakeBundle(), open_store))) as url:
        for _ in range(1000):
            if httpx.get(f"{url}/readyz").is_success:
                break
            time.sleep(0.01)
        yield url


@contextmanager
def live_with_two_domains(folder: Path, auth: AuthSettings | None = None, key: str = "") -> Iterator[str]:
    """The same with the domains of the fixture `store`, for tests that leave everything as it was.

    Args:
        folder: takes its jobs.
        auth: its keys.
        key: one of them, which may register.
    """
    settings = Settings(jobs=JobsSettings(path=folder), auth=auth or AuthSettings())
    with live(MemoryStore(), settings=settings) as url:
        for name, captions in (("city", CITY), ("forest", FOREST)):
            put = f"{url}/domains/{name}?wait=true"
            httpx.put(put, json={"captions": captions}, headers={"X-API-Key": key}).raise_for_status()
        yield url


def openai_client(url: str, key: str = "any") -> OpenAI:
    """OpenAI's own client, with nothing set but the address and a key."""
    return OpenAI(base_url=f"{url}/v1", api_key=key)
