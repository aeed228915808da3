"""Runs calls of the event loop in one thread, one at a time. A thread that dies is replaced."""

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
    """The thread ended during a call, through something other than an `Exception`."""


class _Thread(threading.Thread):
    """The thread of a worker. It is a daemon: a call that never ends does not keep the process alive."""

    def __init__(self, name: str, target: Callable[[], None]) -> None:
        super().__init__(target=target, name=name, daemon=True)


def left_threads() -> list[str]:
    """Return the names of all workers' threads that still run.

    A process cannot end cleanly while one of them computes: native code that returns to a finalised interpreter aborts
    the process.
    """
    return sorted(thread.name for thread in threading.enumerate() if isinstance(thread, _Thread))


class Worker:
    """One thread. It runs the calls of one event loop in their order."""

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._clock = clock
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._under_way = 0
        self._progressed = clock()

    async def call(self, function: Callable[[], T]) -> T:
        """Run a function in the thread. A cancelled call still runs to its end; its result is dropped.

        Raises:
            WorkerDied: the function ended the thread. The next call gets a new thread.
            Exception: an error of the function.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def settle(result: T | None, error: Exception | None) -> None:
            self._under_way -= 1
            if isinstance(error, WorkerDied):
                # The thread may still be ending, but it takes no more calls.
                self._thread = None
                self._ensure_thread()
            if future.done():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)  # type: ignore[arg-type]

        def report(result: T | None, error: Exception | None) -> None:
            # The loop may be closed by now, if nobody waited for the call.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(settle, result, error)

        def run() -> None:
            self.beat()
            try:
                result = function()
            except StopIteration as error:  # a future refuses it
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
        """Record progress. Any thread may call this."""
        self._progressed = self._clock()

    def stalled(self) -> float:
        """Return seconds since the last progress of the running call; 0 if no call runs."""
        return max(0.0, self._clock() - self._progressed) if self._under_way else 0.0

    def close(self) -> None:
        """Let the thread end after the running call."""
        self._calls.put(None)

    async def ended(self, seconds: float) -> bool:
        """Wait for the closed thread to end. Return False if it still runs after this many seconds."""
        # Polling needs no other thread; all of them may be busy.
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
