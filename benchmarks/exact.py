"""The exact projections and nearest captions of many queries: the reference for all other methods."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.vectors import chunks, unit
from models.vectors import FloatArray


@dataclass(frozen=True)
class Exact:
    """The exact results for q queries.

    Attributes:
        rows, scores: of the `limit` nearest captions, best first [q, limit].
        projected: unit projections [q, d] by temperature.
    """

    rows: NDArray[np.int64]
    scores: FloatArray
    projected: dict[float, FloatArray]


def exact_all(queries: FloatArray, support: FloatArray, temperatures: Sequence[float], limit: int) -> Exact:
    """Compute the results for all queries [q, d] in one pass over the support [N, d]."""
    count = min(limit, len(support))
    scores = np.empty((len(queries), 0), np.float32)
    rows = np.empty((len(queries), 0), np.int64)
    sums = {tau: np.zeros(queries.shape) for tau in temperatures}
    start = 0
    for chunk in chunks(support):
        found = queries @ chunk.T
        for tau in temperatures:
            # Scores are at most 1, so nothing overflows; only values below e^-60 of the largest underflow.
            sums[tau] += np.exp((found - 1.0) / np.float32(tau)) @ chunk
        here = np.broadcast_to(np.arange(start, start + len(chunk)), found.shape)
        scores, rows = np.hstack([scores, found]), np.hstack([rows, here])
        if scores.shape[1] > count:
            best = np.argpartition(-scores, count - 1, axis=1)[:, :count]
            scores, rows = np.take_along_axis(scores, best, 1), np.take_along_axis(rows, best, 1)
        start += len(chunk)
    order = np.argsort(-scores, axis=1, kind="stable")
    projected = {tau: unit(total.astype(np.float64)) for tau, total in sums.items()}
    return Exact(np.take_along_axis(rows, order, 1), np.take_along_axis(scores, order, 1), projected)


def exact_numpy(query: FloatArray, support: FloatArray, tau: float) -> FloatArray:
    """Return softmax(a S^T / tau) S for one query, as one writes it in numpy."""
    scores = support @ query
    weights = np.exp((scores - scores.max()) / np.float32(tau))
    projected = (weights @ support) / weights.sum()
    return np.asarray(projected / np.linalg.norm(projected), dtype=np.float32)


def exact_torch(query: torch.Tensor, support: torch.Tensor, tau: float) -> torch.Tensor:
    """Return the same as `exact_numpy`, in torch."""
    return torch.nn.functional.normalize(torch.softmax(support @ query / tau, dim=0) @ support, dim=0)
