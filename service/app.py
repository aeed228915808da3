"""The app: middlewares, error handler, routers; its parts live as long as its lifespan."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from service.errors import install_error_handler
from service.loading import DEFAULT_LOADERS
from service.middleware import BodyLimit, BodyRule, RequestContext, SafeHeaders
from service.monitoring.metrics import Metrics
from service.monitoring.ops import serving_ops
from service.openapi import DESCRIPTION, install_openapi
from service.routes import captions, docs, domains, health, jobs, page, registration
from service.runtime import Loaders, State, running
from service.security import Guard, check_exposure, load_keyring
from service.settings import Settings, variable_name
from service.version import drcap_version


class GuardedState(State):
    """The state of a request, with what lets it in."""

    guard: Guard


def create_app(settings: Settings, loaders: Loaders = DEFAULT_LOADERS) -> FastAPI:
    """Build the app; nothing but its keys is loaded before its lifespan starts.

    Raises `SettingsError` for keys that cannot be read, and for an address that needs some.
    """
    check_exposure(settings)
    metrics, guard = Metrics(), Guard(load_keyring(settings.auth))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[GuardedState]:
        async with running(settings, loaders, metrics) as runtime, serving_ops(runtime):
            yield {"runtime": runtime, "guard": guard}

    app = FastAPI(
        title="drcap",
        version=drcap_version(),
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    rules = (
        BodyRule("/caption", settings.audio.max_bytes, variable_name("audio", "max_bytes")),
        BodyRule("/domains", settings.corpus.max_bytes, variable_name("corpus", "max_bytes")),
    )
    app.add_middleware(BodyLimit, rules=rules)
    app.add_middleware(RequestContext, metrics=metrics)
    app.add_middleware(SafeHeaders)
    install_error_handler(app)
    for routes in (captions, registration, domains, jobs, health, docs, page):
        app.include_router(routes.router)
    if settings.server.ops_port is None:
        app.include_router(health.figures)
    install_openapi(app)
    return app
