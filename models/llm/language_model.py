"""Loads causal language models and their tokenizer from a GGUF file or a folder of transformers."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from models.weights import MissingWeights, WrongWeights

_NAMED = 3


@dataclass(frozen=True)
class Llm:
    """A causal model of transformers (in evaluation mode) and its tokenizer."""

    model: Any
    tokenizer: Any

    @property
    def hidden_size(self) -> int:
        """Length of a token's embedding."""
        return int(self.model.get_input_embeddings().weight.shape[1])

    @property
    def start_token(self) -> int | None:
        """The token id that begins a text; None for an LLM without one, such as Qwen."""
        start = self.tokenizer.bos_token_id
        return None if start is None else int(start)

    @property
    def end_token(self) -> int:
        """The token id that ends a caption."""
        return int(self.tokenizer.eos_token_id)

    @cached_property
    def end_tokens(self) -> frozenset[int]:
        """All token ids that end a text: `end_token`, and the end of a turn in a chat if it differs."""
        stated = getattr(self.model.generation_config, "eos_token_id", None)
        more = stated if isinstance(stated, list) else [] if stated is None else [stated]
        return frozenset({self.end_token, *map(int, more)})

    @cached_property
    def control_tokens(self) -> dict[str, int]:
        """Text -> id of the tokens that steer the model, longest text first.

        All tokens added to the vocabulary count, because the turns of a chat are not always marked as special. Tokens
        that the tokenizer has and the model does not know are omitted.
        """
        known = int(self.model.get_input_embeddings().weight.shape[0])
        special = zip(self.tokenizer.all_special_tokens, self.tokenizer.all_special_ids, strict=True)
        found = {str(token): int(i) for token, i in special}
        added = ((token.content, i) for i, token in self.tokenizer.added_tokens_decoder.items())
        found |= {text: int(i) for text, i in added if len(text.strip()) > 1}
        return {text: i for text, i in sorted(found.items(), key=lambda pair: -len(pair[0])) if i < known}

    def tokenize(self, text: str) -> list[int]:
        """Return the token ids of plain text. Text that looks like a control token stays text; nothing is added."""
        ids = self._ids(text)
        if self._steering.isdisjoint(ids):
            return ids
        # Some tokenizers recognise control tokens all the same. They are cut in two, and any that are left are dropped.
        return [i for piece in self._cut(text) for i in self._ids(piece) if i not in self._steering]

    def _ids(self, text: str) -> list[int]:
        ids = self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        return [int(i) for i in ids]

    @cached_property
    def _steering(self) -> frozenset[int]:
        # The token for unknown letters stands for text.
        return frozenset(self.control_tokens.values()) - {self.tokenizer.unk_token_id}

    def _cut(self, text: str) -> Iterator[str]:
        written = re.compile("|".join(re.escape(token) for token in self.control_tokens), re.IGNORECASE)
        at = 0
        while found := written.search(text, at):
            yield text[at : found.start() + 1]
            at = found.start() + 1
        yield text[at:]


def load_llm(path: Path, dtype: torch.dtype = torch.float32) -> Llm:
    """Load from a GGUF file (dequantised) or from a folder of transformers.

    Nothing is fetched, no code from the folder runs, and a folder's weights are read from safetensors only.

    Raises:
        MissingWeights: a file is missing.
        WrongWeights: the files do not hold a complete causal LLM.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    where: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    how: dict[str, Any] = {"dtype": dtype, "attn_implementation": "sdpa", "output_loading_info": True}
    folder = path
    if path.suffix == ".gguf":
        where["gguf_file"], folder = path.name, path.parent
    else:
        how["use_safetensors"] = True
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(str(folder), **where)
        try:
            loaded: Any = AutoModelForCausalLM.from_pretrained(str(folder), **where, **how)
        except ValueError as error:
            if "scaled_dot_product_attention" not in str(error):
                raise
            loaded = AutoModelForCausalLM.from_pretrained(
                str(folder), **where, **how | {"attn_implementation": "eager"}
            )
    except OSError as error:
        raise MissingWeights(f"no LLM at {path}: {error}") from error
    except MemoryError:
        raise
    except Exception as error:  # tokenizers raises nothing more precise, and an unknown checkpoint may hold anything
        raise WrongWeights(f"{path} holds no causal LLM that can be used: {_first_lines(error)}") from error
    model, report = loaded
    for kind in ("missing_keys", "mismatched_keys"):
        if report.get(kind):
            raise WrongWeights(f"{path}: {kind.replace('_', ' ')}: {sorted(map(str, report[kind]))[:_NAMED]}")
    if tokenizer.eos_token_id is None:
        raise WrongWeights(f"the tokenizer of {path} names no end token (eos_token), so no caption would end")
    return Llm(model.eval(), tokenizer)


def _first_lines(error: Exception) -> str:
    return " ".join(str(error).split("\n\n")[0].split())
