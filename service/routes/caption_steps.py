"""Steps that both caption routes share: find the domain, decode the recording, and caption it by the deadline."""

import asyncio
from dataclasses import dataclass

from starlette.requests import Request

from datastores.base import DomainVersion
from service.audio.decoding import Recording, decode
from service.auth.guard import Caller
from service.captioning.captioner import Caption, CaptionOptions
from service.captioning.progress import ProgressListener, ignore_progress
from service.captioning.stopwatch import Stopwatch
from service.http.bounds import within
from service.http.deadlines import HEADER, Deadline, deadline_of
from service.runtime import Runtime
from service.settings import TimeoutSettings, variable_name

AUDIO_MINUTE_SECONDS = 30.0
"""Seconds by which each minute of a recording extends its deadline, because it has more parts to caption."""


@dataclass(frozen=True)
class CaptionRequest:
    """A caption request after it has been read and decoded.

    Attributes:
        recording: the decoded recording.
        version: the version of the domain.
        options: options of the caption.
        watch: times the stages; it has timed the decoding.
        due: deadline of the answer.
    """

    recording: Recording
    version: DomainVersion
    options: CaptionOptions
    watch: Stopwatch
    due: Deadline


async def find_domain(runtime: Runtime, caller: Caller, name: str | None) -> DomainVersion:
    """Return the serving version of a domain. Without a name, the only domain that the caller may use is taken.

    Raises:
        BadField: the name is missing, and there are several domains.
        UnknownDomain, Forbidden, DatastoreError: see `DomainFinder` and `Caller.check_reaches`.
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
    """Return the deadline of a request once its recording is decoded. A longer recording has a later deadline.

    Args:
        first: the deadline from the start of the request.
        request: the request; its `X-Request-Timeout` header still applies.
        recording: the decoded recording.
        timeouts: the settings with the seconds for a request.
    """
    limit = timeouts.caption_seconds + AUDIO_MINUTE_SECONDS * recording.duration / 60
    source = f"{variable_name('timeouts', 'caption_seconds')} and {AUDIO_MINUTE_SECONDS:g} s for each minute of audio"
    return deadline_of(request.headers.get(HEADER), limit, source, lambda: first.at - first.seconds)


async def caption_recording(
    runtime: Runtime, wanted: CaptionRequest, listener: ProgressListener = ignore_progress
) -> Caption:
    """Caption a recording by the deadline, and count it in the metrics.

    Raises `DeadlinePassed` and the errors of `Captioner.caption`.
    """
    version, due = wanted.version, wanted.due
    async with within(due):
        caption = await runtime.parts.captioner.caption(
            wanted.recording, version, wanted.options, wanted.watch, due.at, listener
        )
    runtime.metrics.count_caption(caption.duration, caption.seconds, version.domain, caption.tokens)
    return caption
