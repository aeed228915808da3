"""How one batch is run: every entry is resolved, whatever the model does."""

import logging
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, Protocol

from service.batching.queue import Entry, Item, Result
from service.batching.turns import SharedCores
from service.batching.worker import Worker, WorkerDied
from service.rates import ServiceRate

logger = logging.getLogger(__name__)

# Whether nobody waits for the result of the item at this index of the batch any more.
Gone = Callable[[int], bool]
Run = Callable[[Sequence[Item], Gone], Sequence[Result]]

_MEMORY_TEXTS = ("out of memory", "can't allocate", "cannot allocate")


def _one_key(_: object) -> Hashable:
    return None


class MemoryExhausted(Exception):
    """The memory of the model's device does not suffice for one item by itself."""


@dataclass(frozen=True)
class Work(Generic[Item, Result]):
    """What a batcher does with its items.

    Attributes:
        run: items of equal key -> their results, in order. Runs in the worker's thread, may ask its second argument
            now and then (which also tells that there is progress) and leave out what it says is gone; what it
            answers for that is never delivered. May be run again with some of the same items if it fails.
        cost: of an item, in the unit of `Limits.max_cost`.
        key: only items of equal key share a batch.
        replicas: what else does as `run` does, at the same time, each in a thread of its own.
    """

    run: Run[Item, Result]
    cost: Callable[[Item], float]
    key: Callable[[Item], Hashable] = _one_key
    replicas: Sequence[Run[Item, Result]] = ()


@dataclass(frozen=True)
class Limits:
    """Bounds of a batcher.

    Attributes:
        max_cost: of a batch; an item that costs more runs alone.
        max_count: items of a batch.
        capacity: interactive items that may wait.
        job_calls: calls of jobs whose items are let in at the same time; others wait outside.
        patience: seconds after which what arrives no longer overtakes a waiting job.
        recovery: seconds for which batches stay smaller after memory ran out.
    """

    max_cost: float
    max_count: int
    capacity: int
    job_calls: int = 1
    patience: float = 10.0
    recovery: float = 60.0


class Observer(Protocol):
    """Told what happens, in the event loop. It must not raise."""

    def depth(self, items: int) -> None:
        """So many items wait."""

    def waited(self, seconds: float) -> None:
        """An item waited so long for its batch."""

    def ran(self, items: int, cost: float, seconds: float) -> None:
        """A batch succeeded."""

    def retried(self, reason: str) -> None:
        """A batch is run again in parts: ``error``, ``memory`` or ``death``."""

    def restarted(self) -> None:
        """A thread died and is replaced."""


class Unobserved:
    """An `Observer` that does nothing."""

    def depth(self, items: int) -> None: ...
    def waited(self, seconds: float) -> None: ...
    def ran(self, items: int, cost: float, seconds: float) -> None: ...
    def retried(self, reason: str) -> None: ...
    def restarted(self) -> None: ...


class BatchRunner(Generic[Item, Result]):
    """Runs batches in one thread, one at a time.

    A batch that fails is split in halves down to the one item that fails alone: 2 n - 1 runs at most. Where memory
    ran out, batches also stay at half that cost for a while. When the thread dies, each item is tried once more by
    itself, so that one that kills fails and spares the others.
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
        """What a batch may cost now."""
        return self._narrowed if self._clock() < self._narrow_until else self._limits.max_cost

    async def run(self, batch: Sequence[Entry[Item, Result]]) -> None:
        """Run a batch until each of its entries is resolved or its client gone; `busy` meanwhile."""
        self.busy = True
        try:
            await self._run_parts(batch)
        finally:
            self.busy = False

    async def _run_parts(self, batch: Sequence[Entry[Item, Result]]) -> None:
        # By cost, so that neighbours in the batch, and the halves it may be split into, are of like length.
        parts = [sorted(batch, key=lambda entry: entry.cost)]
        while parts:
            part = [entry for entry in parts.pop() if not self._dropped(entry)]
            if part:
                parts += await self._attempt(part)

    def _dropped(self, entry: Entry[Item, Result]) -> bool:
        gone = entry.gone(self._clock())
        if gone:
            entry.expire()
        return gone

    async def _attempt(self, part: list[Entry[Item, Result]]) -> list[list[Entry[Item, Result]]]:
        """Run a part once; returns the parts to run again, the last of them first."""
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

    def _results(self, part: Sequence[Entry[Item, Result]]) -> Sequence[Result]:
        """In the worker's thread."""

        def gone(index: int) -> bool:
            if self._cores is not None:
                self._cores.turns.offer()
            self._worker.beat()
            return part[index].gone(self._clock())

        results = self._run([entry.item for entry in part], gone)
        if len(results) != len(part):
            raise RuntimeError(f"{len(part)} items gave {len(results)} results")
        return results

    def _after_death(self, part: Sequence[Entry[Item, Result]], error: WorkerDied) -> list[list[Entry[Item, Result]]]:
        again = []
        for entry in reversed(part):
            if entry.survived():
                again.append([entry])
            else:
                entry.fail(error)
        if again:
            self._observer.retried("death")
        return again

    def _after_error(self, part: list[Entry[Item, Result]], error: Exception) -> list[list[Entry[Item, Result]]]:
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
    """Whether an error says that memory ran out: Python's, or one of torch's, whose kinds differ by device."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(part in text for part in _MEMORY_TEXTS)
    )
