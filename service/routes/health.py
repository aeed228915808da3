"""Whether the service lives, whether it can caption, and what it has counted."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.responses import Response

from datastores.base import DatastoreUnavailable
from service.routes.dependencies import get_runtime, problems
from service.runtime import Runtime
from service.settings import variable_name

router = APIRouter(tags=["health"])


@router.get(
    "/livez",
    summary="The process answers",
    responses={200: {"content": {"application/json": {"example": {"status": "alive"}}}}},
)
async def livez() -> dict[str, str]:
    """Always 200 while the process runs."""
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


@router.get("/metrics", summary="Figures for Prometheus", response_class=Response)
async def metrics(runtime: Annotated[Runtime, Depends(get_runtime)]) -> Response:
    """Counters in Prometheus' text format."""
    return Response(runtime.metrics.render(), media_type=runtime.metrics.media_type)
