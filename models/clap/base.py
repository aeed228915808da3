"""The contract of a CLAP, which embeds sounds and captions into one space."""

from collections.abc import Sequence
from typing import Protocol

from models.vectors import FloatArray


class Clap(Protocol):
    """Embeds audio windows and captions into one space of unit vectors.

    A CLAP centres its vectors itself if they need it: all vectors can be compared by dot product. A vector does not
    depend on the other inputs of the same call (to 1e-5). Several threads may call a CLAP at the same time.
    """

    @property
    def sample_rate(self) -> int:
        """Rate in Hz that `embed_audio` expects."""

    @property
    def window_seconds(self) -> float:
        """Longest window in seconds. Longer audio is cut into windows."""

    @property
    def frame_seconds(self) -> float:
        """Longest time in seconds that a frame of `hear` stands for; `window_seconds` if a window is one frame."""

    @property
    def embedding_dim(self) -> int:
        """Length d of every embedding."""

    @property
    def temperature(self) -> float:
        """The temperature that the CLAP was trained with; the default tau of the projection."""

    @property
    def fingerprint(self) -> str:
        """Name of backend and weights, e.g. ``embedded-3f9a61c2``. Vectors of equal fingerprints are comparable."""

    @property
    def sound_names(self) -> Sequence[str]:
        """Kinds of sound that `score_sounds` scores, in everyday words. May be empty; a name may occur twice."""

    def embed_audio(self, windows: Sequence[FloatArray]) -> FloatArray:
        """Embed mono windows: `embed_frames` of each window's own frames.

        Args:
            windows: n arrays of float32 samples [samples] in [-1, 1] at `sample_rate`, each of 1 sample up to
                `window_seconds`; lengths may differ.

        Returns:
            float32 [n, d], unit norm.
        """

    def hear(self, windows: Sequence[FloatArray]) -> list[FloatArray]:
        """Turn mono windows into frames, from which `embed_frames` and `score_sounds` work.

        Args:
            windows: as for `embed_audio`.

        Returns:
            The frames of each window: float32 [frames, features], at least one. They are spaced evenly: the i-th of n
            frames stands for the i-th n-th of the window's time. Only the CLAP knows what the features mean.
        """

    def embed_frames(self, stretches: Sequence[FloatArray]) -> FloatArray:
        """Embed stretches of frames. Cheap compared with `hear`.

        Args:
            stretches: n arrays [frames, features] of at least one frame: frames of a recording in order, from one or
                several windows.

        Returns:
            float32 [n, d], unit norm.
        """

    def score_sounds(self, frames: FloatArray) -> FloatArray:
        """Score each kind of sound: frames [n, features] -> float32 [n, names] in 0 to 1. Cheap too."""

    def reads_whole(self, texts: Sequence[str]) -> list[bool]:
        """Return whether `embed_text` reads each text to its end; every CLAP cuts long texts."""

    def embed_text(self, texts: Sequence[str]) -> FloatArray:
        """Embed captions: n strings -> float32 [n, d], unit norm."""
