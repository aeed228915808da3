"""This project's models and datastore, a batch at a time and without the service."""

import asyncio
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Self

import numpy as np

from benchmarks.serving.plain import load_domain
from datastores.base import Neighbour, Statistics
from datastores.edge.store import EdgeStore
from evaluation.domains import Domain, put_domain
from models.bundle.loaded import LoadedBundle
from models.conditioning.conditioning import Conditioning
from models.conditioning.method import Method, untimed
from models.decoder import Generated, GenerationOptions
from models.prompt import Prompt
from models.vectors import FloatArray, mean_direction
from service.audio.decoding import decode
from service.loading import load_bundle
from service.settings import load_settings

_DOMAIN = "benchmark"


class OwnCaptioner:
    """The stages of `service.captioning.captioner.Captioner`, each for a whole batch, one after the other."""

    def __init__(self, bundle: LoadedBundle, domain: Domain) -> None:
        self._bundle = bundle
        self._settings = load_settings()
        self._domain = domain
        conditioning = Conditioning(bundle.projection, bundle.retrieval.neighbours)
        self._method = Method(conditioning, self._search, self._write, self._embed_text)

    @classmethod
    async def open(cls, domain: Path) -> Self:
        """Load the bundle and put a domain of `benchmarks.serving.plain.save_domain` into a datastore of its own."""
        bundle = await asyncio.to_thread(load_bundle, load_settings())
        captions, vectors = load_domain(domain)
        store = await EdgeStore.open(Path(tempfile.mkdtemp()))
        return cls(bundle, await put_domain(store, _DOMAIN, captions, vectors, bundle.clap))

    async def caption(
        self, recordings: Sequence[bytes], stage: Callable[[str], AbstractContextManager[None]] = untimed
    ) -> list[str]:
        """Caption a batch. `stage` is entered with the name of each stage while it runs."""
        clap, bundle = self._bundle.clap, self._bundle
        with stage("decode_audio"):
            decoded = [decode(one, clap.sample_rate, self._settings.audio) for one in recordings]
        with stage("embed_audio"):
            windows = [one.windows(clap.window_seconds) for one in decoded]
            heard = np.stack([mean_direction(clap.embed_audio(own)) for own in windows])
        written = await replace(self._method, stage=stage).caption(heard, bundle.retrieval.k, bundle.generation)
        return [one.text for one in written]

    async def _search(self, heard: FloatArray, limit: int) -> tuple[Sequence[Sequence[Neighbour]], Statistics]:
        return await self._domain.near(heard, limit), self._domain.statistics

    async def _write(self, prompts: Sequence[Prompt], options: GenerationOptions) -> list[Generated]:
        return self._bundle.decoder.generate(prompts, options)

    async def _embed_text(self, texts: Sequence[str]) -> FloatArray:
        return self._bundle.clap.embed_text(texts)
