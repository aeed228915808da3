"""Caption writer: audio embeddings -> captions in the words of a domain."""

import math
from collections import OrderedDict
from collections.abc import Sequence
from functools import partial

from datastores.base import DomainStore, DomainVersion, Neighbour, Statistics
from models.bundle.loaded import LoadedBundle
from models.conditioning.conditioning import Conditioning
from models.conditioning.method import Method, Written
from models.decoder import GenerationOptions
from models.prompt import SoundGroups
from models.vectors import FloatArray
from service.captioning.batched_models import BatchedModels
from service.captioning.stopwatch import Stopwatch

_CACHED_STATISTICS = 8


class CaptionWriter:
    """Captions audio embeddings with the batched models and the datastore of the service."""

    def __init__(self, bundle: LoadedBundle, store: DomainStore, models: BatchedModels) -> None:
        self._store = store
        self._models = models
        self._conditioning = Conditioning(bundle.projection, bundle.retrieval.neighbours)
        self._statistics: OrderedDict[DomainVersion, Statistics] = OrderedDict()

    async def write(
        self,
        queries: FloatArray,
        sounds: Sequence[SoundGroups],
        version: DomainVersion,
        similar: int,
        generation: GenerationOptions,
        watch: Stopwatch,
        deadline: float = math.inf,
    ) -> list[Written]:
        """Write a caption for each audio embedding.

        Args:
            queries: unit vectors [n, d].
            sounds: what the CLAP is sure of in each.
            version: the version of the domain.
            similar: number of similar captions in each prompt; may be 0.
            generation: options of the decoder.
            watch: times the stages.
            deadline: monotonic seconds; afterwards no model starts work for this request.

        Raises:
            DatastoreError: the datastore fails.
            Expired, QueueFull, BatcherClosed, WorkerDied: see `service.batching.batcher.Batcher.run`.
        """
        method = Method(
            self._conditioning,
            search=partial(self._search, version),
            write=partial(self._models.write, deadline=deadline),
            embed_text=partial(self._models.embed_text, deadline=deadline),
            stage=watch.stage,
        )
        return await method.caption(queries, similar, generation, sounds)

    async def _search(
        self, version: DomainVersion, queries: FloatArray, limit: int
    ) -> tuple[Sequence[Sequence[Neighbour]], Statistics]:
        return await self._store.search(version, queries, limit), await self._statistics_of(version)

    async def _statistics_of(self, version: DomainVersion) -> Statistics:
        statistics = self._statistics.pop(version, None)
        if statistics is None:
            statistics = await self._store.statistics(version)
        self._statistics[version] = statistics
        while len(self._statistics) > _CACHED_STATISTICS:
            self._statistics.popitem(last=False)
        return statistics
