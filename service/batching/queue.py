"""Orders the items that wait for a model and takes batches from them."""

import asyncio
import bisect
import math
from collections.abc import Hashable
from dataclasses import dataclass, field
from enum import Enum
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
_LIVES = 2


class QueueFull(Exception):
    """The queue has no room for these items. `retry_after`: seconds until it should have room."""

    def __init__(self, name: str, waiting: int, retry_after: int) -> None:
        super().__init__(f"{waiting} items wait for {name} already")
        self.retry_after = retry_after


class BatcherClosed(Exception):
    """The batcher takes no more items."""


class Expired(Exception):
    """The deadline passed before the work was done."""


class Priority(Enum):
    """The priority of an item: a person waits for it, or a job in the background."""

    INTERACTIVE = "interactive"
    JOB = "job"


@dataclass(eq=False)
class QueuedItem(Generic[Item, Result]):
    """One item and the future of its result. Times are seconds of a monotonic clock.

    Attributes:
        item: input of the model.
        key: only items of equal key share a batch.
        cost: cost of the item, in the unit of `Limits.max_cost`.
        future: result, resolved exactly once. If it is done while the item still waits, the client has left.
        priority: who waits for the result.
        arrived: time at which the item was queued.
        deadline: time after which the result is of no use.
        taken: time at which the item's batch began; None before.
    """

    item: Item
    key: Hashable
    cost: float
    future: "asyncio.Future[Result]" = field(repr=False)
    priority: Priority
    arrived: float
    deadline: float = math.inf
    taken: float | None = None
    _deaths: int = 0

    def gone(self, now: float) -> bool:
        """Return whether nobody waits for the result. Any thread may call this."""
        return self.future.done() or now >= self.deadline

    def resolve(self, result: Result, now: float) -> None:
        """Deliver the result, unless the client has left or the deadline has passed: it may be incomplete then."""
        if now >= self.deadline:
            self.expire()
        elif not self.future.done():
            self.future.set_result(result)

    def fail(self, error: Exception) -> None:
        """Deliver an error, unless the client has left."""
        if not self.future.done():
            self.future.set_exception(error)

    def survived(self) -> bool:
        """Count a thread that died of the item. Return whether the item may run once more."""
        self._deaths += 1
        return self._deaths < _LIVES

    def expire(self) -> None:
        """Deliver `Expired`, unless the client has left."""
        self.fail(Expired("the deadline passed before the work was done"))


class BatchQueue(Generic[Item, Result]):
    """Items in the order of their arrival. A job's item counts as arrived `patience` seconds later.

    Interactive items therefore go first, but none that arrives more than `patience` seconds after a job's item
    overtakes it.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._entries: list[QueuedItem[Item, Result]] = []

    def put(self, entry: QueuedItem[Item, Result]) -> None:
        """Add an item. Items of equal rank keep their order."""
        bisect.insort(self._entries, entry, key=self.rank)

    def rank(self, entry: QueuedItem[Item, Result]) -> float:
        """Return the rank of an item. Lower ranks are served first."""
        return entry.arrived + (self._patience if entry.priority is Priority.JOB else 0.0)

    def waiting(self, *priorities: Priority) -> list[QueuedItem[Item, Result]]:
        """Return the items of these priorities (by default all) whose clients have not left, in order."""
        self._entries = [entry for entry in self._entries if not entry.future.done()]
        return [entry for entry in self._entries if not priorities or entry.priority in priorities]

    def take(self, max_cost: float, max_count: int, now: float) -> list[QueuedItem[Item, Result]]:
        """Remove and return the next batch, and drop the items that nobody waits for. It is empty if nothing waits.

        All its items have the key of the first. It closes before its cost exceeds `max_cost`, but holds at least one
        item, and at `max_count` items.
        """
        for entry in self._entries:
            if entry.gone(now):
                entry.expire()
        entries = self.waiting()
        batch: list[QueuedItem[Item, Result]] = []
        spent = 0.0
        for entry in entries:
            if entry.key != entries[0].key:
                continue
            if len(batch) == max_count or (batch and spent + entry.cost > max_cost):
                break
            batch.append(entry)
            spent += entry.cost
        taken = set(map(id, batch))
        self._entries = [entry for entry in entries if id(entry) not in taken]
        return batch
