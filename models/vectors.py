"""Unit vectors, and several of them as one."""

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]


def mean_direction(vectors: FloatArray) -> FloatArray:
    """The renormalised mean of unit vectors [n, d], n at least 1: [d]. A clip's vector is that of its windows."""
    mean = vectors.mean(axis=0, dtype=np.float64)
    norm = float(np.linalg.norm(mean))
    # Windows that point opposite ways leave no direction in between; the first one is then as good as any.
    return vectors[0] if norm < 1e-6 else np.asarray(mean / norm, dtype=np.float32)
