"""CLAPs of every backend, as sections of a bundle, on random weights in the true formats."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.bundle.load import load_clap
from models.bundle.writer import SOUNDS, write_sounds
from models.clap.backend import ClapSection
from models.clap.centring import Centring
from models.vectors import FloatArray
from tests.clap_checkpoints import (
    Sizes,
    ase_shapes,
    laion_shapes,
    random_weights,
    write_bert_tokenizer,
    write_roberta_tokenizer,
)

SIZES = Sizes()
CAPTIONS = ("a dog barks", "rain falls far off at night and the bell rings", "the sea")


def sounds(sample_rate: int) -> list[FloatArray]:
    """Noise of a whole window, a short tone, and a click of a few samples."""
    draw = np.random.RandomState(1)
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(2 * sample_rate) / sample_rate)
    return [
        (0.1 * draw.standard_normal(10 * sample_rate)).astype(np.float32),
        tone.astype(np.float32),
        np.asarray([0.5, -0.25, 0.125, 0.0, 0.0, -0.5, 0.1], dtype=np.float32),
    ]


def write_laion(folder: Path, *, fused: bool = False, sizes: Sizes = SIZES) -> ClapSection:
    """LAION's checkpoint as its training loop saves it."""
    weights = random_weights(laion_shapes(sizes, fused=fused))
    wrapped = {f"module.{name}": value for name, value in weights.items()}
    state = {"epoch": 14, "name": "630k", "top_score": np.float64(0.3), "state_dict": wrapped}
    torch.save(state, folder / "laion.pt")
    write_roberta_tokenizer(folder / "words")
    return ClapSection(backend="laion", source="laion.pt", revision="random", tokenizer="words")


def write_wavcaps(folder: Path, *, kinds: int = 1) -> ClapSection:
    """ASE's checkpoint as its training loop saves it: with RoBERTa, or with BERT and its two kinds of sentence."""
    weights = random_weights(ase_shapes(SIZES, kinds=kinds))
    torch.save({"model": weights, "optimizer": {"lr": 1e-5}, "epoch": 3}, folder / "best_model.pt")
    (write_roberta_tokenizer if kinds == 1 else write_bert_tokenizer)(folder / "words")
    return ClapSection(backend="wavcaps", source="best_model.pt", revision="random", tokenizer="words")


def write_centred(folder: Path) -> ClapSection:
    """`write_wavcaps` with means taken off and with the sounds that it then reads."""
    section = write_wavcaps(folder).model_copy(update={"centring": "means.safetensors"})
    draw = np.random.default_rng(3)
    audio, text = (draw.normal(scale=0.1, size=SIZES.dimension).astype(np.float32) for _ in range(2))
    Centring(audio, text).save(folder / "means.safetensors")
    write_sounds(load_clap(section, folder, torch.device("cpu")), folder)
    return section.model_copy(update={"sounds": SOUNDS})


def write_huggingface(folder: Path, *, fused: bool = False) -> ClapSection:
    """The weights of `write_laion`, as transformers saves them."""
    from transformers import ClapFeatureExtractor

    at = folder / "clap"
    save: Any = huggingface_model(fused=fused).save_pretrained
    save(str(at))
    extractor: Any = ClapFeatureExtractor(
        frequency_min=50, frequency_max=14_000, truncation="fusion" if fused else "rand_trunc"
    )
    extractor.save_pretrained(str(at))
    write_roberta_tokenizer(at)
    return ClapSection(backend="huggingface", source="clap", revision="random")


def huggingface_model(*, fused: bool = False) -> Any:
    """A `ClapModel` with the weights of `write_laion`."""
    from transformers import ClapConfig, ClapModel

    audio = {
        "patch_embeds_hidden_size": SIZES.width,
        "depths": list(SIZES.depths),
        "num_attention_heads": list(SIZES.heads),
        "hidden_size": SIZES.audio_width,
        "enable_fusion": fused,
        "fusion_type": "aff_2d" if fused else None,
    }
    text = {
        "vocab_size": SIZES.vocabulary,
        "hidden_size": SIZES.text_width,
        "num_hidden_layers": SIZES.text_layers,
        "num_attention_heads": 1,
        "intermediate_size": SIZES.text_inner,
        "max_position_embeddings": SIZES.positions,
        "layer_norm_eps": 1e-5,
    }
    config: Any = ClapConfig(audio_config=audio, text_config=text, projection_dim=SIZES.dimension)
    model: Any = ClapModel(config)
    model.eval()
    theirs = random_weights(laion_shapes(SIZES, fused=fused))
    state = {
        name: value if name.endswith("ids") else _of_laion(name, theirs) for name, value in model.state_dict().items()
    }
    model.load_state_dict(state)
    return model


def _of_laion(name: str, theirs: dict[str, Tensor]) -> Tensor:
    """The tensor of LAION's that transformers calls `name`."""
    name = name.replace("audio_model.audio_encoder.", "audio_branch.").replace("text_model.", "text_branch.")
    name = re.sub(r"_projection\.linear([12])", lambda found: f"_projection.{2 * int(found[1]) - 2}", name)
    if name.startswith("audio_branch."):
        for ours, original in (
            ("batch_norm", "bn0"), ("layernorm_before", "norm1"), ("layernorm_after", "norm2"),
            ("attention.self", "attn"), ("attention.output.dense", "attn.proj"),
            ("intermediate.dense", "mlp.fc1"), ("output.dense", "mlp.fc2"),
        ):  # fmt: skip
            name = name.replace(ours, original)
    found = re.search(r"attn\.(query|key|value)\.", name)
    if found is None:
        return theirs[name]
    joined = theirs[name.replace(found[1], "qkv")]
    third = len(joined) // 3
    start = third * ("query", "key", "value").index(found[1])
    return joined[start : start + third]


WRITERS: dict[str, Callable[[Path], ClapSection]] = {
    "huggingface": write_huggingface,
    "huggingface-fused": lambda folder: write_huggingface(folder, fused=True),
    "laion": write_laion,
    "laion-fused": lambda folder: write_laion(folder, fused=True),
    "wavcaps": write_wavcaps,
    "wavcaps-bert": lambda folder: write_wavcaps(folder, kinds=2),
}
