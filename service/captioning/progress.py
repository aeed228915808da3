"""Progress of the caption of one recording: counting, reporting and reading it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Self

from service.captioning.segments import Segment


class Stage(StrEnum):
    """The stage under way, named as in the timings of an answer."""

    embed_audio = "embed_audio"
    generate = "generate"


@dataclass(frozen=True)
class CaptionProgress:
    """One progress report.

    Attributes:
        stage: the stage under way.
        done: finished share of the work, 0 to 1; it never falls from one report to the next.
        segments: segments finished since the previous report, in order. All reports together contain each segment of
            the caption once.
    """

    stage: Stage
    done: float
    segments: tuple[Segment, ...] = ()

    def after(self, earlier: Self) -> Self:
        """Merge this report with an earlier one that was not read."""
        return replace(self, segments=earlier.segments + self.segments)


ProgressListener = Callable[[CaptionProgress], None]
"""Receives a report. It is called in the event loop and must neither block nor raise."""


def ignore_progress(_: CaptionProgress) -> None:
    """Ignore progress."""


class ProgressMailbox:
    """Passes reports to one reader. Unread reports are merged, so at most one waits."""

    def __init__(self) -> None:
        self._news = asyncio.Event()
        self._unread: CaptionProgress | None = None

    def put(self, progress: CaptionProgress) -> None:
        """Add a report."""
        self._unread = progress if self._unread is None else progress.after(self._unread)
        self._news.set()

    async def until(self, task: "asyncio.Task[Any]") -> AsyncIterator[CaptionProgress]:
        """Yield reports until `task` is done and its last report is read."""
        task.add_done_callback(lambda _: self._news.set())
        while not task.done() or self._unread is not None:
            await self._news.wait()
            self._news.clear()
            if self._unread is not None:
                progress, self._unread = self._unread, None
                yield progress


# With the embedded bundle, writing a caption takes about as long as hearing four windows.
_CAPTION_WINDOWS = 4


class ProgressCounter:
    """Counts the windows heard and captions written of one recording, and reports them."""

    def __init__(self, listener: ProgressListener, windows: int, captions: int) -> None:
        """
        Args:
            listener: receives the reports.
            windows: number of windows to hear.
            captions: largest number of captions to write.
        """
        self._listener = listener
        self._windows, self._captions = windows, captions
        self._heard = self._written = 0
        listener(CaptionProgress(Stage.embed_audio, 0.0))

    def heard(self, windows: int) -> None:
        """Count windows as heard."""
        self._heard += windows
        self._listener(CaptionProgress(Stage.embed_audio, self._done))

    def expect(self, captions: int) -> None:
        """Set the number of captions to write."""
        self._captions = captions
        self._listener(CaptionProgress(Stage.generate, self._done))

    def wrote(self, captions: int, segments: tuple[Segment, ...]) -> None:
        """Count captions as written, which finishes `segments`."""
        self._written += captions
        self._listener(CaptionProgress(Stage.generate, self._done, segments))

    @property
    def _done(self) -> float:
        done = self._heard + _CAPTION_WINDOWS * self._written
        return done / (self._windows + _CAPTION_WINDOWS * self._captions)
