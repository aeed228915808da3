"""A CLAP of two transformers: what its backends share once their weights are loaded."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from models.checkpoints import digest
from models.clap.base import FloatArray
from models.clap.mel import LogMel, MelSettings, fill_windows
from models.clap.tokenizer import CaptionTokens
from models.clap.whole_windows import WholeWindows

_WINDOWS = 8
_CAPTIONS = 64


class Towers(Protocol):
    """The networks of a CLAP, in evaluation mode."""

    def hear(self, mel: Tensor) -> Tensor:
        """Log-mel spectrograms [n, 1, frames, bands] -> vectors [n, d] of any length."""

    def read(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Tokens [n, tokens] and which of them count -> vectors [n, d] of any length."""

    def weights(self) -> dict[str, Tensor]:
        """All that the vectors depend on, by name."""


class TwoTowerClap(WholeWindows):
    """Implements `models.clap.base.Clap` with two towers, the front end of one and the tokens of the other."""

    def __init__(
        self,
        backend: str,
        towers: Towers,
        mel: MelSettings,
        tokens: CaptionTokens,
        *,
        embedding_dim: int,
        temperature: float,
        device: torch.device,
    ) -> None:
        self._towers = towers
        self._mel = LogMel(mel).to(device)
        self._tokens = tokens
        self._device = device
        self.sample_rate = mel.sample_rate
        self.window_seconds = mel.seconds
        self.embedding_dim = embedding_dim
        self.temperature = temperature
        self.fingerprint = digest(backend, towers.weights(), mel, tokens.fingerprint)

    @torch.inference_mode()
    def embed_audio(self, windows: Sequence[FloatArray]) -> FloatArray:
        """n mono windows of 1 sample up to `window_seconds` -> float32 [n, d], unit norm.

        Raises ValueError for a window that is empty, too long, not mono or holds NaN or infinity.
        """
        vectors = np.empty((len(windows), self.embedding_dim), dtype=np.float32)
        for start in range(0, len(windows), _WINDOWS):
            batch = fill_windows(windows[start : start + _WINDOWS], self._mel.settings.samples)
            vectors[start : start + _WINDOWS] = _unit(self._towers.hear(self._mel(batch.to(self._device))))
        return vectors

    def reads_whole(self, texts: Sequence[str]) -> list[bool]:
        """Whether each text is within the tokens that the text tower was trained to read."""
        return self._tokens.reads_whole(texts)

    @torch.inference_mode()
    def embed_text(self, texts: Sequence[str]) -> FloatArray:
        """n captions -> float32 [n, d], unit norm. Text beyond the longest is not read."""
        vectors = np.empty((len(texts), self.embedding_dim), dtype=np.float32)
        for rows, encoded in self._tokens.batches(texts, _CAPTIONS):
            ids, mask = (encoded[name].to(self._device) for name in ("input_ids", "attention_mask"))
            vectors[rows] = _unit(self._towers.read(ids, mask))
        return vectors


def _unit(vectors: Tensor) -> FloatArray:
    return np.asarray(functional.normalize(vectors.float(), dim=-1).cpu().numpy(), dtype=np.float32)
