"""Projection of an audio embedding on a domain's support of text embeddings.

DRCap (arXiv 2410.09472): p = softmax(a S^T / tau) S. Over all N captions that is the definition; from the M nearest
captions it is exact for them, and the rest is summed in closed form from the support's mean and covariance and from
where the head ends.
"""

from dataclasses import dataclass
from math import erfc, log
from statistics import NormalDist
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
Float64Array = NDArray[np.float64]

_SQRT_2 = np.sqrt(2.0)
_LOG_2_PI = np.log(2.0 * np.pi)


class Moments(Protocol):
    """Size, mean [d] and covariance [d, d] of a support."""

    @property
    def count(self) -> int: ...
    @property
    def mean(self) -> Float64Array: ...
    @property
    def covariance(self) -> Float64Array: ...


@dataclass(frozen=True)
class Projection:
    """Softmax-weighted mean of the support.

    Attributes:
        temperature: tau; smaller means closer to the nearest caption.
        renormalise: return a unit vector, which is what the decoder saw in training.
    """

    temperature: float
    renormalise: bool = True

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"the projection's temperature is above 0, got {self.temperature}")

    def project(self, query: FloatArray, vectors: FloatArray, scores: FloatArray, moments: Moments) -> FloatArray:
        """Project one audio embedding.

        Args:
            query: unit audio embedding a [d].
            vectors: embeddings of the M nearest captions [m, d].
            scores: their cosine similarity to the query [m].
            moments: of the whole support; exact when its count is M.

        Returns:
            float32 [d], unit norm if `renormalise`.
        """
        if len(vectors) == 0:
            raise ValueError("the projection needs at least one caption of the support")
        values = scores.astype(np.float64)
        # Everything is scaled by exp(-top/tau): the largest weight is 1 and nothing overflows.
        top = float(values.max())
        weights = np.exp((values - top) / self.temperature)
        total = float(weights.sum())
        summed = weights @ vectors.astype(np.float64)
        if moments.count > len(vectors):
            mass, mean = self._tail(query.astype(np.float64), vectors, values, moments)
            total += mass
            summed = summed + mass * mean
        projected = summed / total
        if self.renormalise:
            projected = projected / max(float(np.linalg.norm(projected)), 1e-12)
        return np.asarray(projected, dtype=np.float32)

    def _tail(
        self, query: Float64Array, vectors: FloatArray, scores: Float64Array, moments: Moments
    ) -> tuple[float, Float64Array]:
        """Mass, scaled by exp(-top/tau), and weighted mean [d] of the captions below the head.

        Their scores are taken as a Gaussian of mean m = a.mu, truncated above at the head's last score b, and of the
        deviation s with which M of N captions score above b. Exponential tilting by 1/tau moves its mean to m + s2/tau
        and keeps its variance, so with z = (b - m - s2/tau) / s:

            mass = N exp(m/tau + s2/(2 tau^2)) Phi(z)
            E[x] = m + s2/tau - s phi(z)/Phi(z)
            mean = mu + C a (E[x] - m) / a.C.a + r ((E[x] - m) / (h - m))^2

        Captions are no Gaussian cloud: towards the query they leave the line of the regression for the topic it is
        about. How far is known at the head's lower half, of mean score h: r is its mean less the line there.
        """
        tau, count, head = self.temperature, moments.count, len(scores)
        top, bound = float(scores.max()), float(scores.min())
        centre = float(query @ moments.mean)
        slope = moments.covariance @ query
        own_variance = float(query @ slope)
        # No caption of the tail scores above the head's last one, whatever the Gaussian says.
        limit = float(np.log(count - head) + (bound - top) / tau)
        if own_variance <= 1e-12:
            # All captions score alike: the tail weighs what it counts.
            return float(np.exp(min(limit, np.log(count - head) + (centre - top) / tau))), moments.mean
        slope = slope / own_variance
        deviation = _deviation_above(bound - centre, head / count) or float(np.sqrt(own_variance))
        variance = deviation * deviation
        z = (bound - centre - variance / tau) / deviation
        log_phi_cdf = _log_normal_cdf(z)
        log_mass = np.log(count) + (centre - top) / tau + variance / (2.0 * tau * tau) + log_phi_cdf
        hazard = float(np.exp(-0.5 * z * z - 0.5 * _LOG_2_PI - log_phi_cdf))
        step = variance / tau - deviation * hazard
        mean = moments.mean + slope * step
        lower = np.argsort(scores)[: (head + 1) // 2]
        reach = float(scores[lower].mean()) - centre
        if reach > 0.0:
            bend = vectors[lower].mean(axis=0, dtype=np.float64) - (moments.mean + slope * reach)
            mean = mean + bend * min(max(step / reach, 0.0), 1.0) ** 2
        return float(np.exp(min(log_mass, limit))), mean


def _deviation_above(distance: float, share: float) -> float | None:
    """The deviation of the Gaussian of which `share` lies further than `distance` above its mean; None if none has."""
    if distance <= 0.0 or share >= 0.5:
        return None
    return distance / NormalDist().inv_cdf(1.0 - share)


def _log_normal_cdf(z: float) -> float:
    """log Phi(z), accurate far into the lower tail."""
    if z > -8.0:
        return log(0.5 * erfc(-z / float(_SQRT_2)))
    # Asymptotic series of Mills' ratio (Abramowitz and Stegun 26.2.12).
    square = z * z
    series = 1.0 - 1.0 / square + 3.0 / square**2 - 15.0 / square**3
    return float(-0.5 * square - 0.5 * _LOG_2_PI - np.log(-z) + np.log(series))
