"""Segments: what is heard when."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class Segment:
    """The caption of one part of a recording, from `start` to `end` seconds."""

    start: float
    end: float
    caption: str


class Timeline:
    """Segments as they are written, in order; those that follow each other with one caption become one."""

    def __init__(self) -> None:
        self._finished: list[Segment] = []
        self._last: Segment | None = None

    @property
    def segments(self) -> tuple[Segment, ...]:
        """All of them."""
        return (*self._finished, *self.rest)

    @property
    def rest(self) -> tuple[Segment, ...]:
        """The last one, which what comes may still make longer."""
        return () if self._last is None else (self._last,)

    def add(self, segments: Iterable[Segment]) -> tuple[Segment, ...]:
        """Put segments behind the others; gives those that this finishes."""
        already = len(self._finished)
        for one in segments:
            if self._last is not None and self._last.caption == one.caption:
                self._last = replace(self._last, end=one.end)
            else:
                self._finished += self.rest
                self._last = one
        return tuple(self._finished[already:])


def alike(vectors: FloatArray, similarity: float) -> list[slice]:
    """Join what follows each other and sounds alike, the two most alike first, until no neighbours are alike enough.

    Args:
        vectors: unit vectors in order [n, d].
        similarity: cosine between the mean directions of two neighbours from which they are joined.

    Returns:
        The rows of each group, in order; together they are all rows.
    """
    count = len(vectors)
    sums = vectors.astype(np.float64)
    # Of the group that starts at a row: where the next one starts, and the one before.
    following, before = list(range(1, count + 1)), list(range(-1, count - 1))

    def cosine(row: int) -> float:
        """Of the group that starts here and the next one."""
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
