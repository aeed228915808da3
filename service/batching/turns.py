"""Turns on the cores of a CPU, for threads that would otherwise take them from each other.

Three threads that compute on two cores take 15% more time of these than two at a time: each finds its data gone from
the caches.
"""

import asyncio
import contextlib
import heapq
import itertools
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

_Waiting = tuple[float, int, Callable[[], None]]


class Turns:
    """Lets so many threads compute at a time, in the order in which they asked, some with a start ahead of others.

    Asked for in the event loop, before it is known what will be computed; given up now and then by the thread itself.
    """

    def __init__(self, count: int, head_start: float = 2.0, clock: Callable[[], float] = time.monotonic) -> None:
        """
        Args:
            count: turns that are taken at a time, 1 or more.
            head_start: seconds; who is ahead comes before others who asked less than this earlier.
            clock: monotonic, in seconds.
        """
        if count < 1:
            raise ValueError(f"at least 1 turn is taken at a time, got {count}")
        self._head_start = head_start
        self._clock = clock
        self._lock = threading.Lock()
        self._free = count
        self._numbers = itertools.count()
        self._waiting: list[_Waiting] = []

    @asynccontextmanager
    async def turn(self, ahead: bool = False) -> AsyncIterator[None]:
        """Wait for a turn, and have it while the context is open."""
        await self._take(ahead)
        try:
            yield
        finally:
            self._give_back()

    async def again(self, ahead: bool = False) -> None:
        """Within a turn: give it to who comes first of those who wait and oneself, and go on with the next one."""
        given, wake = _call()
        mine = self._exchange(ahead, wake)
        if mine is None:
            return
        try:
            await self._given(given, mine)
        except asyncio.CancelledError:
            with self._lock:
                # Owed to the end of the context, which gives a turn back.
                self._free -= 1
            raise

    def offer(self) -> None:
        """Within a turn, in the thread that has it: let those who wait have theirs first."""
        if self._waiting:
            given = threading.Event()
            if self._exchange(True, given.set) is not None:
                given.wait()

    async def _take(self, ahead: bool) -> None:
        given, wake = _call()
        mine = self._ask(ahead, wake)
        if mine is not None:
            await self._given(given, mine)

    async def _given(self, given: asyncio.Event, mine: _Waiting) -> None:
        """Wait for a turn that was asked for; who is cancelled meanwhile has none."""
        try:
            await given.wait()
        except asyncio.CancelledError:
            if not self._withdraw(mine):
                self._give_back()
            raise

    def _ask(self, ahead: bool, wake: Callable[[], None]) -> _Waiting | None:
        """Take a turn that is free, or wait for one, to be woken with it."""
        with self._lock:
            if self._free > 0:
                self._free -= 1
                return None
            return self._join(ahead, wake)

    def _exchange(self, ahead: bool, wake: Callable[[], None]) -> _Waiting | None:
        """Give a turn to who comes first of those who wait and oneself."""
        with self._lock:
            mine = self._join(ahead, wake)
            first = heapq.heappop(self._waiting)
        if first is mine:
            return None
        first[-1]()
        return mine

    def _join(self, ahead: bool, wake: Callable[[], None]) -> _Waiting:
        asked = self._clock() - (self._head_start if ahead else 0.0)
        mine = (asked, next(self._numbers), wake)
        heapq.heappush(self._waiting, mine)
        return mine

    def _withdraw(self, mine: _Waiting) -> bool:
        """Whether it still waited."""
        with self._lock:
            if mine not in self._waiting:
                return False
            self._waiting.remove(mine)
            heapq.heapify(self._waiting)
            return True

    def _give_back(self) -> None:
        with self._lock:
            if self._free < 0 or not self._waiting:
                self._free += 1
                return
            _, _, wake = heapq.heappop(self._waiting)
        wake()


def _call() -> tuple[asyncio.Event, Callable[[], None]]:
    """An event of the running loop, and what sets it from any thread."""
    loop, event = asyncio.get_running_loop(), asyncio.Event()

    def wake() -> None:
        # The loop may have been closed meanwhile.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(event.set)

    return event, wake


@dataclass(frozen=True)
class SharedCores:
    """One model's part in the turns of several.

    Attributes:
        turns: of all models on these cores.
        ahead: whether what is interactive of this one comes before others; it then also keeps its turn from batch to
            batch while nobody else comes first.
        pause: seconds between two batches of one that is not ahead, in which the others' next work may come: what
            that brings is in the next batch.
        gather: seconds for which a batch that has room waits for what its source is still at. It is not waited for
            where another replica is free to take it.
    """

    turns: Turns
    ahead: bool = False
    pause: float = 0.1
    gather: float = 0.5
