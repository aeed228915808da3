"""Health: routes for liveness, readiness and metrics."""

import asyncio
from contextlib import suppress

from fastapi import APIRouter
from starlette.responses import Response

from datastores.base import DatastoreError, DatastoreUnavailable
from service.errors import NotReady, ServiceError
from service.routes.openapi_parts import problems
from service.runtime import AppRuntime, Runtime
from service.settings import variable_name

router = APIRouter(tags=["health"])
metrics_router = APIRouter(tags=["health"])

PROBE_SECONDS = 2.0
"""Seconds within which the datastore answers /readyz. The image's own health check gives up after 4."""


@router.get(
    "/livez",
    summary="Check liveness",
    responses={200: {"content": {"application/json": {"example": {"status": "alive"}}}}, **problems(503)},
)
async def livez(runtime: AppRuntime) -> dict[str, str]:
    """Returns 200 while the process runs, and 503 if a model is stuck. Restart the process in that case."""
    stuck, limit = runtime.stalled(), runtime.settings.timeouts.stall_seconds
    if stuck > limit:
        setting = variable_name("timeouts", "stall_seconds")
        raise NotReady(f"a model has made no progress for {stuck:.0f} s; the limit is {limit:g} s ({setting})")
    return {"status": "alive"}


@router.get("/readyz", summary="Check readiness", responses=problems(503))
async def readyz(runtime: AppRuntime) -> dict[str, str]:
    """Returns 200 if the models are loaded and the datastore answers, otherwise 503 with the missing parts."""
    await _probe(runtime)
    return {"status": "ready", "bundle": runtime.parts.bundle.name}


async def _probe(runtime: Runtime) -> None:
    """Check that the service can caption, and update the metrics. Raises the error that prevents captions."""
    metrics = runtime.metrics
    metrics.set_ready(False)
    parts = runtime.parts
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            versions = await parts.store.list()
    except TimeoutError as error:
        # Answer before the caller of the probe gives up, because an error in time says more than silence.
        raise DatastoreUnavailable(f"the datastore did not answer within {PROBE_SECONDS:g} s") from error
    metrics.set_ready(True)
    metrics.set_domains({one.domain: one.captions for one in versions})
    metrics.set_jobs(job.state.value for job in parts.jobs.list())


@metrics_router.get("/metrics", summary="Get the metrics", response_class=Response)
async def metrics(runtime: AppRuntime) -> Response:
    """Returns the metrics of the service in the text format of Prometheus."""
    # The metrics themselves show that the service is not ready, so a scrape must not fail then.
    with suppress(ServiceError, DatastoreError):
        await _probe(runtime)
    return Response(runtime.metrics.render(), media_type=runtime.metrics.media_type)
