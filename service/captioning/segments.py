"""Segments: the timed captions of a recording, and the grouping of windows that sound alike."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from models.vectors import FloatArray


@dataclass(frozen=True)
class Segment:
    """The caption of one stretch of a recording, from `start` to `end` seconds."""

    start: float
    end: float
    caption: str


class Timeline:
    """Collects segments in order. Neighbouring segments with the same caption become one."""

    def __init__(self) -> None:
        self._finished: list[Segment] = []
        self._last: Segment | None = None

    @property
    def segments(self) -> tuple[Segment, ...]:
        """All segments so far."""
        return (*self._finished, *self.rest)

    @property
    def rest(self) -> tuple[Segment, ...]:
        """The last segment, which the next one may still extend; empty before the first segment."""
        return () if self._last is None else (self._last,)

    def add(self, segments: Iterable[Segment]) -> tuple[Segment, ...]:
        """Append segments. Return the segments that cannot change any more."""
        already = len(self._finished)
        for one in segments:
            if self._last is not None and self._last.caption == one.caption:
                self._last = replace(self._last, end=one.end)
            else:
                self._finished += self.rest
                self._last = one
        return tuple(self._finished[already:])


def group_alike(vectors: FloatArray, similarity: float) -> list[slice]:
    """Join neighbouring rows that sound alike, the most similar pair first, until no pair is similar enough.

    Args:
        vectors: unit vectors in order [n, d].
        similarity: neighbours are joined if the cosine between their mean directions is at least this.

    Returns:
        The rows of each group, in order. Each row is in one group.
    """
    count = len(vectors)
    sums = vectors.astype(np.float64)
    # For the group that starts at a row: the starts of the next group and of the previous group.
    following, before = list(range(1, count + 1)), list(range(-1, count - 1))

    def cosine(row: int) -> float:
        """Return the cosine between the group that starts at `row` and the next group."""
        if following[row] >= count:
            return -math.inf
        one, other = sums[row], sums[following[row]]
        return float(one @ other) / max(float(np.linalg.norm(one) * np.linalg.norm(other)), 1e-12)

    cosines = np.array([cosine(row) for row in range(count)])
    while cosines[best := int(cosines.argmax())] >= similarity:
        gone = following[best]
        sums[best] += sums[gone]
        following[best] = following[gone]
        if following[best] < count:
            before[following[best]] = best
        cosines[gone] = -math.inf
        cosines[best] = cosine(best)
        if before[best] >= 0:
            cosines[before[best]] = cosine(before[best])
    groups, start = [], 0
    while start < count:
        groups.append(slice(start, following[start]))
        start = following[start]
    return groups
