"""Measures of retrieval on plain arrays, and their intervals over clips."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from evaluation.intervals import Figure
from models.vectors import FloatArray

_RESAMPLES = 1_000


def ranks(scores: FloatArray, right: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the rank, from 1, of the right candidate [queries] by scores [queries, candidates]: [queries]."""
    own = scores[np.arange(len(scores)), right][:, None]
    return np.asarray((scores > own).sum(axis=1) + 1, dtype=np.int64)


def best_rank(scores: FloatArray, owner: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the rank of each clip's best own caption by scores [clips, captions]: [clips].

    `owner` [captions] is the clip of each caption.
    """
    order = np.argsort(-scores, axis=1, kind="stable")
    return np.asarray(
        [int(np.flatnonzero(owner[row] == clip)[0]) + 1 for clip, row in enumerate(order)], dtype=np.int64
    )


def retrieved_similarity(
    scores: FloatArray, corpus: FloatArray, references: FloatArray, owner: NDArray[np.int64], top: int
) -> NDArray[np.float64]:
    """Return the mean similarity of each clip's `top` retrieved captions to its references: [clips].

    Args:
        scores: [clips, captions of the corpus].
        corpus: uncentred unit sentence vectors [captions of the corpus, d].
        references: uncentred unit sentence vectors [references, d].
        owner: the clip of each reference [references].
    """
    order = np.argsort(-scores, axis=1, kind="stable")[:, :top]
    return np.array([float((corpus[row] @ references[owner == clip].T).mean()) for clip, row in enumerate(order)])


def bootstrap(
    per_item: NDArray[np.float64],
    clip: NDArray[np.int64],
    statistic: Callable[[NDArray[np.float64]], float],
    seed: int,
) -> Figure:
    """Return `statistic` of items [n] with its 95% interval from resampling clips.

    Whole clips are drawn with replacement, with all their items; `clip` [n] is the clip of each item.
    """
    rng = np.random.default_rng(seed)
    of_clip = [np.flatnonzero(clip == index) for index in range(int(clip.max()) + 1)]
    draws = [
        statistic(per_item[np.concatenate([of_clip[i] for i in rng.integers(len(of_clip), size=len(of_clip))])])
        for _ in range(_RESAMPLES)
    ]
    low, high = np.percentile(draws, [2.5, 97.5])
    return Figure(float(statistic(per_item)), float(low), float(high))


def bootstrap_mean(per_clip: NDArray[np.float64]) -> Figure:
    """Return the mean of a value a clip [clips] with its interval."""
    return bootstrap(per_clip, np.arange(len(per_clip)), lambda values: float(values.mean()), seed=0)
