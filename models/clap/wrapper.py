"""The base of CLAPs that wrap another CLAP and change one thing about it."""

from collections.abc import Sequence

from models.clap.base import Clap
from models.vectors import FloatArray


class ClapWrapper:
    """Implements `models.clap.base.Clap` by passing every call to the wrapped CLAP."""

    def __init__(self, clap: Clap) -> None:
        self._clap = clap
        self.sample_rate = clap.sample_rate
        self.window_seconds = clap.window_seconds
        self.frame_seconds = clap.frame_seconds
        self.embedding_dim = clap.embedding_dim
        self.temperature = clap.temperature
        self.fingerprint = clap.fingerprint
        self.sound_names = clap.sound_names

    def embed_audio(self, windows: Sequence[FloatArray]) -> FloatArray:
        """See `models.clap.base.Clap.embed_audio`."""
        return self._clap.embed_audio(windows)

    def hear(self, windows: Sequence[FloatArray]) -> list[FloatArray]:
        """See `models.clap.base.Clap.hear`."""
        return self._clap.hear(windows)

    def embed_frames(self, stretches: Sequence[FloatArray]) -> FloatArray:
        """See `models.clap.base.Clap.embed_frames`."""
        return self._clap.embed_frames(stretches)

    def score_sounds(self, frames: FloatArray) -> FloatArray:
        """See `models.clap.base.Clap.score_sounds`."""
        return self._clap.score_sounds(frames)

    def reads_whole(self, texts: Sequence[str]) -> list[bool]:
        """See `models.clap.base.Clap.reads_whole`."""
        return self._clap.reads_whole(texts)

    def embed_text(self, texts: Sequence[str]) -> FloatArray:
        """See `models.clap.base.Clap.embed_text`."""
        return self._clap.embed_text(texts)

    def _each_by_itself(self, frames: FloatArray) -> FloatArray:
        """Embed each frame alone with the wrapped CLAP: frames [n, features] -> [n, d]."""
        return self._clap.embed_frames([frames[row : row + 1] for row in range(len(frames))])
