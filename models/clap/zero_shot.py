"""Scores kinds of sound by the embeddings of their names, for a CLAP that has no classifier."""

from models.clap.base import Clap
from models.clap.sounds import Sounds
from models.clap.wrapper import ClapWrapper
from models.vectors import FloatArray


class ZeroShotClap(ClapWrapper):
    """A CLAP with zero-shot scores of sounds. Implements `models.clap.base.Clap`.

    Its vectors are those of the wrapped CLAP, so its fingerprint is the same.
    """

    def __init__(self, clap: Clap, sounds: Sounds) -> None:
        super().__init__(clap)
        self._sounds = sounds
        self.sound_names = sounds.names

    def score_sounds(self, frames: FloatArray) -> FloatArray:
        """See `models.clap.base.Clap.score_sounds`: each name's share of the softmax at the CLAP's temperature."""
        return self._sounds.scores(self._each_by_itself(frames), self.temperature)
