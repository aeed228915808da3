"""Steps that the routes for recordings share: find the domain, decode, and caption by the deadline."""

import asyncio

from starlette.requests import Request

from datastores.base import DomainVersion
from service.audio.decoding import Recording, decode
from service.auth.guard import Caller
from service.captioning.captioner import Caption, CaptionOptions
from service.captioning.progress import Report, unreported
from service.captioning.stopwatch import Stopwatch
from service.http.bounds import within
from service.http.deadlines import HEADER, Deadline, deadline_of
from service.runtime import Runtime
from service.settings import TimeoutSettings, variable_name


async def find_domain(runtime: Runtime, caller: Caller, name: str | None) -> DomainVersion:
    """Return the serving version of a domain; without a name, of the only domain that the caller reaches.

    Raises:
        BadField: the name is missing and there are several domains.
        UnknownDomain, Forbidden, DatastoreError: see `Domains` and `Caller.check_reaches`.
    """
    domains = runtime.parts.domains
    name = name or await domains.only(caller.reaches)
    caller.check_reaches(name)
    return await domains.resolve(name)


async def decode_recording(runtime: Runtime, data: bytes, watch: Stopwatch) -> Recording:
    """Decode an upload in a thread.

    Raises `NotAudio`, `TooLarge`, `UnreadableAudio` or `EmptyAudio`; see `service.audio.decoding.decode`.
    """
    rate, limits = runtime.parts.bundle.clap.sample_rate, runtime.settings.audio
    with watch.stage("decode_audio"):
        return await asyncio.get_running_loop().run_in_executor(runtime.audio_threads, decode, data, rate, limits)


def due_for(first: Deadline, request: Request, recording: Recording, timeouts: TimeoutSettings) -> Deadline:
    """Return the deadline of a request once the length of its recording is known: the longer, the later.

    Args:
        first: the deadline so far.
        request: its `X-Request-Timeout` header still counts.
        recording: the decoded recording.
        timeouts: seconds of a request, and of a minute of audio.
    """
    limit = timeouts.caption_seconds + timeouts.audio_minute_seconds * recording.duration / 60
    names = [variable_name("timeouts", name) for name in ("caption_seconds", "audio_minute_seconds")]
    return deadline_of(
        request.headers.get(HEADER), limit, f"{names[0]} and {names[1]}", lambda: first.at - first.seconds
    )


async def caption_recording(
    runtime: Runtime,
    recording: Recording,
    version: DomainVersion,
    options: CaptionOptions,
    watch: Stopwatch,
    due: Deadline,
    report: Report = unreported,
) -> Caption:
    """Caption a recording by the deadline, and count it. Raises `DeadlinePassed`, or as `Captioner.caption`."""
    async with within(due):
        caption = await runtime.parts.captioner.caption(recording, version, options, watch, due.at, report)
    runtime.metrics.count_caption(caption.duration, caption.seconds, version.domain, caption.tokens)
    return caption
