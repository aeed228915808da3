"""Supports of any size from the vectors of real captions, and queries like those of audio."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
# Length of the noise beside a unit vector: a caption's near relation, and a sound beside its caption.
RELATED = 0.5
HEARD = 1.0
_CHUNK = 16_384


def extend(vectors: FloatArray, count: int, dimension: int, seed: int = 0) -> FloatArray:
    """Unit vectors [count, dimension]: the given ones [n, d] first, then perturbed copies of them.

    More dimensions than d are filled with noise as large as each of the others, then all are turned together.
    """
    rng = _draws(seed, "support")
    turn = _lift(vectors.shape[1], dimension, seed)
    out = np.empty((count, dimension), np.float32)
    for start in range(0, count, _CHUNK):
        rows = np.arange(start, min(start + _CHUNK, count))
        chunk = vectors[rows % len(vectors)]
        copied = rows >= len(vectors)
        chunk[copied] += _noise(rng, int(copied.sum()), vectors.shape[1], RELATED)
        out[rows] = unit(_lifted(chunk, turn, rng))
    return out


def heard(vectors: FloatArray, dimension: int, seed: int = 0) -> FloatArray:
    """Queries [n, dimension] as a CLAP hears them: vectors [n, d] of captions not in the support, beside noise of
    the same length (cosine about 0.7)."""
    rng = _draws(seed, "heard")
    lifted = unit(_lifted(vectors, _lift(vectors.shape[1], dimension, seed), rng))
    return unit(lifted + _noise(rng, len(vectors), dimension, HEARD))


def random_queries(count: int, dimension: int, seed: int = 0) -> FloatArray:
    """Directions that have nothing to do with the support [count, dimension]: the hardest for its tail."""
    return unit(_draws(seed, "random").normal(size=(count, dimension)).astype(np.float32))


def unit(rows: FloatArray) -> FloatArray:
    """Each row over its length."""
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def chunks(rows: FloatArray) -> Iterator[FloatArray]:
    """The rows, a bounded number at a time."""
    for start in range(0, len(rows), _CHUNK):
        yield rows[start : start + _CHUNK]


def _draws(seed: int, purpose: str) -> np.random.Generator:
    """Numbers of their own for each purpose: the same stream twice would make queries out of the support's noise."""
    return np.random.default_rng([seed, *purpose.encode()])


def _lift(size: int, dimension: int, seed: int) -> FloatArray | None:
    if dimension < size:
        raise ValueError(f"vectors of {size} dimensions cannot have {dimension}")
    if dimension == size:
        return None
    turn, _ = np.linalg.qr(_draws(seed, "lift").normal(size=(dimension, dimension)))
    return np.asarray(turn, dtype=np.float32)


def _lifted(rows: FloatArray, turn: FloatArray | None, rng: np.random.Generator) -> FloatArray:
    if turn is None:
        return rows
    more = rng.normal(size=(len(rows), len(turn) - rows.shape[1])).astype(np.float32) / np.sqrt(rows.shape[1])
    return np.asarray(np.hstack([rows, more.astype(np.float32)]) @ turn, dtype=np.float32)


def _noise(rng: np.random.Generator, count: int, dimension: int, length: float) -> FloatArray:
    rows = rng.normal(size=(count, dimension)) * (length / np.sqrt(dimension))
    return np.asarray(rows, dtype=np.float32)
