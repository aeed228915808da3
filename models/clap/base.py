"""The contract of a CLAP: one space for what is heard and what is said."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]


class Clap(Protocol):
    """Embeds audio windows and captions into one space of unit vectors.

    Whatever centring a CLAP needs is part of it: every vector that leaves is ready to be compared by
    dot product. A vector never depends on what else was embedded in the same call (to 1e-5).
    Several threads may call it at the same time.
    """

    @property
    def sample_rate(self) -> int:
        """Rate in Hz that `embed_audio` expects."""

    @property
    def window_seconds(self) -> float:
        """Longest window in seconds that is heard as one piece; longer audio is cut into such windows."""

    @property
    def frame_seconds(self) -> float:
        """Longest stretch in seconds that a frame of `hear` stands for; `window_seconds` for one frame a window."""

    @property
    def embedding_dim(self) -> int:
        """Length d of every embedding."""

    @property
    def temperature(self) -> float:
        """The temperature the CLAP was trained with, the default tau of the projection."""

    @property
    def fingerprint(self) -> str:
        """Names backend and weights, e.g. ``embedded-3f9a61c2``. Equal fingerprints mean comparable vectors."""

    @property
    def sound_names(self) -> Sequence[str]:
        """Kinds of sound that `score_sounds` knows, in everyday words; a name may stand there twice. May be empty."""

    def embed_audio(self, windows: Sequence[FloatArray]) -> FloatArray:
        """Embed mono windows: `embed_frames` of each window's own frames.

        Args:
            windows: n arrays of float32 samples [samples] in [-1, 1] at `sample_rate`, each of 1 sample up to
                `window_seconds`; lengths may differ.

        Returns:
            float32 [n, d], unit norm.
        """

    def hear(self, windows: Sequence[FloatArray]) -> list[FloatArray]:
        """Hear mono windows step by step, once for all that is asked of them.

        Args:
            windows: as for `embed_audio`.

        Returns:
            A window's frames each: float32 [frames, features], at least one. They are spaced evenly: of n frames the
            i-th stands for the i-th n-th of the window's time. What the features mean is the CLAP's own business.
        """

    def embed_frames(self, stretches: Sequence[FloatArray]) -> FloatArray:
        """Embed stretches of what was heard. Cheap beside `hear`.

        Args:
            stretches: n arrays [frames, features] of at least one frame: some of a recording in order, be they of one
                window or of several.

        Returns:
            float32 [n, d], unit norm.
        """

    def score_sounds(self, frames: FloatArray) -> FloatArray:
        """How surely each kind of sound is heard: frames [n, features] -> float32 [n, names] in 0 to 1. Cheap too."""

    def reads_whole(self, texts: Sequence[str]) -> list[bool]:
        """Whether `embed_text` reads each text to its end; every CLAP has a longest text and cuts there."""

    def embed_text(self, texts: Sequence[str]) -> FloatArray:
        """Embed captions: n strings -> float32 [n, d], unit norm."""
