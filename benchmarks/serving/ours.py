"""This project's own models and datastore, a batch at a time and without its service."""

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np

from benchmarks.serving.plain import load_domain
from benchmarks.vectors import FloatArray
from datastores.base import DomainVersion, Neighbour, Statistics
from datastores.edge.store import EdgeStore
from datastores.statistics import Moments
from models.bundle.loaded import LoadedBundle
from models.conditioning.conditioning import Conditioning
from models.conditioning.reranking import Reranker, candidates
from models.decoder import Generated
from models.prompt import Prompt
from models.vectors import mean_direction
from service.audio.decoding import Recording, decode
from service.loading import load_bundle
from service.settings import load_settings

_DOMAIN = "benchmark"


class OwnCaptioner:
    """The stages of `service.captioning.captioner.Captioner`, each for a whole batch, one after the other."""

    def __init__(self, bundle: LoadedBundle, store: EdgeStore, version: DomainVersion, statistics: Statistics) -> None:
        self.bundle = bundle
        self._settings = load_settings()
        self._store, self._version, self._statistics = store, version, statistics
        self._conditioning = Conditioning(bundle.projection, bundle.retrieval.neighbours)
        self._reranker = Reranker()

    @classmethod
    async def open(cls, domain: Path) -> Self:
        """Load the bundle and put a domain of `benchmarks.serving.plain.save_domain` into a datastore of its own."""
        bundle = await asyncio.to_thread(load_bundle, load_settings())
        captions, vectors = load_domain(domain)
        store = await EdgeStore.open(Path(tempfile.mkdtemp()))
        moments = Moments(vectors.shape[1])
        moments.add(vectors)
        fingerprint = bundle.clap.fingerprint
        async with store.writer(_DOMAIN, dimension=vectors.shape[1], fingerprint=fingerprint) as writer:
            await writer.add(captions, vectors)
            await writer.commit(moments.statistics())
        version = await store.resolve(_DOMAIN)
        return cls(bundle, store, version, await store.statistics(version))

    async def caption(self, recordings: Sequence[bytes]) -> list[str]:
        """Caption a batch."""
        heard = self.hear([self.decode(one) for one in recordings])
        found = await self.search(heard)
        written = self.write(self.prompts(heard, found))
        return [one.text for one in self.rerank(heard, found, written)]

    def decode(self, recording: bytes) -> Recording:
        """Bytes -> samples."""
        return decode(recording, self.bundle.clap.sample_rate, self._settings.audio)

    def hear(self, recordings: Sequence[Recording]) -> FloatArray:
        """Recordings -> unit vectors [n, d]."""
        seconds = self.bundle.clap.window_seconds
        return np.stack([mean_direction(self.bundle.clap.embed_audio(one.windows(seconds))) for one in recordings])

    async def search(self, heard: FloatArray) -> list[list[Neighbour]]:
        """The neighbours of each."""
        return [list(near) for near in await self._store.search(self._version, heard, self._conditioning.neighbours)]

    def prompts(self, heard: FloatArray, found: Sequence[Sequence[Neighbour]]) -> list[Prompt]:
        """Project, and put the most similar captions beside it."""
        k = self.bundle.retrieval.k
        pairs = zip(heard, found, strict=True)
        return [self._conditioning.prompt(query, near, self._statistics, k) for query, near in pairs]

    def write(self, prompts: Sequence[Prompt]) -> list[Generated]:
        """A caption a prompt."""
        return self.bundle.decoder.generate(prompts, self.bundle.generation)

    def rerank(
        self, heard: FloatArray, found: Sequence[Sequence[Neighbour]], written: Sequence[Generated]
    ) -> list[Generated]:
        """Of the captions of a beam search, the best."""
        vectors = self.bundle.clap.embed_text(candidates(written))
        return self._reranker.choose(heard, found, written, vectors)
