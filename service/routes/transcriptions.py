"""POST /v1/audio/transcriptions: captions for clients of OpenAI's API."""

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from service.answers import render
from service.auth.guard import Caller
from service.bundle import Bundle
from service.captioning.captioner import Caption
from service.captioning.orders import Order
from service.errors import BadField
from service.http.uploads import FORM, media_type_of, read_upload
from service.openai.answers import (
    TextDelta,
    TextDone,
    TranscriptionAnswer,
    VerboseTranscriptionAnswer,
    text_events,
    transcription,
    verbose_transcription,
)
from service.openai.fields import KNOWN, LISTS, TranscriptionFields, transcription_fields
from service.routes.answering import Asked, Streamed, answer_recording
from service.routes.dependencies import GUARDED, captioning, get_runtime, problems
from service.routes.descriptions import TEXTS, form_of
from service.runtime import Runtime
from service.schemas import EXAMPLE_CAPTION, ResponseFormat

router = APIRouter(tags=["openai"], responses=GUARDED)

_IGNORED = "X-Ignored-Fields"
_EVENTS = "".join(
    f"data: {event.model_dump_json()}\n\n"
    for event in (TextDelta(delta=EXAMPLE_CAPTION), TextDone(text=EXAMPLE_CAPTION))
)
_BODY: dict[str, Any] = {
    "requestBody": {"required": True, "content": {FORM: {"schema": form_of(TranscriptionFields)}}},
}
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "model": VerboseTranscriptionAnswer | TranscriptionAnswer,
        "description": f"The caption, in the format asked for; {_IGNORED} names hints that were given and not used.",
        "content": TEXTS | {"text/event-stream": {"example": _EVENTS}},
    }
}


@router.post(
    "/v1/audio/transcriptions",
    summary="Caption a recording, as OpenAI's clients ask for a transcription",
    openapi_extra=_BODY,
    response_class=Response,
    responses=_ANSWERS | problems(400, 404, 408, 409, 413, 415, 422, 503, 504),
)
async def transcribe(
    request: Request,
    caller: Annotated[Caller, Depends(captioning)],
    runtime: Annotated[Runtime, Depends(get_runtime)],
) -> Response:
    """`POST /caption` for clients of OpenAI's API: `model` is a domain, the text is the caption. Fields of
    `POST /caption` beside OpenAI's own are understood; what cannot be done, as the times of words, is refused. With
    `stream=true` the text comes as events, at once when it is written.
    """
    return await answer_recording(request, caller, runtime, partial(_read, request, runtime.parts.captioner.bundle))


async def _read(request: Request, bundle: Bundle) -> Asked:
    media_type = media_type_of(request.headers.get("content-type", ""))
    if media_type != FORM:
        raise BadField(f"content-type: is {media_type[:80]!r}; the recording and its fields are needed as {FORM}")
    upload = await read_upload(request, KNOWN, LISTS)
    fields = transcription_fields(upload)
    headers = {_IGNORED: ", ".join(fields.ignored)} if fields.ignored else {}
    answer = partial(_answer, bundle, fields.response_format)
    return Asked(upload.data, fields, answer, Streamed(text_events) if fields.stream else None, headers)


def _answer(bundle: Bundle, wanted: ResponseFormat, caption: Caption, order: Order) -> Response:
    duration = order.recording.duration
    if wanted is ResponseFormat.json:
        return transcription(caption, duration)
    if wanted is ResponseFormat.verbose_json:
        return verbose_transcription(caption, duration, order.options.generation.temperature)
    return render(caption, duration, bundle, wanted)
