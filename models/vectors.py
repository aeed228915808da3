"""Arrays of embeddings, and the mean of several unit vectors."""

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
Float64Array = NDArray[np.float64]


def mean_direction(vectors: FloatArray) -> FloatArray:
    """Return the renormalised mean [d] of unit vectors [n, d], n at least 1. A clip's vector is that of its windows."""
    mean = vectors.mean(axis=0, dtype=np.float64)
    norm = float(np.linalg.norm(mean))
    # Opposite vectors have no direction in between; then the first vector is as good as any.
    return vectors[0] if norm < 1e-6 else np.asarray(mean / norm, dtype=np.float32)
