"""Projects an audio embedding on the support, the caption embeddings of a domain.

DRCap (arXiv 2410.09472): p = softmax(a S^T / tau) S over all N captions. Here the head, the M nearest captions, is
summed exactly. The tail, all other captions, is summed in closed form from the support's mean and covariance and from
the score where the head ends.
"""

from dataclasses import dataclass
from math import erfc, log
from statistics import NormalDist
from typing import Protocol

import numpy as np

from models.vectors import Float64Array, FloatArray

_SQRT_2 = np.sqrt(2.0)
_LOG_2_PI = np.log(2.0 * np.pi)


class TextStatistics(Protocol):
    """Size, mean [d] and covariance [d, d] of a domain's caption embeddings.

    `datastores.base.Statistics` has this form. It is described here, because models do not import datastores.
    """

    @property
    def count(self) -> int: ...
    @property
    def mean(self) -> Float64Array: ...
    @property
    def covariance(self) -> Float64Array: ...


@dataclass(frozen=True)
class Projection:
    """The softmax-weighted mean of the support.

    Attributes:
        temperature: tau; a smaller tau gives a vector closer to the nearest caption.
        renormalise: return a unit vector, as the decoder saw it in training.
    """

    temperature: float
    renormalise: bool = True

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"the projection's temperature is above 0, got {self.temperature}")

    def project(
        self, query: FloatArray, vectors: FloatArray, scores: FloatArray, statistics: TextStatistics
    ) -> FloatArray:
        """Project one audio embedding.

        Args:
            query: unit audio embedding a [d].
            vectors: embeddings of the M nearest captions [m, d].
            scores: their cosine similarity to the query [m].
            statistics: size, mean and covariance of the whole support. If its size is M, there is no tail.

        Returns:
            float32 [d], unit norm if `renormalise`.
        """
        if len(vectors) == 0:
            raise ValueError("the projection needs at least one caption of the support")
        values = scores.astype(np.float64)
        # All weights are scaled by exp(-top/tau): the largest is 1 and nothing overflows.
        top = float(values.max())
        weights = np.exp((values - top) / self.temperature)
        total = float(weights.sum())
        summed = weights @ vectors.astype(np.float64)
        if statistics.count > len(vectors):
            mass, mean = self._tail(query.astype(np.float64), vectors, values, statistics)
            total += mass
            summed = summed + mass * mean
        projected = summed / total
        if self.renormalise:
            projected = projected / max(float(np.linalg.norm(projected)), 1e-12)
        return np.asarray(projected, dtype=np.float32)

    def _tail(
        self, query: Float64Array, vectors: FloatArray, scores: Float64Array, statistics: TextStatistics
    ) -> tuple[float, Float64Array]:
        """Return the mass, scaled by exp(-top/tau), and the weighted mean [d] of the captions below the head.

        Their scores are taken as a Gaussian with mean m = a.mu, truncated above at the head's last score b. Its
        deviation s is the one with which M of N captions score above b. Exponential tilting by 1/tau moves its mean to
        m + s2/tau and keeps its variance, so with z = (b - m - s2/tau) / s:

            mass = N exp(m/tau + s2/(2 tau^2)) Phi(z)
            E[x] = m + s2/tau - s phi(z)/Phi(z)
            mean = mu + C a (E[x] - m) / a.C.a + r ((E[x] - m) / (h - m))^2

        Captions are not a Gaussian cloud: near the query they leave the regression line towards the query's topic. The
        head's lower half, with mean score h, shows how far: r is its mean minus the line at h.
        """
        tau, count, head = self.temperature, statistics.count, len(scores)
        top, bound = float(scores.max()), float(scores.min())
        centre = float(query @ statistics.mean)
        slope = statistics.covariance @ query
        own_variance = float(query @ slope)
        # No caption of the tail scores above the head's last one; the Gaussian does not know that.
        limit = float(np.log(count - head) + (bound - top) / tau)
        if own_variance <= 1e-12:
            # All captions score alike, so the tail's weight is its count.
            return float(np.exp(min(limit, np.log(count - head) + (centre - top) / tau))), statistics.mean
        slope = slope / own_variance
        deviation = _deviation_above(bound - centre, head / count) or float(np.sqrt(own_variance))
        variance = deviation * deviation
        z = (bound - centre - variance / tau) / deviation
        log_phi_cdf = _log_normal_cdf(z)
        log_mass = np.log(count) + (centre - top) / tau + variance / (2.0 * tau * tau) + log_phi_cdf
        hazard = float(np.exp(-0.5 * z * z - 0.5 * _LOG_2_PI - log_phi_cdf))
        step = variance / tau - deviation * hazard
        mean = statistics.mean + slope * step
        lower = np.argsort(scores)[: (head + 1) // 2]
        reach = float(scores[lower].mean()) - centre
        if reach > 0.0:
            bend = vectors[lower].mean(axis=0, dtype=np.float64) - (statistics.mean + slope * reach)
            mean = mean + bend * min(max(step / reach, 0.0), 1.0) ** 2
        return float(np.exp(min(log_mass, limit))), mean


def _deviation_above(distance: float, share: float) -> float | None:
    """Return the deviation of a Gaussian with `share` of its mass more than `distance` above its mean; None if none."""
    if distance <= 0.0 or share >= 0.5:
        return None
    return distance / NormalDist().inv_cdf(1.0 - share)


def _log_normal_cdf(z: float) -> float:
    """Return log Phi(z), accurate far into the lower tail."""
    if z > -8.0:
        return log(0.5 * erfc(-z / float(_SQRT_2)))
    # Asymptotic series of Mills' ratio (Abramowitz and Stegun 26.2.12).
    square = z * z
    series = 1.0 - 1.0 / square + 3.0 / square**2 - 15.0 / square**3
    return float(-0.5 * square - 0.5 * _LOG_2_PI - np.log(-z) + np.log(series))
