"""POST /caption: a recording in, its caption in the words of a domain out."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response

from datastores.base import DomainStore
from service.audio.decoding import Recording, decode
from service.captioning.stopwatch import Stopwatch
from service.deadlines import Deadline
from service.errors import BadField, UnknownDomain, describe_validation
from service.formats import render
from service.routes.dependencies import GUARDED, captioning, deadline, get_runtime, problems, while_connected
from service.runtime import Parts, Runtime, within
from service.schemas import CaptionAnswer, CaptionFields, VerboseCaptionAnswer
from service.security import Caller
from service.uploads import FIELD, Upload, read_upload

router = APIRouter(tags=["captions"], responses=GUARDED)

_FILE = {"type": "string", "format": "binary", "description": "the recording: WAV, FLAC, OGG, MP3 or AIFF"}
_FORM_SCHEMA = {
    "type": "object",
    "required": [FIELD],
    "properties": {FIELD: _FILE}
    | CaptionFields.model_json_schema(ref_template="#/components/schemas/{model}")["properties"],
}
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {"schema": _FORM_SCHEMA},
            "audio/*": {"schema": _FILE},
            "application/octet-stream": {"schema": _FILE},
        },
    }
}
_OTHER_FORMATS: dict[int | str, dict[str, Any]] = {
    200: {
        "model": VerboseCaptionAnswer | CaptionAnswer,
        "description": "The caption, in the format asked for; Server-Timing tells the stages.",
        "content": {
            "text/plain": {"example": "A dog barks while rain falls.\n"},
            "application/x-subrip": {"example": "1\n00:00:00,000 --> 00:00:02,300\nRain falls.\n"},
            "text/vtt": {"example": "WEBVTT\n\n00:00:00.000 --> 00:00:02.300\nRain falls.\n"},
        },
    }
}


@router.post(
    "/caption",
    summary="Caption a recording in the words of a domain",
    openapi_extra=_BODY,
    response_class=Response,
    responses=_OTHER_FORMATS | problems(400, 404, 409, 413, 415, 422, 503, 504),
)
async def caption(
    request: Request,
    caller: Annotated[Caller, Depends(captioning)],
    query: Annotated[CaptionFields, Query()],
    runtime: Annotated[Runtime, Depends(get_runtime)],
) -> Response:
    """Send the recording as the multipart field `file`, with the options as fields beside it, or as the body
    itself, with the options as query parameters. WAV, FLAC, OGG, MP3 or AIFF, 8 to 192 kHz, any channels.
    """
    if query.domain:
        caller.check_reaches(query.domain)
    parts, due = runtime.parts, deadline(request, "caption")
    with runtime.captions.take():
        async with within(due):
            upload = await read_upload(request, CaptionFields.model_fields)
            fields = merge_fields(query, upload)
            return await while_connected(request, _caption(runtime, parts, caller, upload.data, fields, due))


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


async def _caption(
    runtime: Runtime, parts: Parts, caller: Caller, data: bytes, fields: CaptionFields, due: Deadline
) -> Response:
    captioner, watch = parts.captioner, Stopwatch()
    try:
        options = fields.options(captioner.bundle)
    except ValueError as error:
        raise BadField(str(error)) from error
    with watch.stage("total"):
        domain = fields.domain or await _only_domain(parts.store, caller)
        caller.check_reaches(domain)
        version = await captioner.resolve(domain)
        with watch.stage("decode_audio"):
            recording = await _decode(runtime, data, captioner.bundle.clap.sample_rate)
        made = await captioner.caption(recording, version, options, watch, due.at)
    runtime.metrics.count_caption(recording.duration, watch.seconds, domain, made.tokens)
    return render(made, recording.duration, captioner.bundle, fields.response_format)


async def _decode(runtime: Runtime, data: bytes, rate: int) -> Recording:
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(runtime.audio_threads, decode, data, rate, runtime.settings.audio)


async def _only_domain(store: DomainStore, caller: Caller) -> str:
    names = [version.domain for version in await store.list() if caller.reaches(version.domain)]
    if not names:
        raise UnknownDomain("no domain is registered yet; PUT /domains/{name} registers one")
    if len(names) > 1:
        raise BadField(f"domain: is needed, since there are several: {', '.join(names)}")
    return names[0]
