"""Reads the sizes of an LLM from its files without loading it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.checkpoints import count_parameters
from models.llm.gguf_header import GgufHeader, NoGguf, read_header
from models.llm.sources import check_folder, weight_files
from models.weights import MissingWeights, WrongWeights

_GGUF = {
    "hidden": "embedding_length",
    "layers": "block_count",
    "heads": "attention.head_count",
    "key_value_heads": "attention.head_count_kv",
}


@dataclass(frozen=True)
class LlmSizes:
    """Sizes of an LLM.

    Attributes:
        hidden: length of a token's embedding.
        layers, heads: number of layers, and of attention heads in each.
        key_value_heads: number of heads of keys and values.
        vocabulary: number of tokens.
        parameters: numbers in all weights.
    """

    hidden: int
    layers: int
    heads: int
    key_value_heads: int
    vocabulary: int
    parameters: int


def read_llm_sizes(path: Path, quantisation_setting: str = "quantisation") -> LlmSizes:
    """Read the sizes of a GGUF file or a folder of transformers; see `models.llm.sources.check_folder`.

    Raises `MissingWeights` or `WrongWeights`.
    """
    if path.suffix == ".gguf":
        try:
            return _of_header(read_header(path), path)
        except (NoGguf, OSError) as error:
            raise WrongWeights(str(error)) from error
    return _of_folder(path, quantisation_setting)


def _of_header(header: GgufHeader, path: Path) -> LlmSizes:
    found = {name: header.of_the_model(key) for name, key in _GGUF.items()}
    table = header.shapes.get("token_embd.weight")
    lacking = [_GGUF[name] for name, value in found.items() if not isinstance(value, int)]
    if lacking or table is None:
        raise WrongWeights(f"{path} does not state its {', '.join(lacking) or 'embeddings'}")
    sizes = {name: int(value) for name, value in found.items() if value is not None}
    return LlmSizes(**sizes, vocabulary=table[-1], parameters=header.parameters)


def _of_folder(path: Path, quantisation_setting: str) -> LlmSizes:
    from transformers import AutoConfig

    check_folder(path, quantisation_setting)
    try:
        config: Any = AutoConfig.from_pretrained(str(path), local_files_only=True)
    except OSError as error:
        raise MissingWeights(f"no LLM at {path}: {error}") from error
    except (ValueError, TypeError, KeyError) as error:
        raise WrongWeights(f"{path}/config.json does not describe a model of transformers: {error}") from error
    text = config.get_text_config()
    facts: Mapping[str, Any] = text.to_dict()
    try:
        heads = int(facts["num_attention_heads"])
        return LlmSizes(
            hidden=int(facts["hidden_size"]),
            layers=int(facts["num_hidden_layers"]),
            heads=heads,
            key_value_heads=int(facts.get("num_key_value_heads") or heads),
            vocabulary=int(facts["vocab_size"]),
            parameters=sum(count_parameters(file) for file in weight_files(path)),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise WrongWeights(f"{path}/config.json does not state its {error}") from error
