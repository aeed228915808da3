"""Serves in the foreground, and stops when it is told to or a part cannot be loaded."""

import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from cli.common.process_exit import Ending
from service.app import create_app
from service.http.connections import server_config
from service.loading import DEFAULT_LOADERS
from service.runtime import Loaders
from service.settings import Settings

# Beyond the drain: for a registration to stop, for the models to end what they compute, for the datastore to close.
_CLOSING_SECONDS = 25.0


class _Server(uvicorn.Server):
    """A server whose process ends in time once it has been told to stop."""

    def __init__(self, config: uvicorn.Config, ending: Ending, seconds: float) -> None:
        super().__init__(config)
        self._ending, self._seconds = ending, seconds

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._ending.bound(self._seconds)
        await super().shutdown(sockets)


def serve(settings: Settings) -> Exception | None:
    """Serve until told to stop; what kept a part from loading, if that is why it stopped."""
    failures: list[Exception] = []
    ending = Ending()

    @contextmanager
    def stopping_on_failure() -> Iterator[None]:
        try:
            yield
        except Exception as error:
            failures.append(error)
            ending.code = 1
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
    server = _Server(config, ending, settings.server.drain_seconds + _CLOSING_SECONDS)

    def stop(*_: object) -> None:
        server.should_exit = True

    # uvicorn takes the signal over when it begins, and raises it again when all is done: then there is nothing to stop.
    signal.signal(signal.SIGTERM, stop)
    try:
        server.run()
    except KeyboardInterrupt:
        ending.code = 130
        raise
    finally:
        ending.closed()
    return failures[0] if failures else None
