"""Writes a bundle of any size: real formats and architectures, random weights, and tokenizers trained here."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from benchmarks.captions import load_captions

_START, _END, _PAD = "<s>", "</s>", "<pad>"
_WORDS = 8_000
_RANK = 8
_INNER = 2_048


@dataclass(frozen=True)
class Sizes:
    """Sizes of a CLAP and a Llama; the defaults are LAION's `clap-htsat-unfused` and a Llama of 1.2B parameters.

    Attributes:
        vocabulary: tokens that the LLM has embeddings for; its tokenizer knows fewer.
        dimension: of the CLAP's vectors.
        audio, text: settings of the CLAP's towers that differ from the defaults of transformers, which are LAION's.
    """

    hidden: int = 2_048
    layers: int = 16
    heads: int = 32
    key_value_heads: int = 8
    inner: int = 8_192
    vocabulary: int = 128_256
    dimension: int = 512
    audio: dict[str, Any] = field(default_factory=dict)
    text: dict[str, Any] = field(default_factory=dict)


TINY = Sizes(
    32, 2, 2, 1, 64, 9_000, 16,
    {"patch_embeds_hidden_size": 8, "depths": [1, 1, 1, 1], "num_attention_heads": [1, 2, 2, 4], "hidden_size": 64},
    {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 96},
)  # fmt: skip


def write_bundle(folder: Path, sizes: Sizes) -> None:
    """Write the bundle, with its LLM in bfloat16 like released ones."""
    torch.manual_seed(0)
    captions = load_captions(None, 2_000)
    _write_clap(folder / "clap", sizes, captions)
    _write_llm(folder / "llm", sizes, captions)
    inner = min(_INNER, 4 * sizes.hidden)
    projector = {
        "linear1.weight": _random(inner, sizes.dimension), "linear1.bias": torch.zeros(inner),
        "linear2.weight": _random(sizes.hidden, inner), "linear2.bias": torch.zeros(sizes.hidden),
    }  # fmt: skip
    save_file(projector, folder / "projector.safetensors")
    _write_adapter(folder / "adapter", sizes)
    config = {
        "format_version": 1,
        "name": "full-size",
        "clap": {"backend": "huggingface", "source": "clap", "revision": "random"},
        "llm": {"source": "llm", "revision": "random"},
        "prompt": {
            "template": "Captions of similar sounds:\n{similar}\nThis sound: {audio}\nCaption:",
            "similar_item": "- {caption}", "separator": "\n", "none": "- none",
        },
        "projection": {}, "retrieval": {"k": 3, "neighbours": 512}, "generation": {"num_beams": 1},
        "provenance": {"weights": "random"}, "licences": {"everything": "made on the spot"},
    }  # fmt: skip
    (folder / "bundle.json").write_text(json.dumps(config), encoding="utf-8")


def _write_clap(folder: Path, sizes: Sizes, captions: Sequence[str]) -> None:
    from tokenizers import ByteLevelBPETokenizer
    from transformers import ClapConfig, ClapFeatureExtractor, ClapModel

    config: Any = ClapConfig(audio_config=sizes.audio, text_config=sizes.text, projection_dim=sizes.dimension)
    model: Any = ClapModel(config)
    model.save_pretrained(str(folder))
    extractor: Any = ClapFeatureExtractor(frequency_min=50, frequency_max=14_000, truncation="rand_trunc")
    extractor.save_pretrained(str(folder))
    words = ByteLevelBPETokenizer()
    special = [_START, _PAD, _END, "<unk>", "<mask>"]
    words.train_from_iterator(captions, vocab_size=_WORDS, special_tokens=special, show_progress=False)
    words.save_model(str(folder))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "RobertaTokenizer"}), encoding="utf-8")


def _write_llm(folder: Path, sizes: Sizes, captions: Sequence[str]) -> None:
    from tokenizers import ByteLevelBPETokenizer
    from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast

    words = ByteLevelBPETokenizer()
    words.train_from_iterator(captions, vocab_size=_WORDS, special_tokens=[_START, _END], show_progress=False)
    folder.mkdir()
    words.save(str(folder / "words.json"))
    make: Any = PreTrainedTokenizerFast
    tokenizer: Any = make(tokenizer_file=str(folder / "words.json"), bos_token=_START, eos_token=_END)
    tokenizer.save_pretrained(str(folder))
    config: Any = LlamaConfig(
        vocab_size=sizes.vocabulary, hidden_size=sizes.hidden, intermediate_size=sizes.inner,
        num_hidden_layers=sizes.layers, num_attention_heads=sizes.heads, num_key_value_heads=sizes.key_value_heads,
        max_position_embeddings=8_192, tie_word_embeddings=True, bos_token_id=0, eos_token_id=1, dtype="bfloat16",
        architectures=["LlamaForCausalLM"],
    )  # fmt: skip
    config.save_pretrained(str(folder))
    # Only names and shapes: numbers drawn in another type than the stored one would need twice the memory.
    with torch.device("meta"):
        kind: Any = AutoModelForCausalLM
        shapes = {name: value.shape for name, value in kind.from_config(config).state_dict().items()}
    weights = {
        name: torch.ones(shape, dtype=torch.bfloat16) if len(shape) == 1 else _random(*shape, dtype=torch.bfloat16)
        for name, shape in shapes.items()
        if name != "lm_head.weight"
    }
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def _write_adapter(folder: Path, sizes: Sizes) -> None:
    folder.mkdir()
    head = sizes.hidden // sizes.heads
    weights = {}
    for layer in range(sizes.layers):
        for name, rows in (("q_proj", sizes.hidden), ("v_proj", head * sizes.key_value_heads)):
            at = f"base_model.model.model.layers.{layer}.self_attn.{name}"
            weights[f"{at}.lora_A.weight"] = _random(_RANK, sizes.hidden)
            weights[f"{at}.lora_B.weight"] = _random(rows, _RANK)
    save_file(weights, folder / "adapter_model.safetensors")
    settings = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": _RANK, "lora_alpha": 32,
        "target_modules": ["q_proj", "v_proj"],
    }  # fmt: skip
    (folder / "adapter_config.json").write_text(json.dumps(settings), encoding="utf-8")


def _random(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.empty(shape, dtype=dtype).normal_(std=0.02)
