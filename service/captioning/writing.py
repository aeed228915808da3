"""Writing: vectors of what was heard -> captions in the words of a domain."""

import asyncio
import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from datastores.base import DomainStore, DomainVersion, Neighbour, Statistics
from models.conditioning.conditioning import Conditioning
from models.conditioning.reranking import Reranker, candidates
from models.decoder import Generated, GenerationOptions
from models.prompt import Prompt
from service.bundle import Bundle
from service.captioning.stopwatch import Stopwatch
from service.captioning.working_models import WorkingModels

FloatArray = NDArray[np.float32]

_CACHED_STATISTICS = 8


@dataclass(frozen=True)
class Written:
    """A caption: its text, the tokens it took, and the similar captions it leaned on, nearest first."""

    text: str
    tokens: int
    similar: tuple[Neighbour, ...]


class Writer:
    """Writes captions in the words of a domain, beside whatever else the models are asked."""

    def __init__(self, bundle: Bundle, store: DomainStore, models: WorkingModels) -> None:
        self._neighbours = bundle.retrieval.neighbours
        self._store = store
        self._models = models
        self._conditioning = Conditioning(bundle.projection, bundle.retrieval.neighbours)
        self._reranker = Reranker()
        self._statistics: OrderedDict[DomainVersion, Statistics] = OrderedDict()

    async def write(
        self,
        queries: FloatArray,
        version: DomainVersion,
        similar: int,
        generation: GenerationOptions,
        watch: Stopwatch,
        deadline: float = math.inf,
    ) -> list[Written]:
        """A caption for each unit vector [n, d].

        One query brings the neighbours that are both the support of the projection and the similar captions; it asks
        with the raw vectors.

        Args:
            queries: what was heard.
            version: of the domain.
            similar: how many similar captions enter a prompt; 0 for none.
            generation: how the text is written.
            watch: notes what each stage takes.
            deadline: of the monotonic clock; no model begins with it afterwards.

        Raises:
            DatastoreError: the domain does not answer.
            Expired, QueueFull, BatcherClosed, WorkerDied: see `service.batching.batcher.Batcher.run`.
        """
        with watch.stage("search"):
            found = await self._store.search(version, queries, max(self._neighbours, similar, 1))
            statistics = await self._statistics_of(version)
        with watch.stage("projection"):
            prompts = await asyncio.to_thread(self._prompts, queries, found, statistics, similar)
        with watch.stage("generate"):
            written = await self._models.write(prompts, generation, deadline)
        with watch.stage("rerank"):
            written = await self._reranked(queries, found, written, deadline)
        return [Written(one.text, one.tokens, tuple(near[:similar])) for one, near in zip(written, found, strict=True)]

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
        vectors = await self._models.embed_text(texts, deadline)
        return await asyncio.to_thread(self._reranker.choose, queries, near, written, vectors)

    async def _statistics_of(self, version: DomainVersion) -> Statistics:
        statistics = self._statistics.pop(version, None)
        if statistics is None:
            statistics = await self._store.statistics(version)
        self._statistics[version] = statistics
        while len(self._statistics) > _CACHED_STATISTICS:
            self._statistics.popitem(last=False)
        return statistics
