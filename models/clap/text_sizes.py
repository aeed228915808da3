"""Reads the sizes of a RoBERTa or BERT from its weights."""

from pathlib import Path
from typing import Any

from models.checkpoints import Weights, expect
from models.weights import WrongWeights

# Heads of both have this size at every width.
_HEAD = 64


def text_sizes(weights: Weights, path: Path) -> dict[str, Any]:
    """Return the sizes as a configuration of transformers names them. Raises `WrongWeights` for another network."""
    vocabulary, width = expect(weights, "embeddings.word_embeddings.weight", path).shape
    layers = len({name.split(".")[2] for name in weights if name.startswith("encoder.layer.")})
    if not layers or width % _HEAD:
        raise WrongWeights(f"{path} holds neither RoBERTa nor BERT: {layers} layers of width {width}")
    return {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": width // _HEAD,
        "intermediate_size": expect(weights, "encoder.layer.0.intermediate.dense.weight", path).shape[0],
        "max_position_embeddings": expect(weights, "embeddings.position_embeddings.weight", path).shape[0],
        "type_vocab_size": expect(weights, "embeddings.token_type_embeddings.weight", path).shape[0],
    }
