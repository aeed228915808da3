"""POST /v1/audio/transcriptions: captions for clients of OpenAI's API."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import ExitStack
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from models.bundle.loaded import LoadedBundle
from service.answers import render
from service.auth.guard import Caller
from service.captioning.captioner import Caption
from service.captioning.stopwatch import Stopwatch
from service.errors import BadField
from service.http.bounds import while_connected, within
from service.http.streaming import Event, EventStream
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
from service.routes.dependencies import GUARDED, AppRuntime, captioning, deadline, problems
from service.routes.descriptions import TEXTS, form_of
from service.routes.recordings import caption_recording, decode_recording, due_for, find_domain
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
    runtime: AppRuntime,
) -> Response:
    """`POST /caption` for clients of OpenAI's API: `model` is a domain, the text is the caption. Fields of
    `POST /caption` beside OpenAI's own are understood; what cannot be done, as the times of words, is refused. With
    `stream=true` the text comes as events, at once when it is written.
    """
    bundle, due = runtime.parts.bundle, deadline(request, "caption")
    with ExitStack() as held:
        held.enter_context(runtime.captions.take())
        async with within(due):
            fields, data = await _read(request)
            options, watch = fields.options(bundle), Stopwatch()
            async with while_connected(request):
                version = await find_domain(runtime, caller, fields.domain)
                recording = await decode_recording(runtime, data, watch)
        due = due_for(due, request, recording, runtime.settings.timeouts)
        work = partial(caption_recording, runtime, recording, version, options, watch, due)
        if fields.stream:
            answer: Response = EventStream(_events(work), due, held.pop_all())
        else:
            async with while_connected(request):
                answer = _answer(await work(), bundle, fields)
    if fields.ignored:
        answer.headers[_IGNORED] = ", ".join(fields.ignored)
    return answer


async def _read(request: Request) -> tuple[TranscriptionFields, bytes]:
    media_type = media_type_of(request.headers.get("content-type", ""))
    if media_type != FORM:
        raise BadField(f"content-type: is {media_type[:80]!r}; the recording and its fields are needed as {FORM}")
    upload = await read_upload(request, KNOWN, LISTS)
    return transcription_fields(upload), upload.data


async def _events(work: Callable[[], Awaitable[Caption]]) -> AsyncGenerator[Event, None]:
    for event in text_events(await work()):
        yield event


def _answer(caption: Caption, bundle: LoadedBundle, fields: TranscriptionFields) -> Response:
    if fields.response_format is ResponseFormat.json:
        return transcription(caption)
    if fields.response_format is ResponseFormat.verbose_json:
        return verbose_transcription(caption, fields.options(bundle).generation.temperature)
    return render(caption, bundle, fields.response_format)
