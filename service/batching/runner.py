"""Runs one batch and resolves each of its items, whatever the model does."""

import logging
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, Protocol

from service.batching.queue import Item, QueuedItem, Result
from service.batching.turns import SharedCores
from service.batching.worker import Worker, WorkerDied
from service.rates import ServiceRate

logger = logging.getLogger(__name__)

# Returns whether nobody waits for the item at this index of the batch.
Gone = Callable[[int], bool]
Run = Callable[[Sequence[Item], Gone], Sequence[Result]]
_Part = list[QueuedItem[Item, Result]]

_MEMORY_TEXTS = ("out of memory", "can't allocate", "cannot allocate")


def _one_key(_: object) -> Hashable:
    return None


class MemoryExhausted(Exception):
    """The memory of the model's device does not suffice for a single item."""


@dataclass(frozen=True)
class BatchWork(Generic[Item, Result]):
    """How a batcher processes its items.

    Attributes:
        run: items of equal key -> their results, in order. It runs in the worker's thread. It may call its second
            argument, which also records progress, and skip an item that is gone: the result for it is dropped. If it
            fails, it may be run again with some of the same items.
        cost: an item -> its cost, in the unit of `Limits.max_cost`.
        key: an item -> its key. Only items of equal key share a batch.
        replicas: functions like `run` that run at the same time, each in a thread of its own.
    """

    run: Run[Item, Result]
    cost: Callable[[Item], float]
    key: Callable[[Item], Hashable] = _one_key
    replicas: Sequence[Run[Item, Result]] = ()


@dataclass(frozen=True)
class Limits:
    """Bounds of a batcher.

    Attributes:
        max_cost: maximum cost of a batch. An item that costs more runs alone.
        max_count: maximum number of items of a batch.
        capacity: maximum number of interactive items that wait.
        job_calls: number of calls of jobs whose items are queued at the same time. Other calls wait.
        patience: seconds after which new items no longer overtake a waiting job.
        recovery: seconds for which batches stay smaller after memory ran out.
    """

    max_cost: float
    max_count: int
    capacity: int
    job_calls: int = 1
    patience: float = 10.0
    recovery: float = 60.0


class Observer(Protocol):
    """Is told what happens, in the event loop. Its methods must not raise."""

    def depth(self, items: int) -> None:
        """This many items wait."""

    def waited(self, seconds: float) -> None:
        """An item waited this many seconds for its batch."""

    def ran(self, items: int, cost: float, seconds: float) -> None:
        """A batch succeeded."""

    def retried(self, reason: str) -> None:
        """A batch runs again in parts because of an ``error``, ``memory`` or ``death``."""

    def restarted(self) -> None:
        """A thread died and was replaced."""


class Unobserved:
    """An `Observer` that does nothing."""

    def depth(self, items: int) -> None: ...
    def waited(self, seconds: float) -> None: ...
    def ran(self, items: int, cost: float, seconds: float) -> None: ...
    def retried(self, reason: str) -> None: ...
    def restarted(self) -> None: ...


class BatchRunner(Generic[Item, Result]):
    """Runs batches in one thread, one at a time.

    A batch of n items that fails is split in halves until one item fails alone: 2 n - 1 runs at most. If memory ran
    out, later batches also stay at half that cost for a while. If the thread dies, each item runs once more alone, so
    that only the item that kills it fails.
    """

    def __init__(
        self,
        worker: Worker,
        run: Run[Item, Result],
        limits: Limits,
        rate: ServiceRate,
        observer: Observer,
        clock: Callable[[], float] = time.monotonic,
        cores: SharedCores | None = None,
    ) -> None:
        self._worker = worker
        self._cores = cores
        self._run = run
        self._limits = limits
        self._rate = rate
        self._observer = observer
        self._clock = clock
        self._narrowed = limits.max_cost
        self._narrow_until = clock()
        self.busy = False

    @property
    def max_cost(self) -> float:
        """Return the maximum cost of a batch at the moment."""
        return self._narrowed if self._clock() < self._narrow_until else self._limits.max_cost

    async def run(self, batch: Sequence[QueuedItem[Item, Result]]) -> None:
        """Run a batch until each item is resolved or its client has left. `busy` is True meanwhile."""
        self.busy = True
        try:
            await self._run_parts(batch)
        finally:
            self.busy = False

    async def _run_parts(self, batch: Sequence[QueuedItem[Item, Result]]) -> None:
        # Sorted by cost, so that the items of each half have similar lengths.
        parts = [sorted(batch, key=lambda entry: entry.cost)]
        while parts:
            part = [entry for entry in parts.pop() if not self._dropped(entry)]
            if part:
                parts += await self._attempt(part)

    def _dropped(self, entry: QueuedItem[Item, Result]) -> bool:
        gone = entry.gone(self._clock())
        if gone:
            entry.expire()
        return gone

    async def _attempt(self, part: _Part[Item, Result]) -> list[_Part[Item, Result]]:
        """Run a part once. Return the parts to run again, the last of them first."""
        started = self._clock()
        try:
            results = await self._worker.call(partial(self._results, part))
        except WorkerDied as error:
            self._observer.restarted()
            return self._after_death(part, error)
        except Exception as error:
            return self._after_error(part, error)
        now = self._clock()
        cost = sum(entry.cost for entry in part)
        self._rate.record(cost, now - started)
        self._observer.ran(len(part), cost, now - started)
        for entry, result in zip(part, results, strict=True):
            entry.resolve(result, now)
        return []

    def _results(self, part: Sequence[QueuedItem[Item, Result]]) -> Sequence[Result]:
        """Run the model in the worker's thread."""

        def gone(index: int) -> bool:
            if self._cores is not None:
                self._cores.turns.offer()
            self._worker.beat()
            return part[index].gone(self._clock())

        results = self._run([entry.item for entry in part], gone)
        if len(results) != len(part):
            raise RuntimeError(f"{len(part)} items gave {len(results)} results")
        return results

    def _after_death(self, part: Sequence[QueuedItem[Item, Result]], error: WorkerDied) -> list[_Part[Item, Result]]:
        again = []
        for entry in reversed(part):
            if entry.survived():
                again.append([entry])
            else:
                entry.fail(error)
        if again:
            self._observer.retried("death")
        return again

    def _after_error(self, part: _Part[Item, Result], error: Exception) -> list[_Part[Item, Result]]:
        memory = out_of_memory(error)
        if len(part) == 1:
            if memory:
                logger.error("memory does not suffice for one item of cost %g: %s", part[0].cost, error)
                error = MemoryExhausted("the memory of the service does not suffice for this at the moment")
            part[0].fail(error)
            return []
        if memory:
            self._narrowed = min(self.max_cost, sum(entry.cost for entry in part)) / 2
            self._narrow_until = self._clock() + self._limits.recovery
        self._observer.retried("memory" if memory else "error")
        middle = len(part) // 2
        return [part[middle:], part[:middle]]


def out_of_memory(error: Exception) -> bool:
    """Return whether an error of Python or torch says that memory ran out. Torch's error types differ by device."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(part in text for part in _MEMORY_TEXTS)
    )
