"""A bundle with a language model of a few thousand parameters, so that training is tested in seconds."""

import json
from pathlib import Path
from typing import Any

import torch

VOCABULARY = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .,:-\n"


def write_tiny_bundle(folder: Path) -> Path:
    """Random weights; letters are tokens. There is no projector or adapter: training begins fresh."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    llm = folder / "llm"
    words = {"<s>": 0, "</s>": 1, "<unk>": 2} | {letter: 3 + i for i, letter in enumerate(VOCABULARY)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))  # noqa: S106
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("[\\s\\S]"), "isolated")
    make: Any = PreTrainedTokenizerFast
    make(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>").save_pretrained(str(llm))  # noqa: S106
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        bos_token_id=0,
        eos_token_id=1,
        initializer_range=0.3,
    )
    LlamaForCausalLM(config).save_pretrained(str(llm))
    bundle = {
        "format_version": 1,
        "name": "tiny",
        "clap": {"backend": "embedded", "source": "clap.safetensors", "revision": "none"},
        "llm": {"source": str(llm), "revision": "tiny"},
        "prompt": {"template": "{similar}\n{audio}:", "similar_item": "- {caption}", "separator": "\n", "none": "-"},
        "projection": {},
        "retrieval": {"k": 2, "neighbours": 8},
        "generation": {},
        "provenance": {},
        "licences": {"CLAP": "free", "alignment head, projector, adapter": "free"},
    }
    (folder / "bundle.json").write_text(json.dumps(bundle))
    return folder


def tiny_captions(count: int) -> list[str]:
    """Distinct captions with words in common."""
    whos = ("A dog", "A cat", "Rain", "A bell", "The sea")
    dos = ("barks", "falls", "rings", "is near", "goes on")
    wheres = ("at night", "in town", "far off", "by a wall", "on a hill")
    return [f"{who} {do} {where}." for who in whos for do in dos for where in wheres][:count]
