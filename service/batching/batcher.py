"""Batches the items that many requests send to one model at the same time.

A batch takes the items that wait when the model is free: a lone request does not wait, and batches grow with the load.
A batch is bounded in cost and count. Everything except the model's own work happens in the event loop.
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any, Generic

from service.batching.queue import BatcherClosed, BatchQueue, Item, Priority, QueuedItem, QueueFull, Result
from service.batching.runner import BatchRunner, BatchWork, Limits, Observer, Unobserved
from service.batching.turns import SharedCores
from service.batching.worker import Worker
from service.monitoring import tracing
from service.rates import ServiceRate

logger = logging.getLogger(__name__)


class Batcher(Generic[Item, Result]):
    """One queue for one model, and a thread for each of its replicas. Built and used in one event loop."""

    def __init__(
        self,
        name: str,
        work: BatchWork[Item, Result],
        limits: Limits,
        observer: Observer | None = None,
        clock: Callable[[], float] = time.monotonic,
        cores: SharedCores | None = None,
        source: "Batcher[Any, Any] | None" = None,
    ) -> None:
        """
        Args:
            name: name of the threads, also used in errors.
            work: how items are processed.
            limits: bounds of a batch and of the queue.
            observer: is told what happens.
            clock: monotonic seconds.
            cores: how the model shares its cores with others; None if it has its device to itself.
            source: batcher whose results become items of this one.
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
        self._unresolved: set[QueuedItem[Item, Result]] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._closed = False

    async def start(self) -> None:
        """Begin to run batches, until `close`."""
        pairs = zip(self._runners, self._arrivals, strict=True)
        self._tasks = [asyncio.create_task(self._serve(*pair), name=self._name) for pair in pairs]

    async def run(
        self, items: Sequence[Item], *, priority: Priority = Priority.INTERACTIVE, deadline: float = math.inf
    ) -> list[Result]:
        """Return the results of items, in order. Their batches may hold other callers' items too.

        Either all items are queued or none. If one fails or the caller is cancelled, the others are dropped: waiting
        ones at once, running ones as soon as the model calls its `gone` argument.

        Args:
            items: inputs of the model.
            priority: a job's items go behind interactive ones, and wait for room instead of being refused.
            deadline: time of the batcher's clock after which the results are of no use.

        Raises:
            QueueFull: `Limits.capacity` would be exceeded. A call larger than it is accepted when nothing waits.
            BatcherClosed: the batcher is closed.
            Expired: the deadline passed.
            WorkerDied: the thread died twice of one of the items.
            Exception: an error of the model for one of the items alone.
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
        """Return seconds until the queue has drained, at the measured rate."""
        return self.rate.retry_after(sum(entry.cost for entry in self._queue.waiting()) / len(self._runners))

    def stalled(self) -> float:
        """Return seconds since the busy model last made progress; 0 if it is idle."""
        return max(worker.stalled() for worker in self._workers)

    async def finished(self, seconds: float) -> bool:
        """Wait for all interactive items. Return False if there are none, or after this many seconds."""
        futures = [entry.future for entry in self._unresolved if entry.priority is Priority.INTERACTIVE]
        if not futures or seconds <= 0:
            return False
        _, pending = await asyncio.wait(futures, timeout=seconds)
        return not pending

    async def close(self) -> None:
        """Refuse new items, fail the others with `BatcherClosed`, and let the threads end after their calls."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for entry in list(self._unresolved):
            entry.fail(BatcherClosed(f"{self._name} was closed"))
        for worker in self._workers:
            worker.close()

    async def ended(self, seconds: float) -> bool:
        """Wait for the threads of a closed batcher. Return False if one still runs after this many seconds."""
        return all(await asyncio.gather(*(worker.ended(seconds) for worker in self._workers)))

    async def _results(self, items: Sequence[Item], priority: Priority, deadline: float) -> list[Result]:
        if self._closed:
            raise BatcherClosed(f"{self._name} takes no more items")
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

    def _entry(self, item: Item, priority: Priority, deadline: float) -> QueuedItem[Item, Result]:
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        work = self._work
        return QueuedItem(item, work.key(item), work.cost(item), future, priority, self._clock(), deadline)

    def _admit(self, entry: QueuedItem[Item, Result]) -> None:
        self._unresolved.add(entry)
        entry.future.add_done_callback(lambda _: self._unresolved.discard(entry))
        self._queue.put(entry)

    async def _serve(self, runner: BatchRunner[Item, Result], arrival: asyncio.Event) -> None:
        while True:
            await arrival.wait()
            arrival.clear()
            while self._queue.waiting():
                await self._gather()
                # The turn comes first: the batch then holds all items that arrived until it was given.
                async with self._turn():
                    await self._run_batches(runner)
                if self._cores is not None and not self._cores.ahead:
                    await asyncio.sleep(self._cores.pause)

    async def _gather(self) -> None:
        """Wait for the items that the source computes, if the batch is small: two batches of one cost more than a pair.

        From half a full batch on, an item costs little more than in a full one, and waiting would leave a core idle.
        """
        if self._cores is None or self._source is None:
            return
        until = self._clock() + self._cores.gather
        few = self._limits.max_count / 2
        while len(self._queue.waiting()) < few and sum(not one.busy for one in self._runners) == 1:
            if not await self._source.finished(until - self._clock()):
                return
            # A result of the source passes through a search of the domain first.
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
        """Return whether the batcher comes before others. For jobs it never does."""
        return self._cores is not None and self._cores.ahead and bool(self._queue.waiting(Priority.INTERACTIVE))

    def _share(self) -> int:
        """Return the maximum size of a batch. Idle replicas share the waiting items."""
        idle = sum(not runner.busy for runner in self._runners)
        return min(self._limits.max_count, math.ceil(len(self._queue.waiting()) / max(1, idle)))

    async def _run(self, runner: BatchRunner[Item, Result], batch: list[QueuedItem[Item, Result]]) -> None:
        try:
            now = self._clock()
            self._observer.depth(len(self._queue.waiting()))
            for entry in batch:
                entry.taken = now
                self._observer.waited(now - entry.arrived)
            await runner.run(batch)
        except Exception as error:
            # An error here must neither end the serving task nor leave a client waiting.
            logger.exception("%s could not run a batch of %d", self._name, len(batch))
            for entry in batch:
                entry.fail(error)
