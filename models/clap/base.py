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
    def embedding_dim(self) -> int:
        """Length d of every embedding."""

    @property
    def temperature(self) -> float:
        """The temperature the CLAP was trained with, the default tau of the projection."""

    @property
    def fingerprint(self) -> str:
        """Names backend and weights, e.g. ``embedded-3f9a61c2``. Equal fingerprints mean comparable vectors."""

    def embed_audio(self, windows: Sequence[FloatArray]) -> FloatArray:
        """Embed mono windows.

        Args:
            windows: n arrays of float32 samples [samples] in [-1, 1] at `sample_rate`, each of 1 sample up to
                `window_seconds`; lengths may differ.

        Returns:
            float32 [n, d], unit norm.
        """

    def reads_whole(self, texts: Sequence[str]) -> list[bool]:
        """Whether `embed_text` reads each text to its end; every CLAP has a longest text and cuts there."""

    def embed_text(self, texts: Sequence[str]) -> FloatArray:
        """Embed captions: n strings -> float32 [n, d], unit norm."""
