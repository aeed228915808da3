"""Similarity selection: finds the captions of a corpus that may stand in a training prompt.

DRCap retrieves, for a caption t, others with a similarity inside a range, so that the prompt helps and does not give
the answer away. The N x N matrix never exists at once; the caller seeds the draw.

A choice by similarity is the same on every machine and with any number of threads: see `on_grid`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.vectors import FloatArray

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
    """Return vectors of about unit length rounded to multiples of 2^-24, no more than float32 itself rounds.

    Products of two values are multiples of 2^-48, and their sums stay far below 2^5: float64 holds both exactly. So a
    similarity does not depend on the order of summation. In float32 its last digits depend on the processor and the
    number of threads, and with them the captions inside a range and their order.
    """
    return np.asarray(np.rint(np.asarray(vectors, np.float64) * _GRID) / _GRID, np.float64)


def choose_range(vectors: Sequence[FloatArray], seed: int) -> SelectionRange:
    """Return the range that fits a CLAP, from the similarities inside each corpus (unit vectors [n, d]).

    CLAPs spread captions differently: DRCap's range of 0.75 to 0.85 holds almost nothing with another CLAP. This range
    begins at the 95th percentile of the similarities of pairs, so that similar captions have something in common. It
    ends at the median similarity of a caption to its nearest one, because nearer ones say the same. Both are means
    over the corpora, from at most 1,000 captions of each.

    Raises:
        ValueError: no corpus has two captions.
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
    # In a corpus of near copies, or without similar captions, the two nearly coincide.
    return SelectionRange(max(-1.0, min(low, high - _NARROWEST)), min(1.0, high))


def candidate_pool(
    vectors: FloatArray, selection: SelectionRange, size: int, device: torch.device | None = None
) -> NDArray[np.int32]:
    """Return for each of the unit vectors [n, d] the `size` most similar other rows inside the range.

    About 16 million scores are computed at once, on `device`; None is the CPU.

    Returns:
        int32 [n, size] row numbers, most similar first and lower rows before equal ones; -1 where the range has fewer.
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
    """Return the columns of each row's `width` largest scores, the first of equal ones first; -1 for scores of -inf."""
    best, order = scores.topk(width, dim=1)
    # `topk` takes any of equal scores: where it drops some of them, the whole row is sorted.
    last = best[:, -1:]
    torn = (last[:, 0] > -torch.inf) & ((scores >= last).sum(dim=1) > width)
    if torn.any():
        order[torn] = scores[torn].sort(dim=1, descending=True, stable=True).indices[:, :width]
    order = order.sort(dim=1).values
    best, places = scores.gather(1, order).sort(dim=1, descending=True, stable=True)
    order = order.gather(1, places)
    order[best == -torch.inf] = -1
    return order
