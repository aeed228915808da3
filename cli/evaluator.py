"""What ``drcap evaluate`` does: the parts of `evaluation` put together with the service's audio, bundle and domains."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import httpx

from cli.common.datastore import must_exist, unless_served
from cli.common.errors import CommandError
from service.settings import Settings, variable_name

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rich.progress import Progress

    from evaluation.clips import Clip
    from evaluation.domains import Domain
    from evaluation.pipeline import Listen, Sounds
    from evaluation.report import Report
    from models.bundle.loaded import LoadedBundle
    from models.clap.base import Clap

# evaluation is imported inside the functions: `drcap --help` should wait neither for torch nor for the metrics.

_DRAWN_TO_RECONSTRUCT = 500
_DRAWN_TO_SWAP = 300
_REQUEST_SECONDS = 300.0


@dataclass(frozen=True)
class Wish:
    """The options of the command; `cli.evaluate.evaluate` says what they mean."""

    clips: Path | None
    where: dict[str, str]
    domain: str | None
    corpus: Path | None
    ablate: bool
    sweep: bool
    beams: int | None
    limit: int | None
    seed: int
    cache: Path
    url: str | None
    reconstruct: Path | None
    swap_from: Path | None
    noise: float

    def check(self) -> None:
        """Raises `CommandError` for options that do not go together."""
        if (self.clips is None) == (self.reconstruct is None):
            raise CommandError("name what to caption: --clips CSV or --reconstruct FILE, one of the two")
        if self.where and self.clips is None:
            raise CommandError("--where chooses among the rows of --clips")
        if self.reconstruct is not None:
            self._refuse("--reconstruct brings its own corpus", "domain", "corpus", "url", "ablate")
        if self.url is not None:
            self._refuse("--url measures a service as it runs", "corpus", "ablate", "swap_from")
        if self.corpus is not None:
            self._refuse("--corpus makes a domain of its own", "domain")
        if self.swap_from is not None:
            self._refuse("--swap-from compares two corpora", "ablate")
            if self.corpus is None and self.reconstruct is None:
                raise CommandError("--swap-from needs the target's captions too: --corpus FILE or --reconstruct FILE")

    def _refuse(self, reason: str, *names: str) -> None:
        for name in names:
            if getattr(self, name):
                raise CommandError(f"{reason}: leave --{name.replace('_', '-')} out")


@dataclass(frozen=True)
class Evaluator:
    """Carries out one wish."""

    wish: Wish
    settings: Settings
    progress: "Progress"

    def report(self) -> "Report":
        """Read, hear, caption, measure. Raises what `cli.evaluate` turns into one line."""
        from evaluation.scores import require_metrics

        require_metrics()
        clips = self._clips()
        bundle = self._bundle()
        if clips is None:
            return asyncio.run(self._of_text(bundle))
        sounds = self._heard(clips, bundle.clap)
        if self.wish.url is not None:
            return self._of_service(self.wish.url, sounds, bundle.clap)
        return asyncio.run(self._of_audio(sounds, bundle))

    def _clips(self) -> "list[Clip] | None":
        from evaluation.clips import read_clips

        return None if self.wish.clips is None else read_clips(self.wish.clips, self.wish.where)[: self.wish.limit]

    def _bundle(self) -> "LoadedBundle":
        from service.loading import load_bundle

        try:
            return load_bundle(self.settings)
        except ValueError as error:
            raise CommandError(str(error)) from error

    def _heard(self, clips: "list[Clip]", clap: "Clap") -> "Sounds":
        from evaluation.pipeline import hear

        return hear(clips, listener(clap, self.settings), clap, self.progress)

    def _of_service(self, url: str, sounds: "Sounds", clap: "Clap") -> "Report":
        from evaluation.remote import measure_service

        fields = {"domain": self.wish.domain, "num_beams": self.wish.beams}
        given = {name: str(value) for name, value in fields.items() if value is not None}
        with httpx.Client(base_url=url, timeout=httpx.Timeout(_REQUEST_SECONDS, connect=5.0)) as client:
            return measure_service(client, sounds, given, clap, self.progress)

    async def _of_audio(self, sounds: "Sounds", bundle: "LoadedBundle") -> "Report":
        from evaluation.ablation import ablate, against_nearest
        from evaluation.swap import swap

        wish = self.wish
        async with self._domain(bundle.clap) as domain:
            if wish.swap_from is not None:
                async with self._corpus(wish.swap_from, bundle.clap) as source:
                    return await swap(sounds, source, domain, bundle, wish.beams, self.progress)
            if wish.ablate:
                return await ablate(sounds, domain, bundle, wish.beams or 1, self.progress, wish.sweep)
            return await against_nearest(sounds, domain, bundle, wish.beams, self.progress)

    async def _of_text(self, bundle: "LoadedBundle") -> "Report":
        from evaluation.domains import temporary_store
        from evaluation.reconstruction import hold_out, reconstruct
        from evaluation.swap import swap_text

        wish, clap = self.wish, bundle.clap
        file = cast(Path, wish.reconstruct)
        async with self._corpus(file, clap) as whole, temporary_store() as store:
            if wish.swap_from is None:
                held = await hold_out(whole, store, clap, wish.limit or _DRAWN_TO_RECONSTRUCT, seed=wish.seed)
                return await reconstruct(held, bundle, wish.beams, self.progress, wish.seed)
            async with self._corpus(wish.swap_from, clap) as source:
                count = wish.limit or _DRAWN_TO_SWAP
                held = await hold_out(whole, store, clap, count, seed=wish.seed, noise=wish.noise)
                return await swap_text(held, source, bundle, wish.beams, self.progress, wish.noise, wish.seed)

    @asynccontextmanager
    async def _domain(self, clap: "Clap") -> "AsyncIterator[Domain]":
        if self.wish.corpus is not None:
            async with self._corpus(self.wish.corpus, clap) as domain:
                yield domain
        else:
            async with registered(self.settings, self.wish.domain, clap) as domain:
                yield domain

    def _corpus(self, file: Path, clap: "Clap") -> "AbstractAsyncContextManager[Domain]":
        from evaluation.domains import corpus_domain

        # Imported here: it takes the datastores with it, which completion and help do without.
        from service.jobs.corpus_reading import corpus_limits

        return corpus_domain(file, self.wish.cache, clap, corpus_limits(self.settings.corpus), self.progress)


def listener(clap: "Clap", settings: Settings) -> "Listen":
    """Reads a recording as the service reads an upload, within the same limits.

    What it cannot read raises `CommandError` with the path.
    """
    from service.audio.decoding import decode
    from service.errors import ServiceError

    def listen(path: Path) -> "list[NDArray[np.float32]]":
        try:
            size = path.stat().st_size
            if size > settings.audio.max_bytes:
                limit = f"{settings.audio.max_bytes:,} are allowed ({variable_name('audio', 'max_bytes')})"
                raise CommandError(f"{path}: the recording has {size:,} bytes; {limit}")
            recording = decode(path.read_bytes(), clap.sample_rate, settings.audio)
        except ServiceError as error:
            raise CommandError(f"{path}: {error}") from error
        except OSError as error:
            raise CommandError(f"{path}: {error.strerror}") from error
        return recording.windows(clap.window_seconds)

    return listen


@asynccontextmanager
async def registered(settings: Settings, name: str | None, clap: "Clap") -> "AsyncIterator[Domain]":
    """A domain of the settings' datastore, by name or because it is the only one.

    Raises:
        CommandError: there is no datastore, a service has it open, or the name is left out and there are several.
        DatastoreError: there is no such domain, or another CLAP embedded it.
    """
    from datastores.edge.store import EdgeStore
    from evaluation.domains import open_domain

    path = settings.datastore.path
    instead = "build a domain of a file with --corpus FILE, or caption through a service with --url URL"
    await asyncio.to_thread(must_exist, path, instead)
    with unless_served(path, instead):
        store = await EdgeStore.open(path)
    try:
        names = [version.domain for version in await store.list()]
        if name is None and len(names) != 1:
            raise CommandError(f"name the --domain; {path} has {', '.join(names) or 'none'}")
        yield await open_domain(store, name or names[0], clap)
    finally:
        await store.close()
