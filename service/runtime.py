"""The runtime of the service: its parts, which load while the port is already open."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, TypedDict, TypeVar

from fastapi import Depends
from starlette.requests import Request

from datastores.base import DomainStore
from models.bundle.loaded import LoadedBundle
from service.admission.request_permits import Permits
from service.audio.decoding import Recording, decode
from service.captioning.batched_models import BatchedModels
from service.captioning.captioner import Caption, Captioner, CaptionRequest
from service.captioning.domain_finder import DomainFinder
from service.captioning.progress import ProgressListener, ignore_progress
from service.captioning.stopwatch import Stopwatch
from service.errors import DatastoreDown, NotReady
from service.http.bounds import within
from service.http.deadlines import Deadline
from service.http.problems import TYPE_PREFIX
from service.jobs.jobs import Jobs
from service.jobs.records import JobRecord
from service.jobs.registrar import Registrar
from service.monitoring.metrics import Metrics
from service.rates import RETRY_AFTER_SECONDS
from service.settings import Settings
from service.version import drcap_version

logger = logging.getLogger(__name__)
T = TypeVar("T")

# Recordings that are decoded at the same time: a decoded one of 10 minutes holds 38 MB at 16 kHz.
_AUDIO_THREADS = 2


@dataclass(frozen=True)
class Loaders:
    """Functions that load the two large parts. `bundle` blocks and runs in a thread; `store` is awaited."""

    bundle: Callable[[Settings], LoadedBundle]
    store: Callable[[Settings], Awaitable[DomainStore]]


@dataclass(frozen=True)
class Parts:
    """The loaded parts that answer requests."""

    bundle: LoadedBundle
    store: DomainStore
    domains: DomainFinder
    models: BatchedModels
    captioner: Captioner
    jobs: Jobs


class Runtime:
    """Everything that routes use. The lifespan of the app builds it, and routes find it in the request state."""

    def __init__(self, settings: Settings, loaders: Loaders, metrics: Metrics) -> None:
        self.settings = settings
        self.metrics = metrics
        self.captions = Permits("captions", settings, metrics)
        self._audio_threads = ThreadPoolExecutor(_AUDIO_THREADS, thread_name_prefix="audio")
        self.missing = {"bundle": "is loading", "datastore": "is opening", "jobs folder": "opens after them"}
        self._loaders = loaders
        self._parts: Parts | None = None
        self._opened: DomainStore | None = None
        self._models: BatchedModels | None = None
        self._jobs: Jobs | None = None

    @property
    def parts(self) -> Parts:
        """The loaded parts. Raises `NotReady`, which names the missing parts."""
        if self._parts is None:
            what = "; ".join(f"the {part} {state}" for part, state in self.missing.items())
            raise NotReady(f"not ready: {what}", {"Retry-After": str(RETRY_AFTER_SECONDS)})
        return self._parts

    async def decode(self, data: bytes, watch: Stopwatch) -> Recording:
        """Decode an upload in a thread.

        Raises `NotAudio`, `TooLarge`, `UnreadableAudio` or `EmptyAudio`; see `service.audio.decoding.decode`.
        """
        rate, loop = self.parts.bundle.clap.sample_rate, asyncio.get_running_loop()
        with watch.stage("decode_audio"):
            return await loop.run_in_executor(self._audio_threads, decode, data, rate, self.settings.audio)

    async def caption(
        self, wanted: CaptionRequest, due: Deadline, listener: ProgressListener = ignore_progress
    ) -> Caption:
        """Caption a recording by the deadline, and count it in the metrics.

        Raises `DeadlinePassed` and the errors of `Captioner.caption`.
        """
        async with within(due):
            caption = await self.parts.captioner.caption(wanted, due.at, listener)
        self.metrics.count_caption(caption.duration, caption.seconds, caption.version.domain, caption.tokens)
        return caption

    def stalled(self) -> float:
        """Return seconds since a busy model last made progress."""
        return 0.0 if self._models is None else self._models.stalled()

    async def load(self) -> None:
        """Load bundle and datastore at the same time. A failure is logged, and /readyz shows it."""
        bundle, store = await asyncio.gather(
            self._part("bundle", asyncio.to_thread(self._loaders.bundle, self.settings)),
            self._part("datastore", self._open_store()),
        )
        if bundle is None or store is None:
            return
        models = BatchedModels(bundle, self.settings.batching, self.settings.admission.captions, self.metrics.queue)
        self._models = models
        await models.start()
        captioner = Captioner(bundle, store, models, self.settings.batching)
        registrar = Registrar(store, bundle, models, self.settings.corpus)
        gauge = self.metrics.admitted.labels("registrations")
        opening = Jobs.open(registrar.carry_out, self.settings, gauge, self._count_job)
        self._jobs = await self._part("jobs folder", opening)
        if self._jobs is not None:
            domains = DomainFinder(store, bundle.clap.fingerprint)
            self._parts = Parts(bundle, store, domains, models, captioner, self._jobs)
            self.metrics.set_model(
                bundle=bundle.name,
                clap=bundle.clap.fingerprint,
                llm=bundle.decoder.model_name,
                device=bundle.device,
                version=drcap_version(),
            )
            logger.info("ready: bundle %s", bundle.name)

    async def close(self) -> None:
        """Release threads, files and connections once their current work has ended."""
        self._audio_threads.shutdown(wait=False, cancel_futures=True)
        if self._jobs is not None:
            await self._jobs.close()
        if self._models is not None:
            await self._models.close()
        if self._opened is not None:
            await self._opened.close()
        await asyncio.to_thread(self._audio_threads.shutdown)

    async def _open_store(self) -> DomainStore:
        self._opened = await self._loaders.store(self.settings)
        return self._opened

    def _count_job(self, record: JobRecord) -> None:
        progress = record.progress
        self.metrics.count_registration(record.state.value, progress.embedded, progress.reused)
        # A waiting client gets the problem as its answer, which is counted there.
        if record.problem is not None and not record.waited and record.problem.type == TYPE_PREFIX + DatastoreDown.slug:
            self.metrics.count_datastore_error()

    async def _part(self, name: str, loading: Awaitable[T]) -> T | None:
        try:
            part = await loading
        except Exception as error:
            logger.exception("the %s could not be loaded", name)
            self.missing[name] = f"could not be loaded: {error}"
            return None
        del self.missing[name]
        return part


class State(TypedDict):
    """The state that the lifespan yields. Starlette passes it on as `request.state`."""

    runtime: Runtime


def get_runtime(request: Request) -> Runtime:
    """Return the runtime that the lifespan of the app has built."""
    runtime: Runtime = request.state.runtime
    return runtime


AppRuntime = Annotated[Runtime, Depends(get_runtime)]
"""The runtime, as routes ask for it."""


@asynccontextmanager
async def running(settings: Settings, loaders: Loaders, metrics: Metrics) -> AsyncIterator[Runtime]:
    """Load the runtime in the background, so that /livez and /readyz answer immediately. Close it at the end."""
    runtime = Runtime(settings, loaders, metrics)
    loading = asyncio.create_task(runtime.load())
    try:
        yield runtime
    finally:
        loading.cancel()
        await asyncio.gather(loading, return_exceptions=True)
        await runtime.close()
