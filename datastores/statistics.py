"""Mean and covariance of vectors that arrive in chunks."""

import numpy as np
from numpy.typing import NDArray

from datastores.base import FloatArray, Statistics


class RunningStatistics:
    """Accumulates mean and covariance in float64. The memory is d^2 numbers for any number of vectors.

    Chunks are merged by the pairwise update of Chan, Golub and LeVeque (1983), which, unlike a sum of
    squares, loses nothing when the mean is large against the spread:

        delta = mean_b - mean;  M += M_b + delta delta^T * n n_b / (n + n_b);  mean += delta * n_b / (n + n_b)
    """

    def __init__(self, dimension: int) -> None:
        self._count = 0
        self._mean: NDArray[np.float64] = np.zeros(dimension)
        self._scatter: NDArray[np.float64] = np.zeros((dimension, dimension))

    @classmethod
    def of(cls, statistics: Statistics) -> "RunningStatistics":
        """Continue from stored statistics."""
        running = cls(len(statistics.mean))
        running._count = statistics.count
        running._mean = np.array(statistics.mean, np.float64)
        running._scatter = np.array(statistics.covariance, np.float64) * statistics.count
        return running

    def add(self, vectors: FloatArray) -> None:
        """Add vectors [n, d]."""
        if not len(vectors):
            return
        chunk = vectors.astype(np.float64)
        mean = chunk.mean(axis=0)
        chunk -= mean
        delta = mean - self._mean
        total = self._count + len(chunk)
        self._scatter += chunk.T @ chunk + np.outer(delta, delta) * (self._count * len(chunk) / total)
        self._mean += delta * (len(chunk) / total)
        self._count = total

    def statistics(self) -> Statistics:
        """The statistics so far; the covariance is divided by N. Raises `ValueError` when nothing was added."""
        if not self._count:
            raise ValueError("statistics of no vectors")
        return Statistics(self._count, self._mean.copy(), self._scatter / self._count)
