"""A CLAP of two transformers, which the backends make once they have loaded the weights."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from models.checkpoints import digest
from models.clap.mel import LogMel, MelSettings, fill_windows
from models.clap.tokenizer import CaptionTokens
from models.clap.whole_windows import WholeWindows
from models.vectors import FloatArray

_WINDOWS = 8
_CAPTIONS = 64


class Towers(Protocol):
    """The networks of a CLAP, in evaluation mode."""

    def hear(self, mel: Tensor) -> Tensor:
        """Embed log-mel spectrograms [n, 1, frames, bands] -> vectors [n, d] of any norm."""

    def read(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Embed tokens [n, tokens] under a mask of those that count -> vectors [n, d] of any norm."""

    def weights(self) -> dict[str, Tensor]:
        """Return all tensors that the vectors depend on, by name."""


class TwoTowerClap(WholeWindows):
    """Implements `models.clap.base.Clap` with two towers, a mel front end and a tokenizer."""

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
        """Embed n mono windows of 1 sample up to `window_seconds` -> float32 [n, d], unit norm.

        Raises ValueError for a window that is empty, too long, not mono or holds NaN or infinity.
        """
        vectors = np.empty((len(windows), self.embedding_dim), dtype=np.float32)
        for start in range(0, len(windows), _WINDOWS):
            batch = fill_windows(windows[start : start + _WINDOWS], self._mel.settings.samples)
            vectors[start : start + _WINDOWS] = _unit(self._towers.hear(self._mel(batch.to(self._device))))
        return vectors

    def reads_whole(self, texts: Sequence[str]) -> list[bool]:
        """Return whether each text fits into the tokens that the text tower was trained to read."""
        return self._tokens.reads_whole(texts)

    @torch.inference_mode()
    def embed_text(self, texts: Sequence[str]) -> FloatArray:
        """Embed n captions -> float32 [n, d], unit norm. Longer texts are cut."""
        vectors = np.empty((len(texts), self.embedding_dim), dtype=np.float32)
        for rows, encoded in self._tokens.batches(texts, _CAPTIONS):
            ids, mask = (encoded[name].to(self._device) for name in ("input_ids", "attention_mask"))
            vectors[rows] = _unit(self._towers.read(ids, mask))
        return vectors


def _unit(vectors: Tensor) -> FloatArray:
    return np.asarray(functional.normalize(vectors.float(), dim=-1).cpu().numpy(), dtype=np.float32)
