"""The caption pipeline: recordings in, captions out. It knows nothing of HTTP."""

import asyncio
import math
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from datastores.base import DomainStore, DomainVersion, FingerprintMismatch, Neighbour, Statistics
from datastores.registration import Account, Registered, extend, register
from models.conditioning import Conditioning
from models.decoder import Generated, GenerationOptions
from models.directions import mean_direction
from models.prompt import Prompt
from models.reranking import Reranker, candidates
from service.audio.decoding import Recording
from service.batching.batcher import Priority
from service.bundle import Bundle
from service.captioning.models import WorkingModels
from service.captioning.stopwatch import Stopwatch

FloatArray = NDArray[np.float32]

# Of a corpus, in the queue at a time: what is asked meanwhile waits for no more than the rest of it.
_CAPTIONS_AT_ONCE = 64
_CACHED_STATISTICS = 8


@dataclass(frozen=True)
class CaptionOptions:
    """How one recording is captioned.

    Attributes:
        similar_captions: how many similar captions enter the prompt and the answer; 0 for none.
        generation: how the text is written.
        by_window: also caption each window by itself.
    """

    similar_captions: int
    generation: GenerationOptions
    by_window: bool = False


@dataclass(frozen=True)
class Segment:
    """The caption of one window, from `start` to `end` seconds."""

    start: float
    end: float
    caption: str


@dataclass(frozen=True)
class Caption:
    """A captioned recording; `tokens` counts those of the segments too, `seconds` is by stage."""

    text: str
    version: DomainVersion
    similar: tuple[Neighbour, ...]
    segments: tuple[Segment, ...]
    tokens: int
    seconds: dict[str, float]


class Captioner:
    """Captions recordings in the words of a domain, beside whatever else the models are asked."""

    def __init__(self, bundle: Bundle, store: DomainStore, models: WorkingModels) -> None:
        self.bundle = bundle
        self.models = models
        self._store = store
        self._conditioning = Conditioning(bundle.projection, bundle.retrieval.neighbours)
        self._reranker = Reranker()
        self._statistics: OrderedDict[DomainVersion, Statistics] = OrderedDict()

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
    ) -> Caption:
        """Caption one recording with one version of a domain.

        The clip's vector is the renormalised mean of its windows' vectors. One query brings the neighbours
        that are both the support of the projection and the similar captions; it asks with the raw vector.

        Args:
            recording: what is heard.
            version: of the domain.
            options: how it is captioned.
            watch: notes what each stage takes.
            deadline: of the monotonic clock; no model begins with it afterwards.

        Raises:
            DatastoreError: the domain does not answer.
            Expired, QueueFull, BatcherClosed, WorkerDied: see `service.batching.batcher.Batcher.run`.
        """
        windows = recording.windows(self.bundle.clap.window_seconds)
        with watch.stage("embed_audio"):
            heard = await self.models.embed_audio(windows, deadline)
        clip = mean_direction(heard)
        split = options.by_window and len(windows) > 1
        queries = np.concatenate([clip[None], heard]) if split else clip[None]
        limit = max(self.bundle.retrieval.neighbours, options.similar_captions, 1)
        with watch.stage("search"):
            found = await self._store.search(version, queries, limit)
            statistics = await self._statistics_of(version)
        with watch.stage("projection"):
            prompts = await asyncio.to_thread(self._prompts, queries, found, statistics, options.similar_captions)
        with watch.stage("generate"):
            written = await self.models.write(prompts, options.generation, deadline)
        with watch.stage("rerank"):
            written = await self._reranked(queries, found, written, deadline)
        return Caption(
            text=written[0].text,
            version=version,
            similar=tuple(found[0][: options.similar_captions]),
            segments=_segments(windows, recording, written) if options.by_window else (),
            tokens=sum(one.tokens for one in written),
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

    def _prompts(
        self, queries: FloatArray, found: Sequence[Sequence[Neighbour]], statistics: Statistics, similar: int
    ) -> list[Prompt]:
        return [
            self._conditioning.prompt(query, near, statistics, similar)
            for query, near in zip(queries, found, strict=True)
        ]

    async def _reranked(
        self,
        queries: FloatArray,
        near: Sequence[Sequence[Neighbour]],
        written: Sequence[Generated],
        deadline: float,
    ) -> list[Generated]:
        """Of the captions a beam search ended with, the best."""
        texts = candidates(written)
        if not texts:
            return list(written)
        vectors = await self.models.embed_text(texts, deadline)
        return await asyncio.to_thread(self._reranker.choose, queries, near, written, vectors)

    async def _statistics_of(self, version: DomainVersion) -> Statistics:
        statistics = self._statistics.pop(version, None)
        if statistics is None:
            statistics = await self._store.statistics(version)
        self._statistics[version] = statistics
        while len(self._statistics) > _CACHED_STATISTICS:
            self._statistics.popitem(last=False)
        return statistics


def _segments(windows: Sequence[FloatArray], recording: Recording, written: Sequence[Generated]) -> tuple[Segment, ...]:
    texts = written[1:] if len(windows) > 1 else written
    ends = np.cumsum([len(window) for window in windows]) / max(1, len(recording.samples)) * recording.duration
    starts = [0.0, *ends[:-1]]
    return tuple(
        Segment(float(start), float(end), one.text) for start, end, one in zip(starts, ends, texts, strict=True)
    )
