"""Windows heard as a whole: what CLAPs share that have one vector for a window, and nothing finer."""

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np

from models.clap.base import FloatArray
from models.vectors import mean_direction


class WholeWindows:
    """What of `models.clap.base.Clap` follows from `embed_audio`: a frame is a window, its features are its vector.

    Such a CLAP knows no kinds of sound by itself; `models.clap.naming` has what gives it some.
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
    """The mean direction of each n unit vectors [n, d]: [stretches, d]."""
    vectors = np.empty((len(stretches), dimension), dtype=np.float32)
    for row, stretch in enumerate(stretches):
        vectors[row] = mean_direction(stretch)
    return vectors
