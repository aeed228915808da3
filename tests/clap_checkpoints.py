"""Checkpoints of CLAPs with random weights: the names and shapes of the true ones, of any size."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

Shapes = dict[str, tuple[int, ...]]

WORDS = ("a", "dog", "barks", "rain", "falls", "the", "bell", "rings", "far", "off", "at", "night", "and", "sea")


@dataclass(frozen=True)
class Sizes:
    """Of both towers; the defaults are small enough for a test."""

    width: int = 8
    depths: Sequence[int] = (2, 1, 1, 1)
    heads: Sequence[int] = (1, 2, 2, 4)
    text_width: int = 64
    text_layers: int = 2
    text_inner: int = 96
    vocabulary: int = 300
    positions: int = 130
    dimension: int = 16

    @property
    def audio_width(self) -> int:
        return int(self.width * 2 ** (len(self.depths) - 1))


TRUE_SIZES = Sizes(96, (2, 2, 6, 2), (4, 8, 16, 32), 768, 12, 3072, 50265, 514, 512)


def htsat_shapes(sizes: Sizes, *, fused: bool = False) -> Shapes:
    """HTSAT's tensors as its authors name them, heads included, front end not."""
    width = sizes.width
    shapes: Shapes = {f"bn0.{name}": (64,) for name in ("weight", "bias", "running_mean", "running_var")}
    shapes |= {"bn0.num_batches_tracked": (), "patch_embed.proj.weight": (width, 1, 4, 4)}
    shapes |= {f"patch_embed.{name}": (width,) for name in ("proj.bias", "norm.weight", "norm.bias")}
    if fused:
        shapes |= _fusion_shapes(width)
    for stage, (depth, heads) in enumerate(zip(sizes.depths, sizes.heads, strict=True)):
        d = width * 2**stage
        side = 64 // 2**stage
        for block in range(depth):
            at = f"layers.{stage}.blocks.{block}"
            shapes |= {f"{at}.{norm}.{name}": (d,) for norm in ("norm1", "norm2") for name in ("weight", "bias")}
            shapes |= {
                f"{at}.attn.relative_position_bias_table": (225, heads),
                f"{at}.attn.relative_position_index": (64, 64),
                **_linear(f"{at}.attn.qkv", d, 3 * d),
                **_linear(f"{at}.attn.proj", d, d),
                **_linear(f"{at}.mlp.fc1", d, 4 * d),
                **_linear(f"{at}.mlp.fc2", 4 * d, d),
            }
            if block % 2 and side > 8:
                shapes[f"{at}.attn_mask"] = ((side // 8) ** 2, 64, 64)
        if stage < len(sizes.depths) - 1:
            shapes[f"layers.{stage}.downsample.reduction.weight"] = (2 * d, 4 * d)
            shapes |= {f"layers.{stage}.downsample.norm.{name}": (4 * d,) for name in ("weight", "bias")}
    shapes |= {f"norm.{name}": (sizes.audio_width,) for name in ("weight", "bias")}
    shapes |= {"tscam_conv.weight": (527, sizes.audio_width, 2, 3), "tscam_conv.bias": (527,)}
    return shapes | _linear("head", 527, 527)


def _fusion_shapes(width: int) -> Shapes:
    inner = width // 4
    shapes: Shapes = {"patch_embed.mel_conv2d.weight": (width, 1, 4, 12), "patch_embed.mel_conv2d.bias": (width,)}
    for side, first in (("local_att", 0), ("global_att", 1)):
        at = f"patch_embed.fusion_model.{side}"
        for layer, (rows, columns) in ((first, (inner, width)), (first + 3, (width, inner))):
            shapes |= {f"{at}.{layer}.weight": (rows, columns, 1, 1), f"{at}.{layer}.bias": (rows,)}
            norm = f"{at}.{layer + 1}"
            shapes |= {f"{norm}.{name}": (rows,) for name in ("weight", "bias", "running_mean", "running_var")}
            shapes[f"{norm}.num_batches_tracked"] = ()
    return shapes


def encoder_shapes(sizes: Sizes, *, kinds: int = 1, pooler: bool = True) -> Shapes:
    """RoBERTa's tensors (BERT's with two kinds of sentence) as transformers names them."""
    d = sizes.text_width
    shapes: Shapes = {
        "embeddings.word_embeddings.weight": (sizes.vocabulary, d),
        "embeddings.position_embeddings.weight": (sizes.positions, d),
        "embeddings.token_type_embeddings.weight": (kinds, d),
        **_norm("embeddings.LayerNorm", d),
    }
    for layer in range(sizes.text_layers):
        at = f"encoder.layer.{layer}"
        for name in ("query", "key", "value"):
            shapes |= _linear(f"{at}.attention.self.{name}", d, d)
        shapes |= _linear(f"{at}.attention.output.dense", d, d) | _norm(f"{at}.attention.output.LayerNorm", d)
        shapes |= _linear(f"{at}.intermediate.dense", d, sizes.text_inner)
        shapes |= _linear(f"{at}.output.dense", sizes.text_inner, d) | _norm(f"{at}.output.LayerNorm", d)
    return shapes | (_linear("pooler.dense", d, d) if pooler else {})


def laion_shapes(sizes: Sizes, *, fused: bool = False) -> Shapes:
    """A checkpoint of LAION without its front end."""
    d = sizes.dimension
    shapes = {f"audio_branch.{name}": shape for name, shape in htsat_shapes(sizes, fused=fused).items()}
    shapes |= {f"text_branch.{name}": shape for name, shape in encoder_shapes(sizes).items()}
    shapes["text_branch.embeddings.position_ids"] = (1, sizes.positions)
    for side, columns in (("audio", sizes.audio_width), ("text", sizes.text_width)):
        shapes |= _linear(f"{side}_projection.0", columns, d) | _linear(f"{side}_projection.2", d, d)
        for layer in (0, 3):
            shapes |= _linear(f"{side}_transform.sequential.{layer}", d, d)
    return shapes | {"logit_scale_a": (), "logit_scale_t": ()}


def ase_shapes(sizes: Sizes, *, kinds: int = 1) -> Shapes:
    """A checkpoint of WavCaps' ASE without its front end."""
    d = sizes.dimension
    shapes = {f"audio_encoder.audio_enc.{name}": shape for name, shape in htsat_shapes(sizes).items()}
    text = encoder_shapes(sizes, kinds=kinds, pooler=False)
    shapes |= {f"text_encoder.text_encoder.{name}": shape for name, shape in text.items()}
    shapes["text_encoder.text_encoder.embeddings.position_ids"] = (1, sizes.positions)
    for side, columns in (("audio", sizes.audio_width), ("text", sizes.text_width)):
        shapes |= _linear(f"{side}_proj.0", columns, d) | _linear(f"{side}_proj.2", d, d)
    return shapes | {"temp": ()}


def random_weights(shapes: Mapping[str, tuple[int, ...]], seed: int = 0) -> dict[str, Tensor]:
    """Weights of a plausible scale, the same on every machine: the generator is one that numpy keeps as it is."""
    draw = np.random.RandomState(seed)
    return {name: torch.from_numpy(_random(name, shape, draw)) for name, shape in sorted(shapes.items())}


def _random(name: str, shape: tuple[int, ...], draw: np.random.RandomState) -> Any:
    if name.endswith("relative_position_index"):
        return _relative_positions()
    if name.endswith("position_ids"):
        return np.arange(shape[-1])[None]
    if name.endswith("num_batches_tracked"):
        return np.zeros((), dtype=np.int64)
    if name.endswith("attn_mask"):
        return np.zeros(shape, dtype=np.float32)
    if name in ("temp", "logit_scale_a", "logit_scale_t"):
        return np.asarray(0.05 if name == "temp" else np.log(1 / 0.05), dtype=np.float32)
    noise = draw.standard_normal(shape).astype(np.float32)
    if name.endswith("bn0.running_mean"):
        return -30 + 5 * noise
    if name.endswith("running_var"):
        return np.float32(300 if "bn0" in name else 1) * (1 + 0.3 * np.tanh(noise))
    if len(shape) > 1 and "table" not in name and "embeddings" not in name:
        return noise * np.float32(np.prod(shape[1:]) ** -0.5)
    return noise * np.float32(0.1) + np.float32("orm" in name and name.endswith("weight"))


def _relative_positions() -> Any:
    at = np.stack(np.meshgrid(np.arange(8), np.arange(8), indexing="ij")).reshape(2, -1)
    apart = at[:, :, None] - at[:, None, :] + 7
    return apart[0] * 15 + apart[1]


def _linear(name: str, columns: int, rows: int) -> Shapes:
    return {f"{name}.weight": (rows, columns), f"{name}.bias": (rows,)}


def _norm(name: str, width: int) -> Shapes:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def write_roberta_tokenizer(folder: Path) -> Path:
    """Byte-level BPE in RoBERTa's files, with the words of these tests as its merges."""
    import json

    from tokenizers import ByteLevelBPETokenizer

    folder.mkdir(parents=True, exist_ok=True)
    made = ByteLevelBPETokenizer()
    lines = [" ".join(WORDS)] * 3
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    made.train_from_iterator(lines, vocab_size=300, min_frequency=2, special_tokens=special, show_progress=False)
    made.save_model(str(folder))
    described = {"tokenizer_class": "RobertaTokenizer", "model_max_length": 512}
    (folder / "tokenizer_config.json").write_text(json.dumps(described), encoding="utf-8")
    return folder


def write_bert_tokenizer(folder: Path) -> Path:
    """Word pieces in BERT's file."""
    folder.mkdir(parents=True, exist_ok=True)
    letters = "abcdefghijklmnopqrstuvwxyz.,-0123456789"
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{one}" for one in letters), *WORDS]
    (folder / "vocab.txt").write_text("\n".join(dict.fromkeys(vocabulary)), encoding="utf-8")
    return folder
