"""Progress: how far the captioning of one recording is."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Self

from service.captioning.segments import Segment


class Stage(StrEnum):
    """What takes the time now; named as in the timings of an answer."""

    embed_audio = "embed_audio"
    generate = "generate"


@dataclass(frozen=True)
class Progress:
    """One report.

    Attributes:
        stage: what is under way.
        done: share of the whole work that is done, 0 to 1; it never falls from one report to the next.
        segments: finished since the report before, in order. Those of all reports together are the caption's segments.
    """

    stage: Stage
    done: float
    segments: tuple[Segment, ...] = ()

    def after(self, earlier: Self) -> Self:
        """This report and one before it that nobody has read, as one."""
        return replace(self, segments=earlier.segments + self.segments)


Report = Callable[[Progress], None]
"""Called in the event loop; it must neither block nor raise."""


# To write a caption takes about as long as to hear four windows, with the embedded bundle.
_CAPTION_WINDOWS = 4


class Tally:
    """Counts what is done of one recording, and reports it."""

    def __init__(self, report: Report, windows: int, captions: int) -> None:
        """
        Args:
            report: is told.
            windows: to be heard.
            captions: to be written, at most.
        """
        self._report = report
        self._windows, self._captions = windows, captions
        self._heard = self._written = 0
        report(Progress(Stage.embed_audio, 0.0))

    def heard(self, windows: int) -> None:
        """So many more windows are heard."""
        self._heard += windows
        self._report(Progress(Stage.embed_audio, self._done))

    def expect(self, captions: int) -> None:
        """So many captions are to be written, and no more."""
        self._captions = captions
        self._report(Progress(Stage.generate, self._done))

    def wrote(self, captions: int, segments: tuple[Segment, ...]) -> None:
        """So many more captions are written, which finishes these segments."""
        self._written += captions
        self._report(Progress(Stage.generate, self._done, segments))

    @property
    def _done(self) -> float:
        done = self._heard + _CAPTION_WINDOWS * self._written
        return done / (self._windows + _CAPTION_WINDOWS * self._captions)


def unreported(_: Progress) -> None:
    """Nobody wants to know."""
