"""The running service: its parts, loaded behind the open port, and the bounds on the work let in."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypedDict, TypeVar

from datastores.base import DomainStore
from service.bundle import Bundle
from service.captioner import Captioner
from service.errors import DeadlinePassed, NotReady, Overloaded
from service.job_work import carry_out
from service.jobs import Jobs
from service.metrics import Metrics
from service.settings import Settings, variable_name

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
        self._retry_after = settings.admission.retry_after_seconds
        self._gauge = metrics.admitted.labels(kind)
        self._taken = 0

    @contextmanager
    def take(self) -> Iterator[None]:
        """Hold one permit. Raises `Overloaded` when none is left."""
        if self._taken >= self._limit:
            raise Overloaded(
                f"{self._taken} requests of this kind are under way, as many as are let in ({self._setting})",
                {"Retry-After": str(self._retry_after)},
            )
        self._taken += 1
        self._gauge.inc()
        try:
            yield
        finally:
            self._taken -= 1
            self._gauge.dec()


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
        self._captioner: Captioner | None = None
        self._jobs: Jobs | None = None

    @property
    def parts(self) -> Parts:
        """The loaded parts. Raises `NotReady`, saying what is missing."""
        if self._parts is None:
            what = "; ".join(f"the {part} {state}" for part, state in self.missing.items())
            raise NotReady(f"not ready: {what}", {"Retry-After": str(self.settings.admission.retry_after_seconds)})
        return self._parts

    async def load(self) -> None:
        """Load bundle and datastore at the same time; a failure is logged and shown by /readyz."""
        bundle, store = await asyncio.gather(
            self._part("bundle", asyncio.to_thread(self._loaders.bundle, self.settings)),
            self._part("datastore", self._open_store()),
        )
        if bundle is None or store is None:
            return
        self._captioner = Captioner(bundle, store)
        self._jobs = await self._part("jobs folder", self._open_jobs(self._captioner))
        if self._jobs is not None:
            self._parts = Parts(store, self._captioner, self._jobs)
            logger.info("ready: bundle %s", bundle.name)

    async def close(self) -> None:
        """Release threads, files and connections."""
        self.audio_threads.shutdown(wait=False, cancel_futures=True)
        if self._jobs is not None:
            await self._jobs.close()
        if self._captioner is not None:
            self._captioner.close()
        if self._opened is not None:
            await self._opened.close()

    async def _open_store(self) -> DomainStore:
        self._opened = await self._loaders.store(self.settings)
        return self._opened

    def _open_jobs(self, captioner: Captioner) -> Coroutine[Any, Any, Jobs]:
        work = partial(carry_out, captioner=captioner, limits=self.settings.corpus)
        return Jobs.open(work, self.settings, self.metrics.admitted.labels("registrations"))

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
async def deadline(seconds: float, setting: str) -> AsyncIterator[None]:
    """Give up after `seconds`. Raises `DeadlinePassed`, naming the setting."""
    try:
        async with asyncio.timeout(seconds) as scope:
            yield
    except TimeoutError as error:
        if not scope.expired():
            raise
        raise DeadlinePassed(f"there was no answer within {seconds:g} s ({setting})") from error
