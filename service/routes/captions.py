"""POST /caption: captions a recording in the words of a domain."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import ExitStack
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response

from service.answers import render
from service.audio.formats import MEDIA_RANGES
from service.auth.access import captioning
from service.auth.guard import Caller
from service.captioning.captioner import CaptionRequest
from service.captioning.progress import ProgressMailbox
from service.captioning.stopwatch import Stopwatch
from service.errors import BadField
from service.http.bounds import while_connected, within
from service.http.deadlines import Deadline, due_for, request_deadline
from service.http.problems import describe_validation
from service.http.streaming import Event, EventStream, accepts_events
from service.http.uploads import FORM, Upload, read_upload
from service.routes.openapi_parts import GUARDED, RECORDING, TEXTS, form_of, problems
from service.runtime import AppRuntime, Runtime
from service.schemas import CaptionAnswer, CaptionFields, ProgressAnswer, ResponseFormat, VerboseCaptionAnswer

router = APIRouter(tags=["captions"], responses=GUARDED)

_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            FORM: {"schema": form_of(CaptionFields)},
            **{kind: {"schema": RECORDING} for kind in (*MEDIA_RANGES, "application/octet-stream")},
        },
    }
}
_OTHER_FORMATS: dict[int | str, dict[str, Any]] = {
    200: {
        "model": VerboseCaptionAnswer | CaptionAnswer,
        "description": "The caption in the requested format. The header `Server-Timing` lists the stages.",
        "content": TEXTS
        | {
            "text/event-stream": {
                "example": 'event: progress\ndata: {"stage":"generate","percent":40.0,"segments":[]}\n\n'
            }
        },
    }
}


@router.post(
    "/caption",
    summary="Caption a recording in the words of a domain",
    openapi_extra=_BODY,
    response_class=Response,
    responses=_OTHER_FORMATS | problems(400, 404, 408, 409, 413, 415, 422, 503, 504),
)
async def caption(
    request: Request,
    caller: Annotated[Caller, Depends(captioning)],
    query: Annotated[CaptionFields, Query()],
    runtime: AppRuntime,
) -> Response:
    """Send the recording as the multipart field `file` with the options as form fields, or as the request body
    with the options as query parameters.

    With `stream=true` or `Accept: text/event-stream`, the answer is a stream of server-sent events. Each event
    `progress` has the current `stage`, the `percent` done and the `segments` finished since the previous event. The
    last event is `caption`, whose data is the body of the answer without a stream, or `error`, whose data is a problem
    document. An invalid request is still answered with an error status. If the client disconnects, the work stops.
    """
    if query.domain:
        caller.check_reaches(query.domain)
    parts, timeouts = runtime.parts, runtime.settings.timeouts
    with ExitStack() as held:
        held.enter_context(runtime.captions.take())
        due = request_deadline(request, "caption", timeouts)
        async with within(due):
            upload = await read_upload(request, CaptionFields.model_fields)
            fields = merge_fields(query, upload)
            streams = fields.stream or accepts_events(request.headers.get("accept", ""))
            options, watch = fields.options(parts.bundle), Stopwatch()
            async with while_connected(request):
                version = await parts.domains.find(fields.domain, caller)
                recording = await runtime.decode(upload.data, watch)
        due = due_for(due, request, recording.duration, timeouts)
        wanted = CaptionRequest(recording, version, options, watch)
        if streams:
            return EventStream(_events(runtime, wanted, due, fields.response_format), due, held.pop_all())
        async with while_connected(request):
            made = await runtime.caption(wanted, due)
    return render(made, parts.bundle, fields.response_format)


async def _events(
    runtime: Runtime, wanted: CaptionRequest, due: Deadline, response_format: ResponseFormat
) -> AsyncGenerator[Event, None]:
    """Yield an event for each progress report, and the body of the answer as the last event."""
    mailbox = ProgressMailbox()
    task = asyncio.create_task(runtime.caption(wanted, due, mailbox.put))
    try:
        async for progress in mailbox.until(task):
            yield Event(ProgressAnswer.of(progress).model_dump_json(), "progress")
        answer = render(await task, runtime.parts.bundle, response_format)
        yield Event(bytes(answer.body).decode(), "caption")
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def merge_fields(query: CaptionFields, upload: Upload) -> CaptionFields:
    """Merge the fields of the form and of the query. Raises `BadField` for an invalid field or two different values."""
    try:
        form = CaptionFields.model_validate(upload.fields)
    except ValidationError as error:
        raise BadField(describe_validation(error.errors())) from error
    for name in sorted(form.model_fields_set & query.model_fields_set):
        if getattr(form, name) != getattr(query, name):
            raise BadField(f"{name}: has different values in the form and in the query")
    return query.model_copy(update=form.model_dump(exclude_unset=True))
