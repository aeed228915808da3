"""The app: middleware, error handler and routers. Its parts exist during its lifespan."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI

from service.auth.guard import Guard, check_exposure, load_keyring, watching_keys
from service.http import connections
from service.http.middleware import BodyLimit, BodyPace, BodyRule, RequestContext, SafeHeaders
from service.http.problems import install_error_handler
from service.loading import DEFAULT_LOADERS
from service.monitoring.metrics import Metrics
from service.monitoring.tracing import Tracing, open_tracing
from service.openai.errors import OPENAI_PREFIX, error_response
from service.openapi import DESCRIPTION, install_openapi
from service.ops import serving_ops
from service.routes import captions, docs, domains, health, jobs, models, page, registration, transcriptions
from service.runtime import Loaders, State, running
from service.settings import Settings, TracingSettings, variable_name
from service.version import drcap_version


class GuardedState(State):
    """The state of a request, with the guard."""

    guard: Guard


def create_app(
    settings: Settings,
    loaders: Loaders = DEFAULT_LOADERS,
    trace: Callable[[TracingSettings], Tracing | None] = open_tracing,
) -> FastAPI:
    """Build the app. Before its lifespan starts, it loads only the keys.

    Raises `SettingsError` if keys cannot be read, if the address requires keys, or if tracing lacks its packages.
    """
    check_exposure(settings)
    metrics, keyring = Metrics(), load_keyring(settings.auth)
    guard, tracing = Guard(keyring), trace(settings.tracing)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[GuardedState]:
        with watching_keys(settings.auth, keyring, guard, metrics):
            async with running(settings, loaders, metrics) as runtime, serving_ops(runtime):
                yield {"runtime": runtime, "guard": guard}
        if tracing is not None:
            await asyncio.to_thread(tracing.close)

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
        BodyRule("/v1/audio", settings.audio.max_bytes, variable_name("audio", "max_bytes")),
        BodyRule("/domains", settings.corpus.max_bytes, variable_name("corpus", "max_bytes")),
    )
    pace = BodyPace(connections.CLIENT_SECONDS, connections.UPLOAD_RATE)
    app.add_middleware(BodyLimit, rules=rules, pace=pace)
    app.add_middleware(RequestContext, metrics=metrics, tracing=tracing)
    app.add_middleware(SafeHeaders)
    install_error_handler(app, {OPENAI_PREFIX: error_response})
    for routes in (captions, registration, domains, jobs, transcriptions, models, health, docs, page):
        app.include_router(routes.router)
    if settings.server.ops_port is None:
        app.include_router(health.metrics_router)
    install_openapi(app)
    return app
