"""Runs `evaluation` over the service's audio, bundle and domains, as the options of ``drcap evaluate`` say."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from cli.common.client import connect
from cli.common.datastore import open_existing
from cli.common.errors import CommandError
from cli.common.listening import listener
from cli.common.parquet import readable
from cli.evaluating.options import EvaluateOptions
from service.settings import Settings

if TYPE_CHECKING:
    from rich.progress import Progress

    from evaluation.clips import Clip
    from evaluation.domains import Domain
    from evaluation.pipeline import EvaluatedSounds
    from evaluation.report import Report
    from models.bundle.loaded import LoadedBundle
    from models.clap.base import Clap

# `evaluation` is imported inside the functions, so that `drcap --help` imports neither torch nor the metrics.

_DRAWN_TO_RECONSTRUCT = 500
_DRAWN_TO_SWAP = 300


@dataclass(frozen=True)
class Evaluator:
    """One run of ``drcap evaluate``."""

    options: EvaluateOptions
    settings: Settings
    progress: "Progress"

    def report(self) -> "Report":
        """Read the clips, caption them and measure the captions. `cli.evaluate` turns its errors into one line."""
        from evaluation.scores import require_metrics

        require_metrics()
        clips = self._clips()
        bundle = self._bundle()
        if clips is None:
            return asyncio.run(self._of_text(bundle))
        sounds = self._heard(clips, bundle.clap)
        if self.options.url is not None:
            return self._of_service(self.options.url, sounds, bundle.clap)
        return asyncio.run(self._of_audio(sounds, bundle))

    def _clips(self) -> "list[Clip] | None":
        from evaluation.clips import read_clips

        return (
            None
            if self.options.clips is None
            else read_clips(self.options.clips, self.options.where)[: self.options.limit]
        )

    def _bundle(self) -> "LoadedBundle":
        from service.loading import load_bundle

        try:
            return load_bundle(self.settings)
        except ValueError as error:
            raise CommandError(str(error)) from error

    def _heard(self, clips: "list[Clip]", clap: "Clap") -> "EvaluatedSounds":
        from evaluation.pipeline import hear

        return hear(clips, listener(clap, self.settings), clap, self.progress)

    def _of_service(self, url: str, sounds: "EvaluatedSounds", clap: "Clap") -> "Report":
        from evaluation.remote import measure_service

        fields = {"domain": self.options.domain, "num_beams": self.options.beams}
        given = {name: str(value) for name, value in fields.items() if value is not None}
        with connect(url) as client:
            return measure_service(client, sounds, given, clap, self.progress)

    async def _of_audio(self, sounds: "EvaluatedSounds", bundle: "LoadedBundle") -> "Report":
        from evaluation.ablation import ablate, against_nearest
        from evaluation.swap import swap

        options = self.options
        async with self._domain(bundle.clap) as domain:
            if options.swap_from is not None:
                async with self._corpus(options.swap_from, bundle.clap) as source:
                    return await swap(sounds, source, domain, bundle, options.beams, self.progress)
            if options.ablate:
                return await ablate(sounds, domain, bundle, options.beams or 1, self.progress, options.sweep)
            return await against_nearest(sounds, domain, bundle, options.beams, self.progress)

    async def _of_text(self, bundle: "LoadedBundle") -> "Report":
        from evaluation.domains import temporary_store
        from evaluation.reconstruction import hold_out, reconstruct
        from evaluation.swap import swap_text

        options, clap = self.options, bundle.clap
        file = cast(Path, options.reconstruct)
        async with self._corpus(file, clap) as whole, temporary_store() as store:
            if options.swap_from is None:
                held = await hold_out(whole, store, clap, options.limit or _DRAWN_TO_RECONSTRUCT, seed=options.seed)
                return await reconstruct(held, bundle, options.beams, self.progress, options.seed)
            async with self._corpus(options.swap_from, clap) as source:
                count = options.limit or _DRAWN_TO_SWAP
                held = await hold_out(whole, store, clap, count, seed=options.seed, noise=options.noise)
                return await swap_text(held, source, bundle, options.beams, self.progress, options.noise, options.seed)

    @asynccontextmanager
    async def _domain(self, clap: "Clap") -> "AsyncIterator[Domain]":
        if self.options.corpus is not None:
            async with self._corpus(self.options.corpus, clap) as domain:
                yield domain
        else:
            async with registered(self.settings, self.options.domain, clap) as domain:
                yield domain

    @asynccontextmanager
    async def _corpus(self, file: Path, clap: "Clap") -> "AsyncIterator[Domain]":
        from evaluation.domains import corpus_domain
        from service.jobs.corpus_reading import corpus_limits

        limits = corpus_limits(self.settings.corpus)
        with readable(file) as corpus:
            async with corpus_domain(corpus, self.options.cache, clap, limits, self.progress) as domain:
                yield domain


@asynccontextmanager
async def registered(settings: Settings, name: str | None, clap: "Clap") -> "AsyncIterator[Domain]":
    """Open a domain of the datastore that the settings choose; without a name, the only one.

    Raises:
        CommandError: there is no datastore, a service has it open, or no name is given and there are several domains.
        DatastoreError: there is no such domain, another CLAP embedded it, or the datastore does not answer.
    """
    from evaluation.domains import open_domain

    instead = "build a domain of a file with --corpus FILE, or caption through a service with --url URL"
    store = await open_existing(settings, instead)
    try:
        names = [version.domain for version in await store.list()]
        if name is None and len(names) != 1:
            raise CommandError(f"name the --domain; the datastore has {', '.join(names) or 'none'}")
        yield await open_domain(store, name or names[0], clap)
    finally:
        await store.close()
