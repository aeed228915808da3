"""Reranking: which of the captions a beam search ended with is the answer."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from models.decoder import Generated

FloatArray = NDArray[np.float32]


def candidates(written: Sequence[Generated]) -> list[str]:
    """The texts a choice is made from, in order; nothing of what left no choice."""
    return [text for one in written if one.alternatives for text in (one.text, *one.alternatives)]


def rerank(queries: FloatArray, written: Sequence[Generated], vectors: FloatArray) -> list[Generated]:
    """Choose the caption most similar to what was heard, as CLAP-Refine does.

    Args:
        queries: unit audio embedding of each prompt [n, d].
        written: what the decoder made of each prompt.
        vectors: unit text embeddings of `candidates(written)`, in order.
    """
    left = iter(vectors)
    chosen = []
    for query, one in zip(queries, written, strict=True):
        texts = (one.text, *one.alternatives)
        best = int(np.argmax([float(next(left) @ query) for _ in texts])) if one.alternatives else 0
        chosen.append(replace(one, text=texts[best]))
    return chosen
