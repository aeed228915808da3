"""The app: middlewares, error handler, routers; its parts live as long as its lifespan."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version

from fastapi import FastAPI

from service.errors import install_error_handler
from service.loading import DEFAULT_LOADERS
from service.metrics import Metrics
from service.middleware import BodyLimit, BodyRule, RequestContext
from service.openapi import DESCRIPTION, install_openapi
from service.routes import captions, domains, health, jobs, page, registration
from service.runtime import Loaders, State, running
from service.settings import Settings, variable_name


def create_app(settings: Settings, loaders: Loaders = DEFAULT_LOADERS) -> FastAPI:
    """Build the app; nothing is loaded before its lifespan starts."""
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[State]:
        async with running(settings, loaders, metrics) as runtime:
            yield {"runtime": runtime}

    app = FastAPI(title="drcap", version=_version(), description=DESCRIPTION, lifespan=lifespan)
    rules = (
        BodyRule("/caption", settings.audio.max_bytes, variable_name("audio", "max_bytes")),
        BodyRule("/domains", settings.corpus.max_bytes, variable_name("corpus", "max_bytes")),
    )
    app.add_middleware(BodyLimit, rules=rules)
    app.add_middleware(RequestContext, metrics=metrics)
    install_error_handler(app)
    for routes in (captions, registration, domains, jobs, health, page):
        app.include_router(routes.router)
    install_openapi(app)
    return app


def _version() -> str:
    try:
        return version("drcap")
    except PackageNotFoundError:  # run from a checkout that was not installed
        return "0+unknown"
