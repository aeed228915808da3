"""Naming: a CLAP that tells kinds of sound apart by what it reads, where it has nothing better."""

from models.clap.base import Clap, FloatArray
from models.clap.sounds import Sounds
from models.clap.wrapped import WrappedClap


class NamingClap(WrappedClap):
    """A CLAP whose scores of sounds are zero-shot. Implements `models.clap.base.Clap`.

    It hears and reads as the CLAP in it does, so its fingerprint is that CLAP's.
    """

    def __init__(self, clap: Clap, sounds: Sounds) -> None:
        super().__init__(clap)
        self._sounds = sounds
        self.sound_names = sounds.names

    def score_sounds(self, frames: FloatArray) -> FloatArray:
        """See `models.clap.base.Clap.score_sounds`: each name's share of the softmax at the CLAP's temperature."""
        return self._sounds.scores(self._each_by_itself(frames), self.temperature)
