"""Measured values with their intervals over clips."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
