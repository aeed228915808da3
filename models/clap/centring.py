"""Centring: subtracts the mean of audio embeddings and the mean of text embeddings, each from its own side.

Audio and text embeddings of a CLAP lie around two centres, and the distance of the centres is most of the gap between
the sides. To subtract each side's mean and renormalise narrows the gap, for every backend.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from models.clap.base import Clap
from models.clap.whole_windows import mean_directions
from models.clap.wrapper import ClapWrapper
from models.vectors import FloatArray
from models.weights import MissingWeights, WrongWeights

_NAMES = ("audio_mean", "text_mean")
_NOWHERE = 1e-6


@dataclass(frozen=True)
class Centring:
    """The mean embedding of recordings and of captions in general, each float32 [d]."""

    audio: FloatArray
    text: FloatArray

    @classmethod
    def load(cls, path: Path, embedding_dim: int) -> "Centring":
        """Read the two means. Raises `MissingWeights`, or `WrongWeights` unless they are finite and of this length."""
        if not path.is_file():
            raise MissingWeights(f"there is no file {path}")
        try:
            found = load_file(path)
        except (OSError, SafetensorError) as error:
            raise WrongWeights(f"{path} cannot be read: {error}") from error
        if set(found) != set(_NAMES):
            raise WrongWeights(f"{path} holds {sorted(found)}, a centring has {sorted(_NAMES)}")
        for name, mean in found.items():
            if mean.shape != (embedding_dim,) or not np.isfinite(mean).all():
                raise WrongWeights(f"{path}: {name} is {list(mean.shape)}, the CLAP gives {embedding_dim} numbers")
        return cls(*(found[name].astype(np.float32) for name in _NAMES))

    def save(self, path: Path) -> None:
        """Write the file that `load` reads."""
        save_file({"audio_mean": self.audio, "text_mean": self.text}, path)


class CentredClap(ClapWrapper):
    """A CLAP with centred vectors. Implements `models.clap.base.Clap`. Frames stay those of the wrapped CLAP."""

    def __init__(self, clap: Clap, centring: Centring) -> None:
        super().__init__(clap)
        self._centring = centring
        made = hashlib.sha256(centring.audio.tobytes() + centring.text.tobytes())
        self.fingerprint = f"{clap.fingerprint}-centred-{made.hexdigest()[:8]}"

    def embed_audio(self, windows: Sequence[FloatArray]) -> FloatArray:
        """See `models.clap.base.Clap.embed_audio`."""
        return _centred(self._clap.embed_audio(windows), self._centring.audio)

    def embed_frames(self, stretches: Sequence[FloatArray]) -> FloatArray:
        """See `models.clap.base.Clap.embed_frames`."""
        if self.frame_seconds < self.window_seconds:
            return _centred(self._clap.embed_frames(stretches), self._centring.audio)
        # A frame is a window, and the vector of several windows is the mean of their centred vectors.
        alone = [_centred(self._each_by_itself(stretch), self._centring.audio) for stretch in stretches]
        return mean_directions(alone, self.embedding_dim)

    def embed_text(self, texts: Sequence[str]) -> FloatArray:
        """See `models.clap.base.Clap.embed_text`."""
        return _centred(self._clap.embed_text(texts), self._centring.text)


def _centred(vectors: FloatArray, mean: FloatArray) -> FloatArray:
    moved = vectors - mean
    norms = np.linalg.norm(moved, axis=1, keepdims=True)
    # A vector equal to the mean has no direction after centring, so it stays as it is.
    return np.where(norms > _NOWHERE, moved / np.maximum(norms, _NOWHERE), vectors).astype(np.float32)
