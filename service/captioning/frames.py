"""Frames: what a CLAP heard of a recording, step by step, and when."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.audio.windows import Window

FloatArray = NDArray[np.float32]
Times = NDArray[np.float64]


@dataclass(frozen=True)
class Frames:
    """Frames in the order of time.

    Attributes:
        features: float32 [frames, features], as `models.clap.base.Clap.hear` gives them.
        starts: in seconds of the recording [frames].
        ends: in seconds [frames].
    """

    features: FloatArray
    starts: Times
    ends: Times

    @classmethod
    def of(cls, windows: Sequence[Window], heard: Sequence[FloatArray]) -> "Frames":
        """Those of windows that do not overlap, with what was heard of each [frames, features]."""
        edges = [
            np.linspace(one.heard_from, one.heard_to, len(own) + 1) for one, own in zip(windows, heard, strict=True)
        ]
        starts, ends = (np.concatenate([one[side] for one in edges]) for side in (slice(None, -1), slice(1, None)))
        return cls(np.concatenate(heard), starts, ends)

    def within(self, start: float, end: float) -> slice:
        """Rows of the frames whose middles lie between two times; where none does, the one that comes next or last."""
        first, last = np.searchsorted((self.starts + self.ends) / 2, [start, end])
        first = min(int(first), len(self.features) - 1)
        return slice(first, max(int(last), first + 1))
