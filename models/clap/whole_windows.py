"""The base of CLAPs that have one vector a window and nothing finer."""

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np

from models.vectors import FloatArray, mean_direction


class WholeWindows:
    """Implements the part of `models.clap.base.Clap` that follows from `embed_audio`: one frame a window, its vector.

    Such a CLAP scores no kinds of sound by itself; `models.clap.zero_shot` adds scores.
    """

    window_seconds: float
    embedding_dim: int
    sound_names: Sequence[str] = ()

    @property
    def frame_seconds(self) -> float:
        """See `models.clap.base.Clap.frame_seconds`."""
        return self.window_seconds

    @abstractmethod
    def embed_audio(self, windows: Sequence[FloatArray]) -> FloatArray:
        """See `models.clap.base.Clap.embed_audio`."""

    def hear(self, windows: Sequence[FloatArray]) -> list[FloatArray]:
        """See `models.clap.base.Clap.hear`."""
        return [vector[None] for vector in self.embed_audio(windows)]

    def embed_frames(self, stretches: Sequence[FloatArray]) -> FloatArray:
        """See `models.clap.base.Clap.embed_frames`: the renormalised mean of each stretch."""
        return mean_directions(stretches, self.embedding_dim)

    def score_sounds(self, frames: FloatArray) -> FloatArray:
        """See `models.clap.base.Clap.score_sounds`."""
        return np.zeros((len(frames), len(self.sound_names)), dtype=np.float32)


def mean_directions(stretches: Sequence[FloatArray], dimension: int) -> FloatArray:
    """Return the mean direction of each stretch of unit vectors [n, d]: [stretches, d]."""
    vectors = np.empty((len(stretches), dimension), dtype=np.float32)
    for row, stretch in enumerate(stretches):
        vectors[row] = mean_direction(stretch)
    return vectors
