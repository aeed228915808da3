"""Makes supports of any size from vectors of real captions, and queries like those of audio."""

from collections.abc import Iterator

import numpy as np

from models.vectors import FloatArray

# Length of the noise on a unit vector: for a caption like another one, and for a sound of a caption.
RELATED = 0.5
HEARD = 1.0
_CHUNK = 16_384


def extend(vectors: FloatArray, count: int, dimension: int, seed: int = 0) -> FloatArray:
    """Return unit vectors [count, dimension]: the given ones [n, d], then noisy copies of them.

    Dimensions beyond d get noise as large as each other dimension; then all are rotated together.
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
    """Return queries [n, dimension] as a CLAP hears them.

    They are vectors [n, d] of captions outside the support with noise of the same length: a cosine of about 0.7.
    """
    rng = _draws(seed, "heard")
    lifted = unit(_lifted(vectors, _lift(vectors.shape[1], dimension, seed), rng))
    return unit(lifted + _noise(rng, len(vectors), dimension, HEARD))


def random_queries(count: int, dimension: int, seed: int = 0) -> FloatArray:
    """Return random directions [count, dimension], unrelated to the support: the hardest for its tail."""
    return unit(_draws(seed, "random").normal(size=(count, dimension)).astype(np.float32))


def unit(rows: FloatArray) -> FloatArray:
    """Return each row divided by its length."""
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def chunks(rows: FloatArray) -> Iterator[FloatArray]:
    """Yield the rows, a limited number at a time."""
    for start in range(0, len(rows), _CHUNK):
        yield rows[start : start + _CHUNK]


def _draws(seed: int, purpose: str) -> np.random.Generator:
    """Return a generator for one purpose: with a shared one, queries would repeat the noise of the support."""
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
