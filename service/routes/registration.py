"""Registration: the corpus of a domain, or more captions for it, taken in as a job."""

import asyncio
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from datastores.base import DomainNotFound, DomainStore
from service.http.bounds import while_connected, within
from service.http.problems import request_id_of
from service.http.uploads import FIELD
from service.jobs.records import JobAnswer, JobKind, JobProgress, JobRecord
from service.jobs.spool import spool
from service.jobs.work import open_corpus
from service.routes.dependencies import GUARDED, AppRuntime, changing, deadline, problems
from service.runtime import Runtime
from service.schemas import CorpusBody, DomainName, RegistrationAnswer, RegistrationQuery

router = APIRouter(prefix="/domains", tags=["domains"], dependencies=[Depends(changing)], responses=GUARDED)

Asked = Annotated[RegistrationQuery, Query()]

_FILE = {"type": "string", "format": "binary", "description": ".json, .ndjson, .csv, .txt or .parquet, also as .gz"}
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
            "application/octet-stream": {"schema": _FILE},
            "multipart/form-data": {"schema": {"type": "object", "required": [FIELD], "properties": {FIELD: _FILE}}},
        },
    }
}
_DONE: dict[int | str, dict[str, Any]] = {
    200: {"description": "With wait=true: the new version serves.", "model": RegistrationAnswer},
    202: {
        "description": "It goes on as a job.",
        "model": JobAnswer,
        "headers": {"Location": {"description": "of the job", "schema": {"type": "string"}}},
    },
}
_NEW: dict[int | str, dict[str, Any]] = {
    201: {"description": "With wait=true: the domain is new and serves.", "model": RegistrationAnswer}
}


@router.put(
    "/{name}",
    summary="Register a domain, or replace it",
    openapi_extra=_BODY,
    response_class=Response,
    responses=_DONE | _NEW | problems(400, 408, 409, 413, 415, 503, 504),
)
async def put_domain(name: DomainName, request: Request, asked: Asked, runtime: AppRuntime) -> Response:
    """Send the whole corpus, as the body or as the multipart field `file`: JSON, NDJSON, CSV, plain text with one
    caption a line or Parquet, each also compressed by gzip. The version before serves until the new one is whole;
    captions it has already keep their vectors. The answer is a job to follow at `GET /jobs/{id}`; with `wait=true`
    it comes when the domain serves, and leaving before cancels the registration.
    """
    is_new = not await _exists(runtime.parts.store, name)
    return await _registration(JobKind.register, name, request, asked, runtime, 201 if is_new else 200)


@router.post(
    "/{name}/captions",
    summary="Add captions to a domain",
    openapi_extra=_BODY,
    response_class=Response,
    responses=_DONE | problems(400, 404, 408, 409, 413, 415, 503, 504),
)
async def add_captions(name: DomainName, request: Request, asked: Asked, runtime: AppRuntime) -> Response:
    """Send captions as for `PUT /domains/{name}`. The next version has them behind those of the domain; captions
    that are there already count as duplicates, and if all are, the version that serves stays.
    """
    await runtime.parts.domains.resolve(name)
    return await _registration(JobKind.append, name, request, asked, runtime, 200)


async def _registration(
    kind: JobKind, name: str, request: Request, asked: RegistrationQuery, runtime: Runtime, status: int
) -> Response:
    jobs, settings = runtime.parts.jobs, runtime.settings
    async with within(deadline(request, "registration")):
        with jobs.reserve(name) as job:
            spooled = await spool(request, jobs.part(job))
            record = JobRecord(
                id=job,
                kind=kind,
                domain=name,
                progress=JobProgress(bytes_total=spooled.size),
                created=datetime.now(UTC),
                media_type=spooled.media_type,
                filename=spooled.filename,
                column=asked.column,
                on_error=asked.on_error,
                waited=asked.wait,
                request_id=request_id_of(request),
            )
            # What is no corpus at all is said at once, not by a job.
            await asyncio.to_thread(open_corpus, jobs.part(job), record, settings.corpus)
            await jobs.submit(record)
        if not asked.wait:
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
