"""Whether the service lives, whether it can caption, and what it has counted."""

import asyncio
from contextlib import suppress

from fastapi import APIRouter
from starlette.responses import Response

from datastores.base import DatastoreError, DatastoreUnavailable
from service.errors import NotReady, ServiceError
from service.routes.dependencies import AppRuntime, problems
from service.runtime import Runtime
from service.settings import variable_name

router = APIRouter(tags=["health"])
figures = APIRouter(tags=["health"])


@router.get(
    "/livez",
    summary="The process lives",
    responses={200: {"content": {"application/json": {"example": {"status": "alive"}}}}, **problems(503)},
)
async def livez(runtime: AppRuntime) -> dict[str, str]:
    """200 while the process runs; 503 once a model is stuck, which only a new process mends."""
    stuck, limit = runtime.stalled(), runtime.settings.timeouts.stall_seconds
    if stuck > limit:
        setting = variable_name("timeouts", "stall_seconds")
        raise NotReady(f"a model has made no progress for {stuck:.0f} s; {limit:g} are allowed ({setting})")
    return {"status": "alive"}


@router.get("/readyz", summary="Captions can be made", responses=problems(503))
async def readyz(runtime: AppRuntime) -> dict[str, str]:
    """200 once models and datastore are up and the datastore answers; 503 says what is missing."""
    await _look(runtime)
    return {"status": "ready", "bundle": runtime.parts.bundle.name}


async def _look(runtime: Runtime) -> None:
    """Look whether captions can be made, and note in the metrics what is seen. Raises what keeps them from it."""
    metrics = runtime.metrics
    metrics.set_ready(False)
    parts = runtime.parts
    seconds = runtime.settings.datastore.probe_seconds
    try:
        async with asyncio.timeout(seconds):
            versions = await parts.store.list()
    except TimeoutError as error:
        # Before whoever probes gives up: an answer in time says more than none.
        setting = variable_name("datastore", "probe_seconds")
        raise DatastoreUnavailable(f"the datastore did not answer within {seconds:g} s ({setting})") from error
    metrics.set_ready(True)
    metrics.set_domains({one.domain: one.captions for one in versions})
    metrics.set_jobs(job.state.value for job in parts.jobs.list())


@figures.get("/metrics", summary="Figures for Prometheus", response_class=Response)
async def metrics(runtime: AppRuntime) -> Response:
    """Counters in Prometheus' text format."""
    # The answer says it all: a scrape shall not fail because the service is not ready.
    with suppress(ServiceError, DatastoreError):
        await _look(runtime)
    return Response(runtime.metrics.render(), media_type=runtime.metrics.media_type)
