"""Shares the cores of a CPU between threads that would otherwise take them from each other.

Three threads that compute on two cores need 15% more time than two at a time: each finds its data gone from the caches.
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
    """Limits how many threads compute at a time. Threads get turns in the order of their requests.

    The event loop requests a turn before it decides what to compute. The thread that computes may offer its turn.
    """

    def __init__(self, count: int, head_start: float = 2.0, clock: Callable[[], float] = time.monotonic) -> None:
        """
        Args:
            count: turns at a time, 1 or more.
            head_start: a request ahead counts as made this many seconds earlier.
            clock: monotonic seconds.
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
        """Wait for a turn and hold it while the context is open."""
        await self._take(ahead)
        try:
            yield
        finally:
            self._give_back()

    async def again(self, ahead: bool = False) -> None:
        """Hand the turn that is held to the first in line, possibly oneself, and wait for the next one."""
        given, wake = _call()
        mine = self._exchange(ahead, wake)
        if mine is None:
            return
        try:
            await self._given(given, mine)
        except asyncio.CancelledError:
            with self._lock:
                # The end of the context gives a turn back that is no longer held.
                self._free -= 1
            raise

    def offer(self) -> None:
        """Let waiting threads compute first, if there are any. Call it in the thread that holds the turn."""
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
        """Wait for a requested turn. A cancelled request holds none."""
        try:
            await given.wait()
        except asyncio.CancelledError:
            if not self._withdraw(mine):
                self._give_back()
            raise

    def _ask(self, ahead: bool, wake: Callable[[], None]) -> _Waiting | None:
        """Take a free turn and return None, or join the line."""
        with self._lock:
            if self._free > 0:
                self._free -= 1
                return None
            return self._join(ahead, wake)

    def _exchange(self, ahead: bool, wake: Callable[[], None]) -> _Waiting | None:
        """Join the line and hand the turn to its first. Return None if oneself is the first."""
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
        """Leave the line. Return False if the turn has been given already."""
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
    """Return an event of the running loop, and a function that sets it from any thread."""
    loop, event = asyncio.get_running_loop(), asyncio.Event()

    def wake() -> None:
        # The loop may be closed by now.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(event.set)

    return event, wake


@dataclass(frozen=True)
class SharedCores:
    """How one of several models takes turns on the same cores.

    Attributes:
        turns: the turns of all models.
        ahead: whether interactive items of this model come before those of others. Such a model also keeps its turn
            from batch to batch until another thread is first in line.
        pause: seconds between two batches of a model that is not ahead. Other models may pass it more items meanwhile,
            which then join the next batch.
        gather: seconds for which a batch with room waits for the items that its source is still computing. It does not
            wait while another replica is free.
    """

    turns: Turns
    ahead: bool = False
    pause: float = 0.1
    gather: float = 0.5
