"""Measures of a CLAP on clips with labels or captions; plain arrays in, figures out."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.clap.base import FloatArray

_RESAMPLES = 1_000


@dataclass(frozen=True)
class Figure:
    """A measured value with its 95% interval from resampling clips."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def bootstrap(
    per_item: NDArray[np.float64],
    clip: NDArray[np.int64],
    statistic: Callable[[NDArray[np.float64]], float],
    seed: int,
) -> Figure:
    """`statistic` over items [n], resampling whole clips (`clip` [n] says whose an item is) with replacement."""
    rng = np.random.default_rng(seed)
    of_clip = [np.flatnonzero(clip == index) for index in range(int(clip.max()) + 1)]
    draws = [
        statistic(per_item[np.concatenate([of_clip[i] for i in rng.integers(len(of_clip), size=len(of_clip))])])
        for _ in range(_RESAMPLES)
    ]
    low, high = np.percentile(draws, [2.5, 97.5])
    return Figure(float(statistic(per_item)), float(low), float(high))


def ranks(scores: FloatArray, right: NDArray[np.int64]) -> NDArray[np.int64]:
    """Scores [queries, candidates] and the right candidate of each query [queries] -> its rank from 1 [queries]."""
    own = scores[np.arange(len(scores)), right][:, None]
    return np.asarray((scores > own).sum(axis=1) + 1, dtype=np.int64)


def best_rank(scores: FloatArray, owner: NDArray[np.int64]) -> NDArray[np.int64]:
    """Scores [clips, captions] and the clip of each caption -> rank of the best own caption of each clip [clips]."""
    order = np.argsort(-scores, axis=1, kind="stable")
    return np.asarray(
        [int(np.flatnonzero(owner[row] == clip)[0]) + 1 for clip, row in enumerate(order)], dtype=np.int64
    )


def retrieved_similarity(
    scores: FloatArray, corpus: FloatArray, references: FloatArray, owner: NDArray[np.int64], top: int
) -> NDArray[np.float64]:
    """Mean sentence similarity of the `top` retrieved captions of each clip to its references [clips].

    Args:
        scores: [clips, captions of the corpus].
        corpus: uncentred unit sentence vectors [captions of the corpus, d].
        references: uncentred unit sentence vectors [references, d].
        owner: the clip of each reference [references].
    """
    order = np.argsort(-scores, axis=1, kind="stable")[:, :top]
    return np.array([float((corpus[row] @ references[owner == clip].T).mean()) for clip, row in enumerate(order)])
