"""A thread that works for the event loop, one call at a time, and is replaced when it dies."""

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import TypeVar

logger = logging.getLogger(__name__)
T = TypeVar("T")

_Call = Callable[[], None]

_LOOKED_EVERY = 0.01


class WorkerDied(Exception):
    """The thread ended in the middle of a call, through something that is no `Exception`."""


class _Thread(threading.Thread):
    """The thread of a worker. It is no reason for the process to stay: a call that never ends does not keep it."""

    def __init__(self, name: str, target: Callable[[], None]) -> None:
        super().__init__(target=target, name=name, daemon=True)


def left_threads() -> list[str]:
    """Names of the threads of all workers that have not ended.

    A process in which one of them computes has no clean end: native code that comes back to an interpreter that is
    gone aborts it.
    """
    return sorted(thread.name for thread in threading.enumerate() if isinstance(thread, _Thread))


class Worker:
    """One thread. Calls come from one event loop and run in their order."""

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._clock = clock
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._under_way = 0
        self._progressed = clock()

    async def call(self, function: Callable[[], T]) -> T:
        """Run a function in the thread; one that is cancelled meanwhile runs to its end unheard.

        Raises:
            WorkerDied: the thread died of it; the next call gets a new thread.
            Exception: what the function raises.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def settle(result: T | None, error: Exception | None) -> None:
            self._under_way -= 1
            if isinstance(error, WorkerDied):
                # It may not have ended yet, but it takes no call any more.
                self._thread = None
                self._ensure_thread()
            if future.done():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)  # type: ignore[arg-type]

        def report(result: T | None, error: Exception | None) -> None:
            # The loop may have been closed over a call that nobody waited for any more.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(settle, result, error)

        def run() -> None:
            self.beat()
            try:
                result = function()
            except StopIteration as error:  # which no future takes
                report(None, RuntimeError(f"the call raised {error!r}"))
            except Exception as error:
                report(None, error)
            except BaseException as error:
                report(None, WorkerDied(f"the thread {self._name} died: {type(error).__name__}: {error}"))
                raise
            else:
                report(result, None)

        if self._under_way == 0:
            self.beat()
        self._under_way += 1
        self._calls.put(run)
        self._ensure_thread()
        return await future

    def beat(self) -> None:
        """Say that there is progress. From any thread."""
        self._progressed = self._clock()

    def stalled(self) -> float:
        """Seconds since the last progress of the call under way; 0 when there is none."""
        return max(0.0, self._clock() - self._progressed) if self._under_way else 0.0

    def close(self) -> None:
        """Let the thread end after the call under way."""
        self._calls.put(None)

    async def ended(self, seconds: float) -> bool:
        """Wait for the thread to end, once it may; whether it did within so many seconds."""
        # A look now and then needs no other thread, of which none may be free.
        for _ in range(round(seconds / _LOOKED_EVERY)):
            if self._thread is None or not self._thread.is_alive():
                return True
            await asyncio.sleep(_LOOKED_EVERY)
        return False

    def _ensure_thread(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._thread = _Thread(self._name, self._serve)
            self._thread.start()

    def _serve(self) -> None:
        try:
            while (call := self._calls.get()) is not None:
                call()
        except BaseException:
            logger.critical("the thread %s died; the next call starts another", self._name, exc_info=True)
