"""Naming: a CLAP that tells kinds of sound apart by what it reads, where it has nothing better."""

from collections.abc import Sequence

from models.clap.base import Clap, FloatArray
from models.clap.sounds import Sounds


class NamingClap:
    """A CLAP whose scores of sounds are zero-shot. Implements `models.clap.base.Clap`.

    It hears and reads as the CLAP in it does, so its fingerprint is that CLAP's.
    """

    def __init__(self, clap: Clap, sounds: Sounds) -> None:
        self._clap = clap
        self._sounds = sounds
        self.sample_rate = clap.sample_rate
        self.window_seconds = clap.window_seconds
        self.frame_seconds = clap.frame_seconds
        self.embedding_dim = clap.embedding_dim
        self.temperature = clap.temperature
        self.fingerprint = clap.fingerprint
        self.sound_names = sounds.names

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
        """See `models.clap.base.Clap.score_sounds`: each name's share of the softmax at the CLAP's temperature."""
        alone = self._clap.embed_frames([frames[row : row + 1] for row in range(len(frames))])
        return self._sounds.scores(alone, self.temperature)

    def reads_whole(self, texts: Sequence[str]) -> list[bool]:
        """See `models.clap.base.Clap.reads_whole`."""
        return self._clap.reads_whole(texts)

    def embed_text(self, texts: Sequence[str]) -> FloatArray:
        """See `models.clap.base.Clap.embed_text`."""
        return self._clap.embed_text(texts)
