"""A service on a free port of this machine, in a thread."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from service.http.connections import server_config
from service.settings import ServerSettings


@contextmanager
def served(app: ASGIApp, settings: ServerSettings | None = None, **options: Any) -> Iterator[str]:
    """Serve the app meanwhile, as the `drcap` command does; gives its URL. `options` are uvicorn's."""
    config = server_config(app, settings or ServerSettings(), port=0, log_level="warning", **options)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        for _ in range(1000):
            if server.started:
                break
            time.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
