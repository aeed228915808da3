"""The caption pipeline: recordings in, captions out. It knows nothing of HTTP."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from datastores.base import DomainStore, DomainVersion, FingerprintMismatch, Neighbour, Statistics
from datastores.registration import Account, Registered, extend, register
from models.conditioning import Conditioning
from models.decoder import Generated, GenerationOptions
from models.directions import mean_direction
from models.prompt import Prompt
from models.reranking import Reranker, candidates
from service.audio import Recording
from service.bundle import Bundle

FloatArray = NDArray[np.float32]
T = TypeVar("T")

# Work goes to the threads in pieces of this many windows, prompts or captions, so that a long recording or
# corpus neither keeps the others waiting to its end nor goes on for long after its request has ended.
_WINDOWS_AT_ONCE = 16
_PROMPTS_AT_ONCE = 8
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


@dataclass
class Stopwatch:
    """Seconds by stage, summed over the times a stage ran, waiting for its thread included."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started


class Captioner:
    """Captions recordings in the words of a domain.

    The CLAP and the decoder each have a thread of their own: the event loop stays free, a model never runs
    twice at once, and one request is heard while another is written.
    """

    def __init__(self, bundle: Bundle, store: DomainStore) -> None:
        self.bundle = bundle
        self._store = store
        self._conditioning = Conditioning(bundle.projection, bundle.retrieval.neighbours)
        self._reranker = Reranker()
        self._clap_thread = ThreadPoolExecutor(1, thread_name_prefix="clap")
        self._decoder_thread = ThreadPoolExecutor(1, thread_name_prefix="decoder")
        self._statistics: OrderedDict[DomainVersion, Statistics] = OrderedDict()

    def close(self) -> None:
        """Drop what waits for the threads; what runs there runs to its end."""
        self._clap_thread.shutdown(wait=False, cancel_futures=True)
        self._decoder_thread.shutdown(wait=False, cancel_futures=True)

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
        self, recording: Recording, version: DomainVersion, options: CaptionOptions, watch: Stopwatch
    ) -> Caption:
        """Caption one recording with one version of a domain.

        The clip's vector is the renormalised mean of its windows' vectors. One query brings the neighbours
        that are both the support of the projection and the similar captions; it asks with the raw vector.
        """
        windows = recording.windows(self.bundle.clap.window_seconds)
        with watch.stage("embed_audio"):
            heard = await self.embed_audio(windows)
        clip = mean_direction(heard)
        split = options.by_window and len(windows) > 1
        queries = np.concatenate([clip[None], heard]) if split else clip[None]
        limit = max(self.bundle.retrieval.neighbours, options.similar_captions, 1)
        with watch.stage("search"):
            found = await self._store.search(version, queries, limit)
            statistics = await self._statistics_of(version)
        with watch.stage("projection"):
            prompts = await self._run(
                self._clap_thread,
                lambda: [
                    self._conditioning.prompt(query, near, statistics, options.similar_captions)
                    for query, near in zip(queries, found, strict=True)
                ],
            )
        with watch.stage("generate"):
            written = await self._reranked(queries, found, await self._generate(prompts, options.generation))
        return Caption(
            text=written[0].text,
            version=version,
            similar=tuple(found[0][: options.similar_captions]),
            segments=_segments(windows, recording, written) if options.by_window else (),
            tokens=sum(one.tokens for one in written),
            seconds=watch.seconds,
        )

    async def embed_audio(self, windows: Sequence[FloatArray]) -> FloatArray:
        """Windows -> unit vectors [w, d], in the CLAP's thread."""
        clap = self.bundle.clap
        parts = [
            await self._run(self._clap_thread, partial(clap.embed_audio, some))
            for some in _pieces(windows, _WINDOWS_AT_ONCE)
        ]
        return np.concatenate(parts)

    async def embed_text(self, texts: Sequence[str]) -> FloatArray:
        """Captions -> unit vectors [n, d], in the CLAP's thread."""
        return await self._run(self._clap_thread, partial(self.bundle.clap.embed_text, texts))

    async def register(self, domain: str, captions: Iterable[str], account: Account | None = None) -> Registered:
        """Register a domain, embedding in the CLAP's thread, where captions come in between the pieces.

        Raises:
            CorpusError, DatastoreError: see `datastores.registration.register`.
        """
        return await register(
            self._store,
            domain,
            captions,
            self.bundle.clap,
            piece=_CAPTIONS_AT_ONCE,
            executor=self._clap_thread,
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
            executor=self._clap_thread,
            account=account,
        )

    async def _generate(self, prompts: Sequence[Prompt], options: GenerationOptions) -> list[Generated]:
        decoder = self.bundle.decoder
        written: list[Generated] = []
        for some in _pieces(prompts, _PROMPTS_AT_ONCE):
            written += await self._run(self._decoder_thread, partial(decoder.generate, some, options))
        return written

    async def _reranked(
        self, queries: FloatArray, near: Sequence[Sequence[Neighbour]], written: Sequence[Generated]
    ) -> list[Generated]:
        """Of the captions a beam search ended with, the best."""
        texts = candidates(written)
        if not texts:
            return list(written)
        vectors = await self.embed_text(texts)
        return await self._run(self._clap_thread, partial(self._reranker.choose, queries, near, written, vectors))

    async def _statistics_of(self, version: DomainVersion) -> Statistics:
        statistics = self._statistics.pop(version, None)
        if statistics is None:
            statistics = await self._store.statistics(version)
        self._statistics[version] = statistics
        while len(self._statistics) > _CACHED_STATISTICS:
            self._statistics.popitem(last=False)
        return statistics

    async def _run(self, executor: Executor, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(executor, work)


def _segments(windows: Sequence[FloatArray], recording: Recording, written: Sequence[Generated]) -> tuple[Segment, ...]:
    texts = written[1:] if len(windows) > 1 else written
    ends = np.cumsum([len(window) for window in windows]) / max(1, len(recording.samples)) * recording.duration
    starts = [0.0, *ends[:-1]]
    return tuple(
        Segment(float(start), float(end), one.text) for start, end, one in zip(starts, ends, texts, strict=True)
    )


def _pieces(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
