"""Serves in the foreground, and ends the process in time when it is told to stop or a part cannot be loaded."""

import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

import uvicorn

from service.app import create_app
from service.batching.worker import left_threads
from service.http.connections import server_config
from service.loading import DEFAULT_LOADERS
from service.runtime import Loaders
from service.settings import Settings

# Beyond the drain: for a registration to stop, for the models to end their calls, for the datastore to close.
_CLOSING_SECONDS = 25.0

logger = logging.getLogger(__name__)


class ProcessExit:
    """Ends the process with `code` where a thread would keep it alive or abort it.

    Python does not stop threads. A thread that computes in torch when the interpreter goes away aborts the process, and
    a thread of an executor that never ends keeps the process for ever.
    """

    def __init__(self) -> None:
        self.code = 0
        self._closed = threading.Event()

    def bound(self, seconds: float) -> None:
        """End the process after these seconds unless everything is closed by then."""
        threading.Thread(target=self._wait, args=(seconds,), name="ending", daemon=True).start()

    def closed(self) -> None:
        """Note that everything is closed. End the process now if a call of a model still runs; else Python ends it."""
        self._closed.set()
        left = left_threads()
        if left:
            self._end(f"the process ends although a call of a model has not ended ({', '.join(left)})")

    def _wait(self, seconds: float) -> None:
        if self._closed.wait(seconds):
            return
        threads = (thread for thread in threading.enumerate() if thread is not threading.current_thread())
        names = ", ".join(sorted(thread.name for thread in threads))
        self._end(f"the process ends although it has not closed everything in {seconds:g} s ({names})")

    def _end(self, why: str) -> NoReturn:
        logger.error(why)
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):  # the stream or its reader may be closed
                stream.flush()
        os._exit(self.code)


class _Server(uvicorn.Server):
    """A server whose process ends in time once it is told to stop."""

    def __init__(self, config: uvicorn.Config, process: ProcessExit, seconds: float) -> None:
        super().__init__(config)
        self._process, self._seconds = process, seconds

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._process.bound(self._seconds)
        await super().shutdown(sockets)


def serve(settings: Settings) -> Exception | None:
    """Serve until told to stop. Return the error of a part that could not be loaded, if that ended the service."""
    failures: list[Exception] = []
    process = ProcessExit()

    @contextmanager
    def stopping_on_failure() -> Iterator[None]:
        try:
            yield
        except Exception as error:
            failures.append(error)
            process.code = 1
            server.should_exit = True
            raise

    def load_bundle(of: Settings) -> Any:
        with stopping_on_failure():
            return DEFAULT_LOADERS.bundle(of)

    async def open_store(of: Settings) -> Any:
        with stopping_on_failure():
            return await DEFAULT_LOADERS.store(of)

    config = server_config(
        create_app(settings, Loaders(load_bundle, open_store)),
        settings.server,
        host=settings.server.host,
        port=settings.server.port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=settings.server.drain_seconds,
    )
    server = _Server(config, process, settings.server.drain_seconds + _CLOSING_SECONDS)

    def stop(*_: object) -> None:
        server.should_exit = True

    # uvicorn takes the signal over when it begins, and raises it again at its end, when there is nothing left to stop.
    signal.signal(signal.SIGTERM, stop)
    try:
        server.run()
    except KeyboardInterrupt:
        process.code = 130
        raise
    finally:
        process.closed()
    return failures[0] if failures else None
