"""Domains: register, describe, search, roll back and delete."""

import io
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from datastores.base import DomainNotFound, DomainStore, DomainVersion, InvalidDomainName
from datastores.corpus import CorpusLimits, read_corpus
from service.routes.dependencies import get_runtime, problems, while_connected
from service.runtime import Parts, Runtime, deadline
from service.schemas import (
    CorpusBody,
    DomainAnswer,
    DomainList,
    DomainName,
    RegistrationAnswer,
    RegistrationQuery,
    SearchAnswer,
    SimilarCaption,
)
from service.settings import variable_name
from service.uploads import FIELD, Upload, read_upload

router = APIRouter(prefix="/domains", tags=["domains"])

AppRuntime = Annotated[Runtime, Depends(get_runtime)]

_FILE = {"type": "string", "format": "binary", "description": ".json, .ndjson, .csv or .txt, as UTF-8"}
_LINES = {"schema": {"type": "string"}}
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": CorpusBody.model_json_schema()},
            "application/x-ndjson": _LINES
            | {"example": '{"caption": "A tram rings its bell."}\n{"caption": "Rain falls."}\n'},
            "text/csv": _LINES | {"example": "caption\nA tram rings its bell.\nRain falls.\n"},
            "text/plain": _LINES | {"example": "A tram rings its bell.\nRain falls.\n"},
            "multipart/form-data": {"schema": {"type": "object", "required": [FIELD], "properties": {FIELD: _FILE}}},
        },
    }
}
_REGISTERED: dict[int | str, dict[str, Any]] = {
    200: {"description": "The domain existed; the new version serves."},
    201: {"description": "The domain is new and serves.", "model": RegistrationAnswer},
}


@router.get("", summary="Every domain", responses=problems(503))
async def list_domains(runtime: AppRuntime) -> DomainList:
    """The serving version of every domain, by name."""
    versions = await runtime.parts.store.list()
    return DomainList(domains=[_describe(runtime, version) for version in versions])


@router.get("/{name}", summary="One domain", responses=problems(400, 404, 503))
async def show_domain(name: DomainName, runtime: AppRuntime) -> DomainAnswer:
    """The serving version of a domain."""
    return _describe(runtime, await runtime.parts.store.resolve(name))


@router.put(
    "/{name}",
    summary="Register a domain, or replace it",
    openapi_extra=_BODY,
    responses=_REGISTERED | problems(400, 409, 413, 415, 503, 504),
)
async def put_domain(
    name: DomainName,
    request: Request,
    response: Response,
    _: Annotated[RegistrationQuery, Query()],
    runtime: AppRuntime,
) -> RegistrationAnswer:
    """Send the whole corpus, as the body or as the multipart field `file`: JSON, NDJSON, CSV with a column
    `caption`, or plain text with one caption a line. The version before serves until the new one is whole.
    """
    parts = runtime.parts
    with runtime.registrations.take():
        async with deadline(
            runtime.settings.timeouts.registration_seconds, variable_name("timeouts", "registration_seconds")
        ):
            is_new = not await _exists(parts.store, name)
            upload = await read_upload(request, ())
            answer = await while_connected(request, _register(runtime, parts, name, upload))
    response.status_code = 201 if is_new else 200
    return answer


@router.delete("/{name}", status_code=204, summary="Remove a domain", responses=problems(400, 404, 409, 503))
async def delete_domain(name: DomainName, runtime: AppRuntime) -> Response:
    """Remove a domain with all its versions."""
    await runtime.parts.store.delete(name)
    return Response(status_code=204)


@router.post("/{name}/rollback", summary="Back to the version before", responses=problems(400, 404, 409, 503))
async def roll_back_domain(name: DomainName, runtime: AppRuntime) -> DomainAnswer:
    """Serve the version before the current one again."""
    return _describe(runtime, await runtime.parts.store.rollback(name))


@router.get(
    "/{name}/search",
    summary="What the datastore would retrieve for a text",
    responses=problems(400, 404, 409, 503, 504),
)
async def search_domain(
    name: DomainName,
    runtime: AppRuntime,
    q: Annotated[str, Query(min_length=1, max_length=2000, examples=["a dog in the rain"])],
    limit: Annotated[int, Query(ge=1, le=100)] = 10,
) -> SearchAnswer:
    """The captions nearest to a text, best first."""
    seconds = runtime.settings.timeouts.search_seconds
    async with deadline(seconds, variable_name("timeouts", "search_seconds")):
        captioner = runtime.parts.captioner
        version = await captioner.resolve(name)
        found = await runtime.parts.store.search(version, await captioner.embed_text([q]), limit)
    results = [SimilarCaption(caption=one.caption, score=round(one.score, 4)) for one in found[0]]
    return SearchAnswer(domain=name, domain_version=version.version, results=results)


@router.api_route("/{name:path}", methods=["GET", "PUT", "POST", "DELETE"], include_in_schema=False)
async def no_such_path(name: str, request: Request) -> Response:
    """A slash that was encoded reaches the routes as a slash: say that the name is wrong, not the route."""
    raw = bytes(request.scope.get("raw_path", b"")).lower()
    if b"%2f" in raw or b"%5c" in raw or ".." in name.split("/"):
        raise InvalidDomainName(f"{name!r} cannot be a domain's name")
    raise HTTPException(404)


async def _exists(store: DomainStore, name: str) -> bool:
    try:
        await store.resolve(name)
    except DomainNotFound:
        return False
    return True


async def _register(runtime: Runtime, parts: Parts, name: str, upload: Upload) -> RegistrationAnswer:
    limits = CorpusLimits(
        max_captions=runtime.settings.corpus.max_captions,
        max_caption_characters=runtime.settings.corpus.max_caption_characters,
    )
    corpus = read_corpus(io.BytesIO(upload.data), media_type=upload.media_type, filename=upload.filename, limits=limits)
    registered = await parts.captioner.register(name, corpus)
    return RegistrationAnswer(
        **_describe(runtime, registered.version).model_dump(),
        received=corpus.counts.read,
        duplicates=corpus.counts.duplicates,
        empty=corpus.counts.empty,
        seconds=round(registered.seconds, 3),
    )


def _describe(runtime: Runtime, version: DomainVersion) -> DomainAnswer:
    return DomainAnswer(
        name=version.domain,
        version=version.version,
        captions=version.captions,
        fingerprint=version.fingerprint,
        created=version.created,
        projection_temperature=runtime.parts.captioner.bundle.projection.temperature,
    )
