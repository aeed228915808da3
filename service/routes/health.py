"""Whether the service lives, whether it can caption, and what it has counted."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.responses import Response

from datastores.base import DatastoreUnavailable
from service.errors import NotReady
from service.routes.dependencies import get_runtime, problems
from service.runtime import Runtime
from service.settings import variable_name

router = APIRouter(tags=["health"])
figures = APIRouter(tags=["health"])


@router.get(
    "/livez",
    summary="The process lives",
    responses={200: {"content": {"application/json": {"example": {"status": "alive"}}}}, **problems(503)},
)
async def livez(runtime: Annotated[Runtime, Depends(get_runtime)]) -> dict[str, str]:
    """200 while the process runs; 503 once a model is stuck, which only a new process mends."""
    stuck, limit = runtime.stalled(), runtime.settings.timeouts.stall_seconds
    if stuck > limit:
        setting = variable_name("timeouts", "stall_seconds")
        raise NotReady(f"a model has made no progress for {stuck:.0f} s; {limit:g} are allowed ({setting})")
    return {"status": "alive"}


@router.get("/readyz", summary="Captions can be made", responses=problems(503))
async def readyz(runtime: Annotated[Runtime, Depends(get_runtime)]) -> dict[str, str]:
    """200 once models and datastore are up and the datastore answers; 503 says what is missing."""
    parts = runtime.parts
    seconds = runtime.settings.datastore.probe_seconds
    try:
        async with asyncio.timeout(seconds):
            await parts.store.list()
    except TimeoutError as error:
        # Before whoever probes gives up: an answer in time says more than none.
        setting = variable_name("datastore", "probe_seconds")
        raise DatastoreUnavailable(f"the datastore did not answer within {seconds:g} s ({setting})") from error
    return {"status": "ready", "bundle": parts.captioner.bundle.name}


@figures.get("/metrics", summary="Figures for Prometheus", response_class=Response)
async def metrics(runtime: Annotated[Runtime, Depends(get_runtime)]) -> Response:
    """Counters in Prometheus' text format."""
    return Response(runtime.metrics.render(), media_type=runtime.metrics.media_type)
