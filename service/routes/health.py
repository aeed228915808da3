"""Whether the service lives, whether it can caption, and what it has counted."""

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.responses import Response

from service.routes.dependencies import get_runtime, problems
from service.runtime import Runtime

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
    await parts.store.list()
    return {"status": "ready", "bundle": parts.captioner.bundle.name}


@router.get("/metrics", summary="Figures for Prometheus", response_class=Response)
async def metrics(runtime: Annotated[Runtime, Depends(get_runtime)]) -> Response:
    """Counters in Prometheus' text format."""
    return Response(runtime.metrics.render(), media_type=runtime.metrics.media_type)
