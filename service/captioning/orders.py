"""Orders: recordings to be captioned, checked and decoded before any model runs, so that what is wrong with a request
is said by the status of its answer even where the answer is a stream."""

import asyncio
from dataclasses import dataclass

from datastores.base import DomainStore, DomainVersion
from service.audio.decoding import Recording, decode
from service.auth.guard import Caller
from service.captioning.captioner import Caption, CaptionOptions
from service.captioning.progress import Report, unreported
from service.captioning.stopwatch import Stopwatch
from service.errors import BadField, UnknownDomain
from service.http.deadlines import Deadline, deadline_of
from service.runtime import Runtime
from service.settings import TimeoutSettings, variable_name


@dataclass(frozen=True)
class Order:
    """A recording, the version of the domain it is captioned in, and how; `watch` has run while it was decoded."""

    recording: Recording
    version: DomainVersion
    options: CaptionOptions
    watch: Stopwatch


async def take_order(
    runtime: Runtime, caller: Caller, data: bytes, domain: str | None, options: CaptionOptions
) -> Order:
    """Find the domain, the only one where it is None, and decode the recording.

    Raises:
        BadField: the domain is not named and there are several.
        UnknownDomain, Forbidden, DatastoreError: see `Captioner.resolve` and `Caller.check_reaches`.
        NotAudio, TooLarge, UnreadableAudio, EmptyAudio: see `service.audio.decoding.decode`.
    """
    parts, watch = runtime.parts, Stopwatch()
    with watch.stage("total"):
        name = domain or await _only_domain(parts.store, caller)
        caller.check_reaches(name)
        version = await parts.captioner.resolve(name)
        with watch.stage("decode_audio"):
            rate = parts.captioner.bundle.clap.sample_rate
            loop = asyncio.get_running_loop()
            recording = await loop.run_in_executor(runtime.audio_threads, decode, data, rate, runtime.settings.audio)
    return Order(recording, version, options, watch)


async def fulfil(runtime: Runtime, order: Order, due: Deadline, report: Report = unreported) -> Caption:
    """Caption what was ordered, and count it. Raises as `Captioner.caption`."""
    with order.watch.stage("total"):
        made = await runtime.parts.captioner.caption(
            order.recording, order.version, order.options, order.watch, due.at, report
        )
    runtime.metrics.count_caption(order.recording.duration, order.watch.seconds, order.version.domain, made.tokens)
    return made


def due_for(first: Deadline, header: str | None, recording: Recording, timeouts: TimeoutSettings) -> Deadline:
    """When the captions of a recording are due: longer than `first`, the deadline that counted while nobody knew how
    long the recording is.

    Args:
        first: of the same request.
        header: the value of `X-Request-Timeout`, if it was sent: it still counts.
        recording: the longer, the later.
        timeouts: say how much.
    """
    limit = timeouts.caption_seconds + timeouts.audio_minute_seconds * recording.duration / 60
    names = [variable_name("timeouts", name) for name in ("caption_seconds", "audio_minute_seconds")]
    return deadline_of(header, limit, f"{names[0]} and {names[1]}", lambda: first.at - first.seconds)


async def _only_domain(store: DomainStore, caller: Caller) -> str:
    names = [version.domain for version in await store.list() if caller.reaches(version.domain)]
    if not names:
        raise UnknownDomain("no domain is registered yet; PUT /domains/{name} registers one")
    if len(names) > 1:
        raise BadField(f"domain: is needed, since there are several: {', '.join(names)}")
    return names[0]
