"""A port of its own for operations: /metrics, which the main port then lacks, /livez and /readyz."""

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
    """The app behind the port for operations, over the parts of the main one. No route of it needs a key."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[State]:
        yield {"runtime": runtime}

    app = FastAPI(title="drcap operations", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.add_middleware(RequestContext, metrics=runtime.metrics)
    app.add_middleware(SafeHeaders)
    install_error_handler(app)
    for router in (health.router, health.figures):
        app.include_router(router)
    return app


@asynccontextmanager
async def serving_ops(runtime: Runtime) -> AsyncIterator[None]:
    """Serve the port for operations meanwhile, if the settings have one.

    It is open from before the main port opens until the last request there is answered, so that a start and a
    drain can be watched. Raises `SettingsError` when the port cannot be had.
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
    """A server inside another's process: signals are for the other one."""

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
