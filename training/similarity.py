"""Similarity selection: which captions of the corpus stand in a training prompt.

DRCap retrieves, for a caption t, others with similarity inside a range, so that the prompt helps without giving the
answer away. The N x N matrix never exists at once; the draw is seeded by its caller.

What is chosen by a similarity is the same on every machine and with any number of threads: see `on_grid`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

FloatArray = NDArray[np.float32]
Float64Array = NDArray[np.float64]

_SCORES_AT_ONCE = 1 << 24
_GRID = 2.0**24
_SAMPLED = 1000
_NARROWEST = 0.1


@dataclass(frozen=True)
class SelectionRange:
    """Open interval of cosine similarity to the caption itself."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not -1.0 <= self.low < self.high <= 1.0:
            raise ValueError(f"a selection range is -1 <= low < high <= 1, got {self.low} and {self.high}")


def on_grid(vectors: FloatArray | Float64Array) -> Float64Array:
    """Unit vectors, or others about as long, rounded to multiples of 2^-24: by no more than float32 itself rounds.

    Products of two are multiples of 2^-48 and, with every sum of them, far below 2^5: float64 holds them exactly. So a
    similarity is the same whoever adds it up in whatever order, where one in float32 depends in its last digits on the
    processor and on the threads that share the sum, and with it what lies inside a range and what comes first.
    """
    return np.asarray(np.rint(np.asarray(vectors, np.float64) * _GRID) / _GRID, np.float64)


def choose_range(vectors: Sequence[FloatArray], seed: int) -> SelectionRange:
    """The range that fits a CLAP, from the similarities inside the corpora themselves (unit vectors [n, d] each).

    A range depends on how wide a CLAP spreads its captions: DRCap's 0.75 to 0.85 holds next to nothing for another.
    Here it begins where nineteen of twenty pairs of captions lie below, so that what is drawn has something in
    common with the caption, and ends at the median caption's similarity to its nearest one: nearer ones say the
    same. Both are means over the corpora, of at most 1,000 captions each.
    """
    rng = np.random.default_rng(seed)
    lows, highs = [], []
    for rows in map(on_grid, vectors):
        if len(rows) < 2:
            continue
        picked = rng.choice(len(rows), min(_SAMPLED, len(rows)), replace=False)
        nearest, pairs = [], []
        for start in range(0, len(picked), max(1, _SCORES_AT_ONCE // len(rows))):
            some = picked[start : start + max(1, _SCORES_AT_ONCE // len(rows))]
            scores = rows[some] @ rows.T
            scores[np.arange(len(some)), some] = -1.0
            nearest.append(scores.max(axis=1))
            pairs.append(scores[:, rng.choice(len(rows), min(_SAMPLED, len(rows)), replace=False)].ravel())
        lows.append(float(np.quantile(np.concatenate(pairs), 0.95)))
        highs.append(float(np.median(np.concatenate(nearest))))
    if not lows:
        raise ValueError("a selection range needs a corpus of at least two captions")
    low, high = float(np.mean(lows)), float(np.mean(highs))
    # A corpus of near copies or of nothing alike leaves no room between the two.
    return SelectionRange(max(-1.0, min(low, high - _NARROWEST)), min(1.0, high))


def candidate_pool(
    vectors: FloatArray, selection: SelectionRange, size: int, device: torch.device | None = None
) -> NDArray[np.int32]:
    """For each of the unit vectors [n, d] the `size` most similar other rows inside the range.

    Scores are computed for as many rows at once as make 16 M of them, on `device`.

    Returns:
        int32 [n, size] row numbers, most similar first and of equal ones the lowest; -1 where the range holds fewer.
    """
    count = len(vectors)
    pool = np.full((count, size), -1, dtype=np.int32)
    if not count:
        return pool
    rows = torch.from_numpy(on_grid(vectors)).to(device or torch.device("cpu"))
    width, chunk = min(size, count), max(1, _SCORES_AT_ONCE // count)
    for start in range(0, count, chunk):
        scores = rows[start : start + chunk] @ rows.T
        scores[(scores <= selection.low) | (scores >= selection.high)] = -torch.inf
        scores.diagonal(start).fill_(-torch.inf)
        order = _largest(scores, width)
        pool[start : start + len(order), :width] = order.int().cpu().numpy()
    return pool


def _largest(scores: Tensor, width: int) -> Tensor:
    """The columns of the `width` largest scores of each row, of equal ones the first; -1 in place of those of -inf."""
    best, order = scores.topk(width, dim=1)
    # Of equal scores `topk` takes any: where some are left out at its end, the whole row is sorted.
    last = best[:, -1:]
    torn = (last[:, 0] > -torch.inf) & ((scores >= last).sum(dim=1) > width)
    if torn.any():
        order[torn] = scores[torn].sort(dim=1, descending=True, stable=True).indices[:, :width]
    order = order.sort(dim=1).values
    best, places = scores.gather(1, order).sort(dim=1, descending=True, stable=True)
    order = order.gather(1, places)
    order[best == -torch.inf] = -1
    return order
