"""Measures the centring of a CLAP: the means of what it hears and of what it reads, taken piece by piece."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from models.clap.base import Clap, FloatArray
from models.clap.centring import Centring

_AT_ONCE = 64


class TooFew(ValueError):
    """A mean of so few is that of nothing in general."""


@dataclass(frozen=True)
class Measured:
    """A centring, and how many recordings and captions it is the mean of.

    Attributes:
        gap: distance between the two means; vectors have length 1.
    """

    centring: Centring
    recordings: int
    captions: int

    @property
    def gap(self) -> float:
        return float(np.linalg.norm(self.centring.audio - self.centring.text))


def measure(
    clap: Clap, recordings: Iterable[Sequence[FloatArray]], captions: Iterable[str], *, fewest: int = 2
) -> Measured:
    """Hear and read everything once.

    Args:
        clap: without a centring of its own in the way.
        recordings: each as its windows; a long one weighs as much as a short one.
        captions: each weighs the same.
        fewest: of either.

    Raises:
        TooFew: there are fewer recordings or captions.
    """
    heard, read = _Mean(clap.embedding_dim), _Mean(clap.embedding_dim)
    for windows in recordings:
        heard.add(clap.embed_audio(windows).mean(axis=0, dtype=np.float64)[None])
    texts = iter(captions)
    while piece := list(islice(texts, _AT_ONCE)):
        read.add(clap.embed_text(piece))
    for what, side in (("recordings", heard), ("captions", read)):
        if side.count < fewest:
            raise TooFew(f"{side.count} {what} have no mean to speak of; at least {fewest} are needed")
    return Measured(Centring(heard.mean, read.mean), heard.count, read.count)


class _Mean:
    """Of vectors that come in pieces."""

    def __init__(self, dimension: int) -> None:
        self.count = 0
        self._sum = np.zeros(dimension)

    def add(self, vectors: NDArray[np.float32] | NDArray[np.float64]) -> None:
        self._sum += vectors.sum(axis=0, dtype=np.float64)
        self.count += len(vectors)

    @property
    def mean(self) -> FloatArray:
        return (self._sum / self.count).astype(np.float32)
