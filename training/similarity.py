"""Similarity selection: which captions of the corpus stand in a training prompt.

DRCap retrieves, for a caption t, others with similarity inside a range, so that the prompt helps without giving the
answer away. The N x N matrix never exists at once; the draw is seeded by its caller.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class SelectionRange:
    """Open interval of cosine similarity to the caption itself."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not -1.0 <= self.low < self.high <= 1.0:
            raise ValueError(f"a selection range is -1 <= low < high <= 1, got {self.low} and {self.high}")


def candidate_pool(vectors: FloatArray, selection: SelectionRange, size: int, chunk: int = 1024) -> NDArray[np.int64]:
    """For each of the unit vectors [n, d] the `size` most similar rows inside the range.

    Returns:
        int64 [n, size] row numbers, most similar first; -1 where the range holds fewer.
    """
    count = len(vectors)
    pool = np.full((count, size), -1, dtype=np.int64)
    width = min(size, count)
    for start in range(0, count, chunk):
        scores = vectors[start : start + chunk] @ vectors.T
        scores[(scores <= selection.low) | (scores >= selection.high)] = -np.inf
        best = np.argpartition(-scores, width - 1, axis=1)[:, :width]
        best_scores = np.take_along_axis(scores, best, axis=1)
        order = np.argsort(-best_scores, axis=1, kind="stable")
        rows = np.take_along_axis(best, order, axis=1)
        rows[~np.isfinite(np.take_along_axis(best_scores, order, axis=1))] = -1
        pool[start : start + len(rows), :width] = rows
    return pool
