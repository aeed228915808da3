"""Registration: routes that upload the corpus of a domain, or more captions for it, and start a job."""

import asyncio
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from datastores.base import DomainNotFound, DomainStore
from datastores.corpus.formats import FORMATS, JSON, suffixes, titles
from service.auth.access import changing
from service.http.bounds import while_connected, within
from service.http.deadlines import request_deadline
from service.http.problems import request_id_of
from service.http.uploads import FIELD
from service.jobs.corpus_reading import open_corpus
from service.jobs.records import JobAnswer, JobKind, JobProgress, JobRecord
from service.jobs.spool import spool
from service.routes.openapi_parts import GUARDED, problems
from service.runtime import AppRuntime, Runtime
from service.schemas import CorpusBody, DomainName, RegistrationAnswer, RegistrationQuery

router = APIRouter(prefix="/domains", tags=["domains"], dependencies=[Depends(changing)], responses=GUARDED)

_FILE = {"type": "string", "format": "binary", "description": f"A {suffixes()} file, also as .gz."}
_TEXTS = {form.media_types[0]: {"schema": {"type": "string"}, "example": form.example} for form in FORMATS}
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": _TEXTS
        | {
            JSON.media_types[0]: {"schema": CorpusBody.model_json_schema()},
            "application/octet-stream": {"schema": _FILE},
            "multipart/form-data": {"schema": {"type": "object", "required": [FIELD], "properties": {FIELD: _FILE}}},
        },
    }
}
_DONE: dict[int | str, dict[str, Any]] = {
    200: {"description": "With `wait=true`: the new version serves.", "model": RegistrationAnswer},
    202: {
        "description": "The registration continues as a job.",
        "model": JobAnswer,
        "headers": {"Location": {"description": "The path of the job.", "schema": {"type": "string"}}},
    },
}
_NEW: dict[int | str, dict[str, Any]] = {
    201: {"description": "With `wait=true`: the new domain serves.", "model": RegistrationAnswer}
}


@router.put(
    "/{name}",
    summary="Register or replace a domain",
    description=f"Send the whole corpus as the request body or as the multipart field `{FIELD}`. The formats are"
    f" {titles()}; each may be compressed by gzip. The previous version serves until the new one is complete. Captions"
    " in both versions keep their vectors.\n\nThe answer is a job, which `GET /jobs/{id}` follows. With `wait=true`,"
    " the answer comes once the new version serves. If the client disconnects before, the registration is cancelled.",
    openapi_extra=_BODY,
    response_class=Response,
    responses=_DONE | _NEW | problems(400, 408, 409, 413, 415, 503, 504),
)
async def put_domain(
    name: DomainName, request: Request, query: Annotated[RegistrationQuery, Query()], runtime: AppRuntime
) -> Response:
    """Register a corpus in place of the domain's captions."""
    is_new = not await _exists(runtime.parts.store, name)
    return await _registration(JobKind.register, name, request, query, runtime, 201 if is_new else 200)


@router.post(
    "/{name}/captions",
    summary="Add captions to a domain",
    openapi_extra=_BODY,
    response_class=Response,
    responses=_DONE | problems(400, 404, 408, 409, 413, 415, 503, 504),
)
async def add_captions(
    name: DomainName, request: Request, query: Annotated[RegistrationQuery, Query()], runtime: AppRuntime
) -> Response:
    """Send captions as for `PUT /domains/{name}`. The next version has the captions of the domain, followed by the new
    ones. Captions that the domain already has count as duplicates. If all captions are duplicates, the serving version
    stays.
    """
    await runtime.parts.domains.resolve(name)
    return await _registration(JobKind.append, name, request, query, runtime, 200)


async def _registration(
    kind: JobKind, name: str, request: Request, query: RegistrationQuery, runtime: Runtime, status: int
) -> Response:
    jobs, settings = runtime.parts.jobs, runtime.settings
    async with within(request_deadline(request, "registration", settings.timeouts)):
        with jobs.slots.reserve(name) as job:
            upload = jobs.files.part(job)
            spooled = await spool(request, upload)
            record = JobRecord(
                id=job,
                kind=kind,
                domain=name,
                progress=JobProgress(bytes_total=spooled.size),
                created=datetime.now(UTC),
                media_type=spooled.media_type,
                filename=spooled.filename,
                column=query.column,
                on_error=query.on_error,
                waited=query.wait,
                request_id=request_id_of(request),
            )
            # An upload that is not a corpus is refused here, before it becomes a job.
            await asyncio.to_thread(open_corpus, upload, record, settings.corpus)
            await jobs.submit(record)
        if not query.wait:
            headers = {"Location": f"/jobs/{job}"}
            return JSONResponse(jobs.get(job).answer().model_dump(mode="json"), 202, headers)
        async with while_connected(request):
            answer = await jobs.outcome(job)
    return JSONResponse(answer.model_dump(mode="json"), status)


async def _exists(store: DomainStore, name: str) -> bool:
    try:
        await store.resolve(name)
    except DomainNotFound:
        return False
    return True
