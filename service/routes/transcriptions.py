"""POST /v1/audio/transcriptions: captions a recording for clients of OpenAI's API."""

from collections.abc import AsyncGenerator
from contextlib import ExitStack
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from models.bundle.loaded import LoadedBundle
from service.answers import render
from service.auth.access import captioning
from service.auth.guard import Caller
from service.captioning.captioner import Caption, CaptionOptions, CaptionRequest
from service.captioning.stopwatch import Stopwatch
from service.errors import BadField
from service.http.bounds import while_connected, within
from service.http.deadlines import Deadline, due_for, request_deadline
from service.http.streaming import Event, EventStream
from service.http.uploads import FORM, media_type_of, read_upload
from service.openai.answers import (
    TextDelta,
    TextDone,
    TranscriptionAnswer,
    VerboseTranscriptionAnswer,
    transcription,
    verbose_transcription,
)
from service.openai.fields import FORM_FIELDS, LIST_FIELDS, TranscriptionFields, transcription_fields
from service.routes.openapi_parts import GUARDED, TEXTS, form_of, problems
from service.runtime import AppRuntime, Runtime
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
        "description": f"The caption in the requested format. The header `{_IGNORED}` names hints that were ignored.",
        "content": TEXTS | {"text/event-stream": {"example": _EVENTS}},
    }
}


@router.post(
    "/v1/audio/transcriptions",
    summary="Caption a recording for clients of OpenAI's API",
    openapi_extra=_BODY,
    response_class=Response,
    responses=_ANSWERS | problems(400, 404, 408, 409, 413, 415, 422, 503, 504),
)
async def transcribe(
    request: Request,
    caller: Annotated[Caller, Depends(captioning)],
    runtime: AppRuntime,
) -> Response:
    """This route does the same as `POST /caption` for clients of OpenAI's API. The field `model` names a domain, and
    the text of the answer is the caption. The route accepts the fields of OpenAI's API and of `POST /caption`. It
    refuses options that the service does not offer, such as times of words. With `stream=true`, the answer is a stream
    of events. The whole text comes in one event once it is written.
    """
    parts, timeouts = runtime.parts, runtime.settings.timeouts
    with ExitStack() as held:
        held.enter_context(runtime.captions.take())
        due = request_deadline(request, "caption", timeouts)
        async with within(due):
            fields, data = await _read(request)
            options, watch = fields.options(parts.bundle), Stopwatch()
            async with while_connected(request):
                version = await parts.domains.find(fields.domain, caller)
                recording = await runtime.decode(data, watch)
        due = due_for(due, request, recording.duration, timeouts)
        wanted = CaptionRequest(recording, version, options, watch)
        if fields.stream:
            answer: Response = EventStream(_events(runtime, wanted, due), due, held.pop_all())
        else:
            async with while_connected(request):
                answer = _answer(await runtime.caption(wanted, due), parts.bundle, fields, options)
    if fields.ignored:
        answer.headers[_IGNORED] = ", ".join(fields.ignored)
    return answer


async def _read(request: Request) -> tuple[TranscriptionFields, bytes]:
    media_type = media_type_of(request.headers.get("content-type", ""))
    if media_type != FORM:
        raise BadField(f"content-type: is {media_type[:80]!r}; send the recording and its fields as {FORM}")
    upload = await read_upload(request, FORM_FIELDS, LIST_FIELDS)
    return transcription_fields(upload), upload.data


async def _events(runtime: Runtime, wanted: CaptionRequest, due: Deadline) -> AsyncGenerator[Event, None]:
    """Yield the whole text in one event, since no word is certain before the best caption is chosen; and the end."""
    text = (await runtime.caption(wanted, due)).text
    yield Event(TextDelta(delta=text).model_dump_json())
    yield Event(TextDone(text=text).model_dump_json())


def _answer(caption: Caption, bundle: LoadedBundle, fields: TranscriptionFields, options: CaptionOptions) -> Response:
    if fields.response_format is ResponseFormat.json:
        return transcription(caption)
    if fields.response_format is ResponseFormat.verbose_json:
        return verbose_transcription(caption, options.generation.temperature)
    return render(caption, bundle, fields.response_format)
