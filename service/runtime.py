"""The running service: its parts, loaded behind the open port, and the bounds on the work let in."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypedDict, TypeVar

from datastores.base import DomainStore
from service.bundle import Bundle
from service.captioning.captioner import Captioner
from service.captioning.working_models import WorkingModels
from service.errors import DatastoreDown, DeadlinePassed, NotReady, Overloaded
from service.http.deadlines import Deadline
from service.http.problems import TYPE_PREFIX
from service.jobs.jobs import Jobs
from service.jobs.records import JobRecord
from service.jobs.work import carry_out
from service.monitoring.metrics import Metrics
from service.rates import ServiceRate
from service.settings import Settings, variable_name
from service.version import drcap_version

logger = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True)
class Loaders:
    """How the parts come to be: `bundle` blocks and is called in a thread, `store` is awaited."""

    bundle: Callable[[Settings], Bundle]
    store: Callable[[Settings], Awaitable[DomainStore]]


@dataclass(frozen=True)
class Parts:
    """What answers requests once everything is loaded."""

    store: DomainStore
    captioner: Captioner
    jobs: Jobs


class Permits:
    """Lets in at most `limit` pieces of work of one kind and refuses the rest at once."""

    def __init__(self, kind: str, settings: Settings, metrics: Metrics) -> None:
        self._limit = int(getattr(settings.admission, kind))
        self._setting = variable_name("admission", kind)
        self._gauge = metrics.admitted.labels(kind)
        self._taken = 0
        self._rate = ServiceRate()
        self._since = 0.0

    @contextmanager
    def take(self) -> Iterator[None]:
        """Hold one permit. Raises `Overloaded` when none is left."""
        if self._taken >= self._limit:
            raise Overloaded(
                f"{self._taken} requests of this kind are under way, as many as are let in ({self._setting})",
                {"Retry-After": str(self._rate.retry_after(1))},
            )
        if not self._taken:
            self._since = time.monotonic()
        self._taken += 1
        self._gauge.inc()
        try:
            yield
        finally:
            self._taken -= 1
            self._gauge.dec()
            # From one that is done to the next, as long as there are any: what a client that is refused waits for.
            now = time.monotonic()
            self._rate.record(1, now - self._since)
            self._since = now


class Runtime:
    """Everything a route needs. Built in the app's lifespan and handed to routes as request state."""

    def __init__(self, settings: Settings, loaders: Loaders, metrics: Metrics) -> None:
        self.settings = settings
        self.metrics = metrics
        self.captions = Permits("captions", settings, metrics)
        self.audio_threads = ThreadPoolExecutor(settings.admission.decoders, thread_name_prefix="audio")
        self.missing = {"bundle": "is loading", "datastore": "is opening", "jobs folder": "opens after them"}
        self._loaders = loaders
        self._parts: Parts | None = None
        self._opened: DomainStore | None = None
        self._models: WorkingModels | None = None
        self._jobs: Jobs | None = None

    @property
    def parts(self) -> Parts:
        """The loaded parts. Raises `NotReady`, saying what is missing."""
        if self._parts is None:
            what = "; ".join(f"the {part} {state}" for part, state in self.missing.items())
            raise NotReady(f"not ready: {what}", {"Retry-After": str(self.settings.admission.retry_after_seconds)})
        return self._parts

    def stalled(self) -> float:
        """Seconds since a busy model last made progress."""
        return 0.0 if self._models is None else self._models.stalled()

    async def load(self) -> None:
        """Load bundle and datastore at the same time; a failure is logged and shown by /readyz."""
        bundle, store = await asyncio.gather(
            self._part("bundle", asyncio.to_thread(self._loaders.bundle, self.settings)),
            self._part("datastore", self._open_store()),
        )
        if bundle is None or store is None:
            return
        models = WorkingModels(bundle, self.settings.batching, self.settings.admission.captions, self.metrics.queue)
        self._models = models
        await models.start()
        captioner = Captioner(bundle, store, models, self.settings.segments, self.settings.batching)
        self._jobs = await self._part("jobs folder", self._open_jobs(captioner))
        if self._jobs is not None:
            self._parts = Parts(store, captioner, self._jobs)
            self.metrics.set_model(
                bundle=bundle.name,
                clap=bundle.clap.fingerprint,
                llm=bundle.decoder.model_name,
                device=bundle.device,
                version=drcap_version(),
            )
            logger.info("ready: bundle %s", bundle.name)

    async def close(self) -> None:
        """Release threads, files and connections, once what is under way in them has ended."""
        self.audio_threads.shutdown(wait=False, cancel_futures=True)
        if self._jobs is not None:
            await self._jobs.close()
        if self._models is not None:
            await self._models.close()
        if self._opened is not None:
            await self._opened.close()
        await asyncio.to_thread(self.audio_threads.shutdown)

    async def _open_store(self) -> DomainStore:
        self._opened = await self._loaders.store(self.settings)
        return self._opened

    def _open_jobs(self, captioner: Captioner) -> Coroutine[Any, Any, Jobs]:
        work = partial(carry_out, captioner=captioner, limits=self.settings.corpus)
        return Jobs.open(work, self.settings, self.metrics.admitted.labels("registrations"), self._count_job)

    def _count_job(self, record: JobRecord) -> None:
        progress = record.progress
        self.metrics.count_registration(record.state.value, progress.embedded, progress.reused)
        # Where a client waits, the answer it gets is counted.
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
    """What the lifespan yields; starlette shows it as `request.state`."""

    runtime: Runtime


@asynccontextmanager
async def running(settings: Settings, loaders: Loaders, metrics: Metrics) -> AsyncIterator[Runtime]:
    """Load in the background, so that /livez and /readyz answer at once, and close at the end."""
    runtime = Runtime(settings, loaders, metrics)
    loading = asyncio.create_task(runtime.load())
    try:
        yield runtime
    finally:
        loading.cancel()
        await asyncio.gather(loading, return_exceptions=True)
        await runtime.close()


@asynccontextmanager
async def within(due: Deadline) -> AsyncIterator[None]:
    """Give up when the deadline has passed. Raises `DeadlinePassed`, naming what set it."""
    try:
        async with asyncio.timeout(due.left()) as scope:
            yield
    except TimeoutError as error:
        if not scope.expired():
            raise
        raise DeadlinePassed(f"there was no answer within {due.seconds:g} s ({due.source})") from error
