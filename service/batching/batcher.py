"""Micro-batching: what many requests ask of one model at the same time runs together.

A batch is whatever waits when the model is free, so a lone request never waits for company and batches grow with
the load. It closes on its cost and its count. Everything but the model's own work happens in the event loop.
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any, Generic

from service.batching.queue import BatcherClosed, BatchQueue, Entry, Expired, Item, Priority, QueueFull, Result
from service.batching.runner import BatchRunner, Gone, Limits, Observer, Unobserved, Work
from service.batching.turns import SharedCores
from service.batching.worker import Worker, WorkerDied
from service.monitoring import tracing
from service.rates import ServiceRate

__all__ = [
    "Batcher",
    "BatcherClosed",
    "Expired",
    "Gone",
    "Limits",
    "Observer",
    "Priority",
    "QueueFull",
    "Unobserved",
    "Work",
    "WorkerDied",
]

logger = logging.getLogger(__name__)


class Batcher(Generic[Item, Result]):
    """One queue for one model, and a thread for each of its replicas. Built and used in one event loop."""

    def __init__(
        self,
        name: str,
        work: Work[Item, Result],
        limits: Limits,
        observer: Observer | None = None,
        clock: Callable[[], float] = time.monotonic,
        cores: SharedCores | None = None,
        source: "Batcher[Any, Any] | None" = None,
    ) -> None:
        """
        Args:
            name: of the threads, and in errors.
            work: what is done with the items.
            limits: of a batch and of the queue.
            observer: is told what happens.
            clock: monotonic, in seconds.
            cores: the part in the turns of several models; none where the model has its device to itself.
            source: whose results become items of this one.
        """
        self._name = name
        self._cores = cores
        self._source = source
        self._work = work
        self._limits = limits
        self._observer = observer or Unobserved()
        self._clock = clock
        self.rate = ServiceRate(clock=clock)
        self._queue: BatchQueue[Item, Result] = BatchQueue(limits.patience)
        runs = (work.run, *work.replicas)
        self._workers = [Worker(f"{name}-{number}" if number else name, clock) for number in range(len(runs))]
        self._runners = [
            BatchRunner(worker, run, limits, self.rate, self._observer, clock, cores)
            for worker, run in zip(self._workers, runs, strict=True)
        ]
        self._arrivals = [asyncio.Event() for _ in runs]
        self._jobs = asyncio.Semaphore(limits.job_calls)
        self._unresolved: set[Entry[Item, Result]] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._closed = False

    async def start(self) -> None:
        """Begin to serve; `close` ends it."""
        pairs = zip(self._runners, self._arrivals, strict=True)
        self._tasks = [asyncio.create_task(self._serve(*pair), name=self._name) for pair in pairs]

    async def run(
        self, items: Sequence[Item], *, priority: Priority = Priority.INTERACTIVE, deadline: float = math.inf
    ) -> list[Result]:
        """The results of items, in order, from batches that may hold others' items too.

        All are let in or none. When one fails, or the caller is cancelled, the rest is dropped: at once where it
        waits, as soon as the model asks where it runs.

        Args:
            items: what the model is given.
            priority: a job's items go behind interactive ones, and wait for room instead of being refused.
            deadline: when the results are of no use any more, by the batcher's clock.

        Raises:
            QueueFull: `Limits.capacity` would be exceeded. A call larger than it is let in when nothing waits.
            BatcherClosed: the batcher is closed.
            Expired: the deadline passed.
            WorkerDied: the thread died of one of the items, twice.
            Exception: what the model raises for one of the items alone.
        """
        if not items:
            return []
        if priority is Priority.JOB:
            async with self._jobs:
                return await self._results(items, priority, deadline)
        waiting = len(self._queue.waiting(priority))
        if waiting and waiting + len(items) > self._limits.capacity:
            raise QueueFull(self._name, waiting, self.retry_after())
        return await self._results(items, priority, deadline)

    def retry_after(self) -> int:
        """In how many seconds what waits will have been worked off, at the measured rate."""
        return self.rate.retry_after(sum(entry.cost for entry in self._queue.waiting()) / len(self._runners))

    def stalled(self) -> float:
        """Seconds since the model last made progress in what it is doing; 0 when idle."""
        return max(worker.stalled() for worker in self._workers)

    async def finished(self, seconds: float) -> bool:
        """Wait until what is in and somebody waits for is done; false where nothing is, or not in so many seconds."""
        futures = [entry.future for entry in self._unresolved if entry.priority is Priority.INTERACTIVE]
        if not futures or seconds <= 0:
            return False
        _, pending = await asyncio.wait(futures, timeout=seconds)
        return not pending

    async def close(self) -> None:
        """Take nothing more in, fail what is in with `BatcherClosed`, and let the threads end after their calls."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for entry in list(self._unresolved):
            entry.fail(BatcherClosed(f"{self._name} was closed"))
        for worker in self._workers:
            worker.close()

    async def ended(self, seconds: float) -> bool:
        """Once closed, wait for the threads to end; whether all did within so many seconds."""
        return all(await asyncio.gather(*(worker.ended(seconds) for worker in self._workers)))

    async def _results(self, items: Sequence[Item], priority: Priority, deadline: float) -> list[Result]:
        if self._closed:
            raise BatcherClosed(f"{self._name} takes nothing in any more")
        entries = [self._entry(item, priority, deadline) for item in items]
        for entry in entries:
            self._admit(entry)
        self._observer.depth(len(self._queue.waiting()))
        for arrival in self._arrivals:
            arrival.set()
        try:
            return await asyncio.gather(*(entry.future for entry in entries))
        finally:
            for entry in entries:
                entry.future.cancel()
            now = self._clock()
            tracing.add("queue_seconds", max((entry.taken or now) - entry.arrived for entry in entries))
            self._observer.depth(len(self._queue.waiting()))

    def _entry(self, item: Item, priority: Priority, deadline: float) -> Entry[Item, Result]:
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        work = self._work
        return Entry(item, work.key(item), work.cost(item), future, priority, self._clock(), deadline)

    def _admit(self, entry: Entry[Item, Result]) -> None:
        self._unresolved.add(entry)
        entry.future.add_done_callback(lambda _: self._unresolved.discard(entry))
        self._queue.put(entry)

    async def _serve(self, runner: BatchRunner[Item, Result], arrival: asyncio.Event) -> None:
        while True:
            await arrival.wait()
            arrival.clear()
            while self._queue.waiting():
                await self._gather()
                # The turn first: the batch then holds what has come while it was waited for.
                async with self._turn():
                    await self._run_batches(runner)
                if self._cores is not None and not self._cores.ahead:
                    await asyncio.sleep(self._cores.pause)

    async def _gather(self) -> None:
        """Wait for what the source is at, if that would join a small batch: two by themselves cost more than a pair.

        Half a full batch costs little more an item than a full one, which waiting would leave a core idle for.
        """
        if self._cores is None or self._source is None:
            return
        until = self._clock() + self._cores.gather
        few = self._limits.max_count / 2
        while len(self._queue.waiting()) < few and sum(not one.busy for one in self._runners) == 1:
            if not await self._source.finished(until - self._clock()):
                return
            # What was heard is looked up in the domain first.
            await asyncio.sleep(self._cores.pause)

    async def _run_batches(self, runner: BatchRunner[Item, Result]) -> None:
        while batch := self._queue.take(runner.max_cost, self._share(), self._clock()):
            await self._run(runner, batch)
            if self._cores is not None:
                if not self._cores.ahead:
                    return
                await self._cores.turns.again(self._ahead())

    def _turn(self) -> AbstractAsyncContextManager[None]:
        return nullcontext() if self._cores is None else self._cores.turns.turn(self._ahead())

    def _ahead(self) -> bool:
        """Jobs never are."""
        return self._cores is not None and self._cores.ahead and bool(self._queue.waiting(Priority.INTERACTIVE))

    def _share(self) -> int:
        """Items a batch may hold: what waits is shared out among the replicas that have nothing to do."""
        idle = sum(not runner.busy for runner in self._runners)
        return min(self._limits.max_count, math.ceil(len(self._queue.waiting()) / max(1, idle)))

    async def _run(self, runner: BatchRunner[Item, Result], batch: list[Entry[Item, Result]]) -> None:
        try:
            now = self._clock()
            self._observer.depth(len(self._queue.waiting()))
            for entry in batch:
                entry.taken = now
                self._observer.waited(now - entry.arrived)
            await runner.run(batch)
        except Exception as error:
            # A mistake in here must neither end the serving nor leave a client waiting.
            logger.exception("%s could not run a batch of %d", self._name, len(batch))
            for entry in batch:
                entry.fail(error)
