"""How well a CLAP retrieves: plain arrays in, figures out."""

import numpy as np
from numpy.typing import NDArray

from models.vectors import FloatArray


def ranks(scores: FloatArray, right: NDArray[np.int64]) -> NDArray[np.int64]:
    """Scores [queries, candidates] and the right candidate of each query [queries] -> its rank from 1 [queries]."""
    own = scores[np.arange(len(scores)), right][:, None]
    return np.asarray((scores > own).sum(axis=1) + 1, dtype=np.int64)


def best_rank(scores: FloatArray, owner: NDArray[np.int64]) -> NDArray[np.int64]:
    """Scores [clips, captions] and the clip of each caption -> rank of the best own caption of each clip [clips]."""
    order = np.argsort(-scores, axis=1, kind="stable")
    return np.asarray(
        [int(np.flatnonzero(owner[row] == clip)[0]) + 1 for clip, row in enumerate(order)], dtype=np.int64
    )


def retrieved_similarity(
    scores: FloatArray, corpus: FloatArray, references: FloatArray, owner: NDArray[np.int64], top: int
) -> NDArray[np.float64]:
    """Mean sentence similarity of the `top` retrieved captions of each clip to its references [clips].

    Args:
        scores: [clips, captions of the corpus].
        corpus: uncentred unit sentence vectors [captions of the corpus, d].
        references: uncentred unit sentence vectors [references, d].
        owner: the clip of each reference [references].
    """
    order = np.argsort(-scores, axis=1, kind="stable")[:, :top]
    return np.array([float((corpus[row] @ references[owner == clip].T).mean()) for clip, row in enumerate(order)])
