"""What waits for a model: entries in the order they are to be served, and how a batch is taken from them."""

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
    """There is no room for these items; `retry_after` is in how many seconds there should be."""

    def __init__(self, name: str, waiting: int, retry_after: int) -> None:
        super().__init__(f"{waiting} items wait for {name} already")
        self.retry_after = retry_after


class BatcherClosed(Exception):
    """The batcher takes nothing in any more."""


class Expired(Exception):
    """The deadline passed before the work was done."""


class Priority(Enum):
    """Whether a person waits for the answer, or a job that runs in the background."""

    INTERACTIVE = "interactive"
    JOB = "job"


@dataclass(eq=False)
class Entry(Generic[Item, Result]):
    """One item and the future of its result; times are of a monotonic clock, in seconds.

    Attributes:
        item: what the model is given.
        key: only entries of equal key share a batch.
        cost: of the item, in the unit of the batch's bound.
        future: resolved exactly once; done while the item still waits means that its client is gone.
        priority: who waits for it.
        arrived: when it was let in.
        deadline: when its result is of no use any more.
        taken: when its batch was about to run; None before.
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
        """Whether nobody waits for it any more. May be asked from any thread."""
        return self.future.done() or now >= self.deadline

    def resolve(self, result: Result, now: float) -> None:
        """Hand the result over, unless the client is gone or the deadline has passed: it may be cut short then."""
        if now >= self.deadline:
            self.expire()
        elif not self.future.done():
            self.future.set_result(result)

    def fail(self, error: Exception) -> None:
        """Hand an error over, unless the client is gone."""
        if not self.future.done():
            self.future.set_exception(error)

    def survived(self) -> bool:
        """A thread died over it: whether it may be tried once more."""
        self._deaths += 1
        return self._deaths < _LIVES

    def expire(self) -> None:
        """Tell the client, if it is still there, that its deadline has passed."""
        self.fail(Expired("the deadline passed before the work was done"))


class BatchQueue(Generic[Item, Result]):
    """Entries by arrival, where a job counts as arrived `patience` seconds later than it did.

    So interactive entries go first, and a job is never overtaken by what arrives more than `patience` after it.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._entries: list[Entry[Item, Result]] = []

    def put(self, entry: Entry[Item, Result]) -> None:
        """Let an entry in; equal ranks keep their order."""
        bisect.insort(self._entries, entry, key=self.rank)

    def rank(self, entry: Entry[Item, Result]) -> float:
        """The lower, the sooner it is served."""
        return entry.arrived + (self._patience if entry.priority is Priority.JOB else 0.0)

    def waiting(self, *priorities: Priority) -> list[Entry[Item, Result]]:
        """The entries of these priorities (all when none is named) whose clients are still there, in order."""
        self._entries = [entry for entry in self._entries if not entry.future.done()]
        return [entry for entry in self._entries if not priorities or entry.priority in priorities]

    def take(self, max_cost: float, max_count: int, now: float) -> list[Entry[Item, Result]]:
        """Remove and return the next batch; what is gone is dropped on the way.

        The first entry's key is the batch's. The batch closes before its costs exceed `max_cost` (one entry is
        always taken, whatever it costs) and at `max_count` entries. Empty when nothing waits.
        """
        for entry in self._entries:
            if entry.gone(now):
                entry.expire()
        entries = self.waiting()
        batch: list[Entry[Item, Result]] = []
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
