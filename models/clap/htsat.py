"""Converts HTSAT as LAION and WavCaps store it to the audio tower of transformers, which is the same network.

Their checkpoints use the names of the original HTSAT (Chen et al., arXiv 2202.00874), which are those of Swin, with
queries, keys and values in one matrix. The sizes follow from the shapes, so tiny and base are read in the same way.
"""

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.checkpoints import Weights, expect
from models.clap.mel import MelSettings, mel_filters
from models.weights import WrongWeights

# Heads for the classes of AudioSet, and tables that follow from the sizes.
_UNUSED = re.compile(r"(tscam_conv|head|spectrogram_extractor|logmel_extractor|audio_feats_extractor)\.|.*\.attn_mask$")
_RENAMED = (
    (re.compile(r"^bn0\."), "batch_norm."),
    (re.compile(r"\.norm1\."), ".layernorm_before."),
    (re.compile(r"\.norm2\."), ".layernorm_after."),
    (re.compile(r"\.attn\.proj\."), ".attention.output.dense."),
    (re.compile(r"\.attn\."), ".attention.self."),
    (re.compile(r"\.mlp\.fc1\."), ".intermediate.dense."),
    (re.compile(r"\.mlp\.fc2\."), ".output.dense."),
)
_SPECTROGRAM = 256
_PATCH = 4
_FILTERS_APART = 1e-3


def audio_config(weights: Weights, path: Path, projection_dim: int) -> Any:
    """Return the `ClapAudioConfig` of the HTSAT in `weights`. Raises `WrongWeights` if there is none."""
    from transformers import ClapAudioConfig

    width = expect(weights, "patch_embed.proj.weight", path).shape[0]
    blocks = {
        (int(a), int(b)) for a, b in re.findall(r"layers\.(\d+)\.blocks\.(\d+)\.norm1\.weight", " ".join(weights))
    }
    stages = 1 + max((stage for stage, _ in blocks), default=-1)
    depths = [sum(stage == one for one, _ in blocks) for stage in range(stages)]
    if not stages or 0 in depths:
        raise WrongWeights(f"{path} holds no HTSAT: it has {len(blocks)} attention blocks in {stages} stages")
    tables = [
        expect(weights, f"layers.{stage}.blocks.0.attn.relative_position_bias_table", path) for stage in range(stages)
    ]
    fused = "patch_embed.mel_conv2d.weight" in weights
    return ClapAudioConfig(
        window_size=(round(tables[0].shape[0] ** 0.5) + 1) // 2,
        num_mel_bins=expect(weights, "bn0.weight", path).shape[0],
        spec_size=_SPECTROGRAM,
        patch_size=_PATCH,
        patch_stride=(_PATCH, _PATCH),
        patch_embeds_hidden_size=width,
        depths=depths,
        num_attention_heads=[table.shape[1] for table in tables],
        hidden_size=width * 2 ** (stages - 1),
        num_hidden_layers=stages,
        projection_dim=projection_dim,
        enable_fusion=fused,
        fusion_type="aff_2d" if fused else None,
    )


def audio_weights(weights: Weights) -> Weights:
    """Return HTSAT's weights under the names of `ClapAudioModel`, without heads that no embedding uses."""
    renamed: Weights = {}
    for name, value in weights.items():
        if _UNUSED.match(name):
            continue
        for pattern, replacement in _RENAMED:
            name = pattern.sub(replacement, name)
        if ".self.qkv." in name:
            parts = zip(("query", "key", "value"), value.chunk(3), strict=True)
            renamed |= {f"audio_encoder.{name.replace('qkv', one)}": tensor for one, tensor in parts}
        else:
            renamed[f"audio_encoder.{name}"] = value
    return renamed


def check_filters(found: Tensor | None, settings: MelSettings, path: Path) -> None:
    """Raise `WrongWeights` if a checkpoint stores mel filters that differ from those of `settings`."""
    if found is None:
        return
    wanted = mel_filters(settings)
    if found.shape != wanted.shape or torch.dist(found.float(), wanted) > _FILTERS_APART * wanted.norm():
        raise WrongWeights(
            f"{path} was trained on other mel bands {list(found.shape)} than {settings.bands} from "
            f"{settings.lowest:g} to {settings.highest:g} Hz at {settings.sample_rate} Hz {list(wanted.shape)}"
        )
