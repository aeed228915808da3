"""Similarity selection: which captions of the corpus stand in a training prompt.

DRCap retrieves, for a caption t, others with similarity inside a range, so that the prompt helps without giving the
answer away. The N x N matrix never exists at once; the draw is seeded by its caller.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]

_SCORES_AT_ONCE = 1 << 25
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


def choose_range(vectors: Sequence[FloatArray], seed: int) -> SelectionRange:
    """The range that fits a CLAP, from the similarities inside the corpora themselves (unit vectors [n, d] each).

    A range depends on how wide a CLAP spreads its captions: DRCap's 0.75 to 0.85 holds next to nothing for another.
    Here it begins where nineteen of twenty pairs of captions lie below, so that what is drawn has something in
    common with the caption, and ends at the median caption's similarity to its nearest one: nearer ones say the
    same. Both are means over the corpora, of at most 1,000 captions each.
    """
    rng = np.random.default_rng(seed)
    lows, highs = [], []
    for rows in vectors:
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
    """For each of the unit vectors [n, d] the `size` most similar rows inside the range.

    Scores are computed for as many rows at once as make 32 M of them, on `device`.

    Returns:
        int32 [n, size] row numbers, most similar first; -1 where the range holds fewer.
    """
    count = len(vectors)
    pool = np.full((count, size), -1, dtype=np.int32)
    if not count:
        return pool
    rows = torch.from_numpy(vectors).to(device or torch.device("cpu"))
    width, chunk = min(size, count), max(1, _SCORES_AT_ONCE // count)
    for start in range(0, count, chunk):
        scores = rows[start : start + chunk] @ rows.T
        scores[(scores <= selection.low) | (scores >= selection.high)] = -torch.inf
        best, order = scores.topk(width, dim=1)
        order[best == -torch.inf] = -1
        pool[start : start + len(order), :width] = order.int().cpu().numpy()
    return pool
