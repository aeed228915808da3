"""Runs the service inside this process, without a port, for ``--local``."""

import asyncio
import logging
import re
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from cli.common.client import checked
from cli.common.datastore import open_existing
from cli.common.errors import CommandError
from cli.common.jobs import FINISHED, drawing, result_of
from cli.common.parquet import readable
from cli.common.quiet import quiet
from service.settings import AuthSettings, DatastoreSettings, ServerSettings, Settings

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from datastores.base import DomainStore
    from models.bundle.loaded import LoadedBundle

# torch and the service are imported inside the functions, since requests to a running service do not need them.

_INSTEAD = "caption in a domain made of a file with --corpus FILE, or ask a running service without --local"
_READY_SECONDS = 60.0
_POLL_SECONDS = 0.2
_NAME_CHARACTERS = 64


def load(settings: Settings) -> "LoadedBundle":
    """Load the bundle of the settings. Blocks for seconds. Raises `CommandError`."""
    from service.loading import load_bundle

    try:
        with nullcontext() if settings.log.level == "debug" else quiet():
            return load_bundle(settings)
    except Exception as error:  # many packages read weights
        raise CommandError(f"the bundle could not be loaded: {error}") from error


def domain_of(corpus: Path) -> str:
    """Return the name of a corpus's domain: the file name, reduced to characters that a domain may have."""
    words = re.findall(r"[a-z0-9]+", corpus.name.partition(".")[0].lower())
    return "-".join(words)[:_NAME_CHARACTERS].strip("-") or "corpus"


@asynccontextmanager
async def inside(settings: Settings, bundle: "LoadedBundle", corpus: Path | None) -> AsyncIterator[httpx.AsyncClient]:
    """Run the whole service in this process while the context is open, and yield a client of it.

    The client needs no key, and nothing else reaches the service.

    Args:
        settings: of the service.
        bundle: the loaded bundle.
        corpus: file of captions, which becomes the only domain (`domain_of`) of a temporary datastore; None opens the
            datastore of the settings.

    Raises:
        CommandError: the datastore cannot be used, or the corpus cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="drcap-caption-") as folder, _quiet(settings):
        async with _client(_alone(settings, Path(folder), corpus), bundle) as client:
            if corpus is not None:
                await _register(client, corpus)
            yield client


@asynccontextmanager
async def _client(settings: Settings, bundle: "LoadedBundle") -> AsyncIterator[httpx.AsyncClient]:
    from service.app import create_app
    from service.runtime import Loaders

    failures: list[CommandError] = []

    async def store(of: Settings) -> "DomainStore":
        try:
            return await open_existing(of, _INSTEAD)
        except CommandError as error:
            failures.append(error)
            raise

    app = create_app(settings, Loaders(lambda _: bundle, store))
    async with app.router.lifespan_context(app) as state:

        async def with_state(scope: "Scope", receive: "Receive", send: "Send") -> None:
            await app({**scope, "state": dict(state or {})}, receive, send)

        transport = httpx.ASGITransport(with_state, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://this-process") as client:
            await _ready(client, failures)
            yield client


def _alone(settings: Settings, folder: Path, corpus: Path | None) -> Settings:
    """Return the settings without those that belong to a service beside this one: keys, ports, folder of jobs."""
    jobs = settings.jobs.model_copy(update={"path": folder / "jobs"})
    alone = {"server": ServerSettings(), "auth": AuthSettings(), "jobs": jobs}
    if corpus is not None:
        alone["datastore"] = DatastoreSettings(path=folder / "domains")
        (folder / "domains").mkdir()
    return settings.model_copy(update=alone)


async def _ready(client: httpx.AsyncClient, failures: list[CommandError]) -> None:
    until = time.monotonic() + _READY_SECONDS
    while not (answer := await client.get("/readyz")).is_success:
        if failures:
            raise failures[0]
        if time.monotonic() > until:
            checked(answer)
        await asyncio.sleep(0.01)


async def _register(client: httpx.AsyncClient, corpus: Path) -> None:
    try:
        with readable(corpus) as given, given.open("rb") as file, drawing("register") as draw:
            part = {"file": (given.name, file, "application/octet-stream")}
            job = checked(await client.put(f"/domains/{domain_of(corpus)}", files=part)).json()
            while job["state"] not in FINISHED:
                draw(job)
                await asyncio.sleep(_POLL_SECONDS)
                job = checked(await client.get(f"/jobs/{job['id']}")).json()
        result_of(job)
    except (CommandError, OSError) as error:
        raise CommandError(f"{corpus}: {error.strerror if isinstance(error, OSError) else error}") from error


@contextmanager
def _quiet(settings: Settings) -> Iterator[None]:
    """Show the service's log only at level debug, since the command reports errors itself."""
    if settings.log.level == "debug":
        from service.monitoring.logs import set_up_logs

        set_up_logs(settings.log)
        yield
        return
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
