"""POST /caption: a recording in, its caption in the words of a domain out."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response

from service.answers import render
from service.auth.guard import Caller
from service.captioning.captioner import Caption
from service.captioning.orders import Order
from service.captioning.progress import Progress
from service.errors import BadField
from service.http.problems import describe_validation
from service.http.streaming import Event, accepts_events
from service.http.uploads import FORM, Upload, read_upload
from service.routes.answering import Asked, Streamed, answer_recording
from service.routes.dependencies import GUARDED, captioning, get_runtime, problems
from service.routes.descriptions import RECORDING, TEXTS, form_of
from service.runtime import Runtime
from service.schemas import CaptionAnswer, CaptionFields, ProgressAnswer, VerboseCaptionAnswer

router = APIRouter(tags=["captions"], responses=GUARDED)

_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            FORM: {"schema": form_of(CaptionFields)},
            "audio/*": {"schema": RECORDING},
            "application/octet-stream": {"schema": RECORDING},
        },
    }
}
_OTHER_FORMATS: dict[int | str, dict[str, Any]] = {
    200: {
        "model": VerboseCaptionAnswer | CaptionAnswer,
        "description": "The caption, in the format asked for; Server-Timing tells the stages.",
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
    runtime: Annotated[Runtime, Depends(get_runtime)],
) -> Response:
    """Send the recording as the multipart field `file`, with the options as fields beside it, or as the body
    itself, with the options as query parameters. WAV, FLAC, OGG, MP3 or AIFF, 8 to 192 kHz, any channels.

    With `stream=true` or `Accept: text/event-stream` the answer is server-sent events: `progress`, as often as there is
    something to tell, with the `stage`, the `percent` done and the `segments` finished since the event before; and last
    `caption`, whose data is the body that would otherwise have been the answer, or `error`, whose data is a problem
    document. What is wrong with the request is answered by its status all the same. Leaving cancels the work.
    """
    if query.domain:
        caller.check_reaches(query.domain)
    bundle = runtime.parts.captioner.bundle

    async def read() -> Asked:
        upload = await read_upload(request, CaptionFields.model_fields)
        fields = merge_fields(query, upload)

        def answer(caption: Caption, order: Order) -> Response:
            return render(caption, order.recording.duration, bundle, fields.response_format)

        def last(caption: Caption, order: Order) -> list[Event]:
            return [Event(bytes(answer(caption, order).body).decode(), "caption")]

        streams = fields.stream or accepts_events(request.headers.get("accept", ""))
        return Asked(upload.data, fields, answer, Streamed(last, _progress_events) if streams else None)

    return await answer_recording(request, caller, runtime, read)


def _progress_events(progress: Progress) -> list[Event]:
    return [Event(ProgressAnswer.of(progress).model_dump_json(), "progress")]


def merge_fields(query: CaptionFields, upload: Upload) -> CaptionFields:
    """The form's fields and the query's together. Raises `BadField` for a wrong one or two that differ."""
    try:
        form = CaptionFields.model_validate(upload.fields)
    except ValidationError as error:
        raise BadField(describe_validation(error.errors())) from error
    for name in sorted(form.model_fields_set & query.model_fields_set):
        if getattr(form, name) != getattr(query, name):
            raise BadField(f"{name}: is one thing in the form and another in the query")
    return query.model_copy(update=form.model_dump(exclude_unset=True))
