"""The caption pipeline: recordings in, captions out. It knows nothing of HTTP."""

import asyncio
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from datastores.base import DomainStore, DomainVersion, FingerprintMismatch, Neighbour
from datastores.registration import Account, Registered, extend, register
from models.decoder import GenerationOptions
from service.audio.decoding import Recording
from service.batching.batcher import Priority
from service.bundle import Bundle
from service.captioning.hearing import Heard, Part, hear, plan
from service.captioning.progress import Report, Tally, unreported
from service.captioning.segments import Segment, Timeline
from service.captioning.sounds import Sound
from service.captioning.stopwatch import Stopwatch
from service.captioning.working_models import WorkingModels
from service.captioning.writing import Writer, Written
from service.settings import BatchingSettings, SegmentsSettings

FloatArray = NDArray[np.float32]

# Of a corpus, in the queue at a time: what is asked meanwhile waits for no more than the rest of it.
_CAPTIONS_AT_ONCE = 64


@dataclass(frozen=True)
class CaptionOptions:
    """How one recording is captioned.

    Attributes:
        similar_captions: how many similar captions enter the prompt and the answer; 0 for none.
        generation: how the text is written.
        by_window: also caption each part that sounds different, and tell which kinds of sound are heard when.
    """

    similar_captions: int
    generation: GenerationOptions
    by_window: bool = False


@dataclass(frozen=True)
class Caption:
    """A captioned recording; `tokens` counts those of the segments too, `seconds` is by stage."""

    text: str
    version: DomainVersion
    similar: tuple[Neighbour, ...]
    segments: tuple[Segment, ...]
    sounds: tuple[Sound, ...]
    tokens: int
    seconds: dict[str, float]


class Captioner:
    """Captions recordings in the words of a domain, beside whatever else the models are asked."""

    def __init__(
        self,
        bundle: Bundle,
        store: DomainStore,
        models: WorkingModels,
        segments: SegmentsSettings | None = None,
        batching: BatchingSettings | None = None,
    ) -> None:
        self.bundle = bundle
        self.models = models
        self._store = store
        self._writer = Writer(bundle, store, models)
        wished, usual = segments or SegmentsSettings(), bundle.segments
        self._moment_seconds = usual.window_seconds if wished.window_seconds is None else wished.window_seconds
        self._similarity = usual.similarity if wished.similarity is None else wished.similarity
        self._captions_at_once = (batching or BatchingSettings()).prompts * len(bundle.decoders)

    async def resolve(self, domain: str) -> DomainVersion:
        """The version of a domain that a request is to use throughout.

        Raises:
            DomainNotFound, InvalidDomainName: from the datastore.
            FingerprintMismatch: the domain was embedded by another CLAP.
        """
        version = await self._store.resolve(domain)
        mine = self.bundle.clap.fingerprint
        if version.fingerprint != mine:
            raise FingerprintMismatch(
                f"domain {domain!r} was embedded by {version.fingerprint!r}, the service runs {mine!r};"
                " register the domain again"
            )
        return version

    async def caption(
        self,
        recording: Recording,
        version: DomainVersion,
        options: CaptionOptions,
        watch: Stopwatch,
        deadline: float = math.inf,
        report: Report = unreported,
    ) -> Caption:
        """Caption one recording with one version of a domain, and each part of it that sounds different.

        Args:
            recording: what is heard.
            version: of the domain.
            options: how it is captioned.
            watch: notes what each stage takes.
            deadline: of the monotonic clock; no model begins with it afterwards.
            report: is told how far it is.

        Raises:
            DatastoreError: the domain does not answer.
            Expired, QueueFull, BatcherClosed, WorkerDied: see `service.batching.batcher.Batcher.run`.
        """
        moment_seconds = self._moment_seconds if options.by_window else math.inf
        planned = await asyncio.to_thread(plan, recording, self.bundle.clap, moment_seconds)
        tally = Tally(report, len(planned.windows), 1 + len(planned.moments))
        with watch.stage("embed_audio"):
            heard = await hear(planned, self.bundle.clap, self.models, self._similarity, deadline, tally.heard)
        asked = _asked(heard, options.by_window)
        tally.expect(len(asked))
        timeline, tokens, first = Timeline(), 0, Written("", 0, ())
        # A piece at a time, whose neighbours and their vectors are forgotten with it.
        for start in range(0, len(asked), self._captions_at_once):
            piece = asked[start : start + self._captions_at_once]
            queries = np.stack([vector for vector, _ in piece])
            written = await self._writer.write(
                queries, version, options.similar_captions, options.generation, watch, deadline
            )
            segments = [
                Segment(part.start, part.end, one.text)
                for (_, part), one in zip(piece, written, strict=True)
                if part is not None
            ]
            if start == 0:
                first = written[0]
            tokens += sum(one.tokens for one in written)
            finished = timeline.add(segments)
            last = start + len(piece) == len(asked)
            tally.wrote(len(written), (*finished, *timeline.rest) if last else finished)
        return Caption(
            text=first.text,
            version=version,
            similar=first.similar,
            segments=timeline.segments,
            sounds=heard.sounds,
            tokens=tokens,
            seconds=watch.seconds,
        )

    async def embed_text(self, texts: Sequence[str]) -> FloatArray:
        """Captions -> unit vectors [n, d]."""
        return await self.models.embed_text(texts)

    async def register(self, domain: str, captions: Iterable[str], account: Account | None = None) -> Registered:
        """Register a domain, embedding behind whatever else the CLAP is asked.

        Raises:
            CorpusError, DatastoreError: see `datastores.registration.register`.
        """
        return await register(
            self._store,
            domain,
            captions,
            self.bundle.clap,
            piece=_CAPTIONS_AT_ONCE,
            embed=partial(self.models.embed_text, priority=Priority.JOB),
            account=account,
        )

    async def extend(
        self, domain: str, captions: Iterable[str], max_captions: int, account: Account | None = None
    ) -> Registered:
        """Add captions to a domain, embedding as `register` does.

        Raises:
            CorpusError, DatastoreError: see `datastores.registration.extend`.
        """
        return await extend(
            self._store,
            domain,
            captions,
            self.bundle.clap,
            max_captions=max_captions,
            piece=_CAPTIONS_AT_ONCE,
            embed=partial(self.models.embed_text, priority=Priority.JOB),
            account=account,
        )


def _asked(heard: Heard, by_window: bool) -> list[tuple[FloatArray, Part | None]]:
    """The vectors to be captioned, the clip's first, each with the part it stands for. What sounds the same throughout
    has the clip's caption.
    """
    if not by_window:
        return [(heard.clip, None)]
    if len(heard.parts) == 1:
        return [(heard.clip, heard.parts[0])]
    return [(heard.clip, None), *((part.vector, part) for part in heard.parts)]
