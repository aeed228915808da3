"""Measures the centring of a CLAP: the mean embedding of recordings and the mean embedding of captions."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from models.clap.base import Clap
from models.clap.centring import Centring
from models.vectors import Float64Array, FloatArray

_AT_ONCE, _FEWEST = 64, 2


class TooFew(ValueError):
    """There are too few recordings or captions for a mean."""


@dataclass(frozen=True)
class Measured:
    """A centring, and the numbers of recordings and captions that it was measured on."""

    centring: Centring
    recordings: int
    captions: int

    @property
    def gap(self) -> float:
        """Distance between the two means; embeddings have length 1."""
        return float(np.linalg.norm(self.centring.audio - self.centring.text))


def measure(clap: Clap, recordings: Iterable[Sequence[FloatArray]], captions: Iterable[str]) -> Measured:
    """Embed every recording and caption once and return the two means.

    Args:
        clap: a CLAP without centring.
        recordings: the windows of each; a long recording weighs as much as a short one.
        captions: all weigh the same.

    Raises:
        TooFew: there are fewer than two of either.
    """
    heard, read = _Mean(clap.embedding_dim), _Mean(clap.embedding_dim)
    for windows in recordings:
        heard.add(clap.embed_audio(windows).mean(axis=0, dtype=np.float64)[None])
    texts = iter(captions)
    while piece := list(islice(texts, _AT_ONCE)):
        read.add(clap.embed_text(piece))
    for what, side in (("recordings", heard), ("captions", read)):
        if side.count < _FEWEST:
            raise TooFew(f"{side.count} {what} are too few for a mean; at least {_FEWEST} are needed")
    return Measured(Centring(heard.mean, read.mean), heard.count, read.count)


class _Mean:
    """The mean of vectors that come in pieces."""

    def __init__(self, dimension: int) -> None:
        self.count = 0
        self._sum = np.zeros(dimension)

    def add(self, vectors: FloatArray | Float64Array) -> None:
        self._sum += vectors.sum(axis=0, dtype=np.float64)
        self.count += len(vectors)

    @property
    def mean(self) -> FloatArray:
        return (self._sum / self.count).astype(np.float32)
