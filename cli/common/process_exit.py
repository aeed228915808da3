"""The end of the process: in time and as one that did what it was to do, whatever a thread of it is at.

Python does not stop threads. One that is computing in torch when the interpreter goes away under it aborts the process,
and one of an executor that never ends keeps it for ever.
"""

import logging
import os
import sys
import threading
from contextlib import suppress
from typing import NoReturn

from service.batching.worker import left_threads

logger = logging.getLogger(__name__)


class Ending:
    """Sees to it that the process ends, with `code` where nothing else can end it."""

    def __init__(self) -> None:
        self.code = 0
        self._closed = threading.Event()

    def bound(self, seconds: float) -> None:
        """End the process in so many seconds unless all is closed by then."""
        threading.Thread(target=self._wait, args=(seconds,), name="ending", daemon=True).start()

    def closed(self) -> None:
        """All is closed: end the process now if a call of a model has not ended, else leave it to Python."""
        self._closed.set()
        left = left_threads()
        if left:
            self._end(f"the process ends although a call of a model has not ended ({', '.join(left)})")

    def _wait(self, seconds: float) -> None:
        if self._closed.wait(seconds):
            return
        threads = (thread for thread in threading.enumerate() if thread is not threading.current_thread())
        names = ", ".join(sorted(thread.name for thread in threads))
        self._end(f"the process ends although it has not closed everything in {seconds:g} s ({names})")

    def _end(self, why: str) -> NoReturn:
        logger.error(why)
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):  # it may be closed, as may what reads it
                stream.flush()
        os._exit(self.code)
