"""Serves in the foreground, and stops when a part cannot be loaded."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from service.app import create_app
from service.connections import server_config
from service.loading import DEFAULT_LOADERS
from service.runtime import Loaders
from service.settings import Settings


def serve(settings: Settings) -> Exception | None:
    """Serve until told to stop; what kept a part from loading, if that is why it stopped."""
    failures: list[Exception] = []

    @contextmanager
    def stopping_on_failure() -> Iterator[None]:
        try:
            yield
        except Exception as error:
            failures.append(error)
            server.should_exit = True
            raise

    def load_bundle(of: Settings) -> Any:
        with stopping_on_failure():
            return DEFAULT_LOADERS.bundle(of)

    async def open_store(of: Settings) -> Any:
        with stopping_on_failure():
            return await DEFAULT_LOADERS.store(of)

    application = create_app(settings, Loaders(load_bundle, open_store))
    config = server_config(
        application,
        settings.server,
        host=settings.server.host,
        port=settings.server.port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=settings.server.drain_seconds,
    )
    server = uvicorn.Server(config)
    # uvicorn raises the signal that stopped it again when all is done; then it has done what it was to do.
    signal.signal(signal.SIGTERM, lambda *_: None)
    server.run()
    return failures[0] if failures else None
