"""Measured values with their 95% intervals, from resampling clips."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

# Draws are made in pieces, so that 10,000 draws of 20,000 clips never exist at once.
_DRAWN_AT_ONCE = 4_000_000


@dataclass(frozen=True)
class Figure:
    """A measured value with its 95% interval from resampling clips."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def resampled_means(values: Values, seed: int = 0, draws: int = 10_000) -> Values:
    """Return means over clips drawn with replacement: values [clips, k] -> [draws, k]."""
    clips = len(values)
    rng = np.random.default_rng(seed)
    means = np.empty((draws, values.shape[1]))
    step = max(1, _DRAWN_AT_ONCE // clips)
    for start in range(0, draws, step):
        rows = min(step, draws - start)
        drawn = rng.integers(0, clips, (rows, clips)) + np.arange(rows)[:, None] * clips
        times = np.bincount(drawn.ravel(), minlength=rows * clips).reshape(rows, clips)
        means[start : start + rows] = times @ values / clips
    return means


def interval(value: float, drawn: Values) -> Figure:
    """Return a value with the 2.5% and 97.5% quantiles of its resamples [draws]."""
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Figure(float(value), float(low), float(high))


def bootstrap(values: Values, seed: int = 0, draws: int = 10_000) -> Figure:
    """Return the mean of one value a clip [clips] with its percentile interval (Efron 1979) over clips.

    The same seed and number of clips draw the same clips.
    """
    return interval(float(values.mean()), resampled_means(values[:, None], seed, draws)[:, 0])
