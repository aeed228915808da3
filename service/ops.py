"""A separate port for operations with /metrics, /livez and /readyz. The main port then has no /metrics."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import uvicorn
from fastapi import FastAPI

from service.http.connections import server_config
from service.http.middleware import RequestContext, SafeHeaders
from service.http.problems import install_error_handler
from service.routes import health
from service.runtime import Runtime, State
from service.settings import SettingsError, variable_name

_CLOSING_SECONDS = 1

logger = logging.getLogger(__name__)


def create_ops_app(runtime: Runtime) -> FastAPI:
    """Build the app for the operations port. It uses the runtime of the main app, and its routes require no key."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[State]:
        yield {"runtime": runtime}

    app = FastAPI(title="drcap operations", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.add_middleware(RequestContext, metrics=runtime.metrics)
    app.add_middleware(SafeHeaders)
    install_error_handler(app)
    for router in (health.router, health.metrics_router):
        app.include_router(router)
    return app


@asynccontextmanager
async def serving_ops(runtime: Runtime) -> AsyncIterator[None]:
    """Serve the operations port during the block, if the settings name one.

    It opens before the main port and closes after the last request there, so that it can be used to watch a start and
    a drain. Raises `SettingsError` if the port cannot be opened.
    """
    server = runtime.settings.server
    if server.ops_port is None:
        yield
        return
    listener = _listen(server.ops_host or server.host, server.ops_port)
    config = server_config(
        create_ops_app(runtime), server, log_config=None, access_log=False, timeout_graceful_shutdown=_CLOSING_SECONDS
    )
    ops = _Server(config)
    logger.info("operations at http://%s:%d", *listener.getsockname()[:2])
    task = asyncio.create_task(ops.serve(sockets=[listener]))
    try:
        yield
    finally:
        ops.should_exit = True
        await asyncio.gather(task, return_exceptions=True)


class _Server(uvicorn.Server):
    """A server in the process of another one, which handles the signals."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host.strip("[]"), port), family=family)
    except OSError as error:
        setting = variable_name("server", "ops_port")
        raise SettingsError(f"{setting}: {host}:{port} cannot be listened on: {error.strerror}") from error
