"""What can be done for an item before its batch: in a thread of its own, while another batch runs."""

import asyncio
import heapq
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from typing import Generic

from service.batching.queue import Entry, Item, Result
from service.batching.worker import Worker, WorkerDied


class Preparation(Generic[Item, Result]):
    """Makes items ready one by one, in the order in which they will be served."""

    def __init__(self, prepare: Callable[[Item], Item], worker: Worker, restarted: Callable[[], None]) -> None:
        """
        Args:
            prepare: an item -> the item made ready.
            worker: the thread it runs in.
            restarted: called when that thread died.
        """
        self._prepare = prepare
        self._worker = worker
        self._restarted = restarted
        self._waiting: list[tuple[float, int, Entry[Item, Result]]] = []
        self._numbers = count()
        self._arrival = asyncio.Event()

    def add(self, rank: float, entry: Entry[Item, Result]) -> None:
        """Have an entry's item made ready; the lower the rank, the sooner."""
        entry.ready.clear()
        heapq.heappush(self._waiting, (rank, next(self._numbers), entry))
        self._arrival.set()

    async def wait(self, batch: Sequence[Entry[Item, Result]]) -> None:
        """Wait until each item of a batch is ready, failed or not wanted any more."""
        for entry in batch:
            await entry.ready.wait()

    async def serve(self) -> None:
        """Make items ready until cancelled."""
        while True:
            await self._arrival.wait()
            self._arrival.clear()
            while self._waiting:
                _, _, entry = heapq.heappop(self._waiting)
                await self._make_ready(entry)

    async def _make_ready(self, entry: Entry[Item, Result]) -> None:
        try:
            while not entry.future.done():
                try:
                    entry.item = await self._worker.call(partial(self._prepare, entry.item))
                    return
                except WorkerDied as error:
                    self._restarted()
                    if not entry.survived():
                        entry.fail(error)
                except Exception as error:
                    entry.fail(error)
        finally:
            entry.ready.set()
