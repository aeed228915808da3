"""Frames: the features that a CLAP hears in a recording, step by step, with their times."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.vectors import FloatArray
from service.audio.windows import Window

Times = NDArray[np.float64]


@dataclass(frozen=True)
class TimedFrames:
    """Frames of a recording in order of time.

    Attributes:
        features: float32 [frames, features], from `models.clap.base.Clap.hear`.
        starts: start of each frame in seconds [frames].
        ends: end of each frame in seconds [frames].
    """

    features: FloatArray
    starts: Times
    ends: Times

    @classmethod
    def of(cls, windows: Sequence[Window], heard: Sequence[FloatArray]) -> "TimedFrames":
        """Return the frames of windows that do not overlap, from the features of each window [frames, features]."""
        edges = [
            np.linspace(one.heard_from, one.heard_to, len(own) + 1) for one, own in zip(windows, heard, strict=True)
        ]
        starts, ends = (np.concatenate([one[side] for one in edges]) for side in (slice(None, -1), slice(1, None)))
        return cls(np.concatenate(heard), starts, ends)

    def within(self, start: float, end: float) -> slice:
        """Return the rows of frames with their middle between two times; if there is none, the next or the last row."""
        first, last = np.searchsorted((self.starts + self.ends) / 2, [start, end])
        first = min(int(first), len(self.features) - 1)
        return slice(first, max(int(last), first + 1))
