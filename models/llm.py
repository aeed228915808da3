"""Causal language models with their tokenizer, from a GGUF file or a folder of transformers."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch


@dataclass(frozen=True)
class Llm:
    """A causal model of transformers (in evaluation mode) and its tokenizer."""

    model: Any
    tokenizer: Any

    @property
    def hidden_size(self) -> int:
        """Length of a token's embedding."""
        return int(self.model.config.hidden_size)

    @property
    def start_token(self) -> int:
        """Token id that begins a text."""
        return int(self.tokenizer.bos_token_id)

    @property
    def end_token(self) -> int:
        """Token id that ends a caption."""
        return int(self.tokenizer.eos_token_id)

    @property
    def control_tokens(self) -> dict[str, int]:
        """Ids of the tokens that steer the model, by how they are written; the longer before those it begins with."""
        tokens = zip(self.tokenizer.all_special_tokens, self.tokenizer.all_special_ids, strict=True)
        return {str(token): int(i) for token, i in sorted(tokens, key=lambda pair: -len(pair[0]))}

    def tokenize(self, text: str) -> list[int]:
        """Token ids of plain text: what looks like a control token stays text, nothing is added around it."""
        ids = self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        return [int(i) for i in ids]


def load_llm(path: Path, dtype: torch.dtype = torch.float32) -> Llm:
    """Load from a GGUF file (dequantised) or from a folder of transformers; nothing is fetched."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    where: dict[str, Any] = {"local_files_only": True}
    if path.suffix == ".gguf":
        where["gguf_file"] = path.name
        path = path.parent
    tokenizer: Any = AutoTokenizer.from_pretrained(str(path), **where)
    model: Any = AutoModelForCausalLM.from_pretrained(str(path), dtype=dtype, **where)
    return Llm(model.eval(), tokenizer)
