"""Domains: routes that list, describe, search, export, roll back and delete. `registration` has those that fill."""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from datastores.base import InvalidDomainName, StoredCaption
from service.auth.access import changing, reading
from service.auth.guard import Caller
from service.http.bounds import within
from service.http.deadlines import request_deadline
from service.routes.openapi_parts import GUARDED, problems
from service.runtime import AppRuntime
from service.schemas import DomainAnswer, DomainList, DomainName, SearchAnswer, SimilarCaption

router = APIRouter(prefix="/domains", tags=["domains"], responses=GUARDED)


_NDJSON: dict[str, Any] = {
    "application/x-ndjson": {
        "schema": {"type": "string"},
        "example": '{"caption": "A tram rings its bell."}\n{"caption": "Rain falls."}\n',
    }
}
_EXPORTED: dict[int | str, dict[str, Any]] = {
    200: {"description": "The captions as NDJSON, one per line.", "content": _NDJSON}
}


@router.get("", summary="List the domains", responses=problems(503))
async def list_domains(caller: Annotated[Caller, Depends(reading)], runtime: AppRuntime) -> DomainList:
    """Lists the serving version of each domain that the key may use, sorted by name."""
    versions = [version for version in await runtime.parts.store.list() if caller.reaches(version.domain)]
    return DomainList(domains=[DomainAnswer.of(version, runtime.parts.bundle) for version in versions])


@router.get("/{name}", summary="Describe a domain", dependencies=[Depends(reading)], responses=problems(400, 404, 503))
async def show_domain(name: DomainName, runtime: AppRuntime) -> DomainAnswer:
    """Describes the serving version of the domain."""
    parts = runtime.parts
    return DomainAnswer.of(await parts.store.resolve(name), parts.bundle)


@router.delete(
    "/{name}",
    status_code=204,
    summary="Remove a domain",
    dependencies=[Depends(changing)],
    responses=problems(400, 404, 409, 503),
)
async def delete_domain(name: DomainName, runtime: AppRuntime) -> Response:
    """Removes the domain with all its versions."""
    parts = runtime.parts
    parts.jobs.slots.check_free(name)
    await parts.store.delete(name)
    return Response(status_code=204)


@router.post(
    "/{name}/rollback",
    summary="Roll back a domain",
    dependencies=[Depends(changing)],
    responses=problems(400, 404, 409, 503),
)
async def roll_back_domain(name: DomainName, runtime: AppRuntime) -> DomainAnswer:
    """Serves the version before the current one again."""
    parts = runtime.parts
    return DomainAnswer.of(await parts.store.rollback(name), parts.bundle)


@router.get(
    "/{name}/search",
    summary="Search a domain",
    dependencies=[Depends(reading)],
    responses=problems(400, 404, 409, 503, 504),
)
async def search_domain(
    name: DomainName,
    request: Request,
    runtime: AppRuntime,
    q: Annotated[str, Query(min_length=1, max_length=2000, examples=["a dog in the rain"])],
    limit: Annotated[int, Query(ge=1, le=100)] = 10,
) -> SearchAnswer:
    """Returns the captions that the datastore retrieves for a text, most similar first."""
    async with within(request_deadline(request, "search", runtime.settings.timeouts)):
        parts = runtime.parts
        version = await parts.domains.resolve(name)
        found = await parts.store.search(version, await parts.models.embed_text([q]), limit)
    results = [SimilarCaption(caption=one.caption, score=round(one.score, 4)) for one in found[0]]
    return SearchAnswer(domain=name, domain_version=version.version, results=results)


@router.get(
    "/{name}/captions",
    summary="Export a domain",
    dependencies=[Depends(changing)],
    response_class=StreamingResponse,
    responses=_EXPORTED | problems(400, 404, 503),
)
async def export_domain(name: DomainName, runtime: AppRuntime) -> StreamingResponse:
    """Returns all captions of the serving version as NDJSON, which can be registered again. The header
    `X-Domain-Version` names the version. If a new version is registered during the answer, the answer still contains
    the old one.
    """
    store = runtime.parts.store
    version = await store.resolve(name)
    pages = store.entries(version)
    # Read before the answer starts, so that a version that cannot be read is still answered with a problem document.
    first: Sequence[StoredCaption] = await anext(pages, [])
    headers = {
        "Content-Disposition": f'attachment; filename="{name}.ndjson"',
        "X-Domain-Version": version.version,
    }
    return StreamingResponse(_lines(first, pages), media_type="application/x-ndjson", headers=headers)


@router.api_route(
    "/{name:path}", methods=["GET", "PUT", "POST", "DELETE"], dependencies=[Depends(reading)], include_in_schema=False
)
async def no_such_path(name: str, request: Request) -> Response:
    """Report an invalid name. An encoded slash reaches the routes as a slash, so no other route matches such a name."""
    raw = bytes(request.scope.get("raw_path", b"")).lower()
    if b"%2f" in raw or b"%5c" in raw or ".." in name.split("/"):
        raise InvalidDomainName(f"{name!r} is not a valid name of a domain")
    raise HTTPException(404)


async def _lines(first: Sequence[StoredCaption], pages: AsyncIterator[Sequence[StoredCaption]]) -> AsyncIterator[bytes]:
    try:
        yield _page(first)
        async for entries in pages:
            yield _page(entries)
    finally:
        if isinstance(pages, AsyncGenerator):
            await pages.aclose()


def _page(entries: Sequence[StoredCaption]) -> bytes:
    return "".join(json.dumps({"caption": one.caption}, ensure_ascii=False) + "\n" for one in entries).encode()
