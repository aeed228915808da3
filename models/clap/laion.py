"""LAION's own checkpoints (``630k-audioset-best.pt``, the music ones; HTSAT tiny, base or large, fused or not).

They are converted on loading to the names of transformers' `ClapModel`. The package laion-clap is not imported, because
its import fetches three tokenizers and needs torchvision and numpy 1. It rounds samples to 16 bits; this module does
not.
"""

import re
from pathlib import Path
from typing import Any

import torch

from models.checkpoints import Weights, expect, load_strictly, read_weights, weights_under
from models.clap.backend import checkpoint_backend
from models.clap.htsat import audio_config, audio_weights, check_filters
from models.clap.huggingface import LONGEST, from_model
from models.clap.mel import MelSettings
from models.clap.text_sizes import text_sizes
from models.clap.tokenizer import HUB_NAMES, CaptionTokens
from models.clap.two_towers import TwoTowerClap

# Layers that only the training loss uses, and a table that counts up from 0.
_UNUSED = re.compile(r"(audio|text)_transform\.|text_branch\.embeddings\.position_ids$")


def load_laion(path: Path, tokenizer: str | Path | None, device: torch.device) -> TwoTowerClap:
    """Load a checkpoint of LAION strictly, without unpickling code.

    Args:
        path: the ``.pt`` file.
        tokenizer: folder or hub name of RoBERTa's tokenizer; by default the hub's ``roberta-base``.
        device: where it runs.

    Raises:
        MissingWeights: the file or the tokenizer is missing.
        WrongWeights: the file holds something else; the message names the tensor and its shape.
    """
    from transformers import ClapConfig, ClapModel

    weights = {name: value for name, value in read_weights(path).items() if not _UNUSED.match(name)}
    audio, text = weights_under("audio_branch.", weights), weights_under("text_branch.", weights)
    dimension = expect(weights, "audio_projection.2.weight", path).shape[0]
    config: Any = ClapConfig(
        text_config={**text_sizes(text, path), "layer_norm_eps": 1e-5},
        audio_config=audio_config(audio, path, dimension).to_dict(),
        projection_dim=dimension,
    )
    settings = MelSettings(scale="htk" if config.audio_config.enable_fusion else "slaney")
    if not config.audio_config.enable_fusion:
        check_filters(audio.get("logmel_extractor.melW"), settings, path)
    model: Any = ClapModel(config)
    renamed = {f"audio_model.{name}": value for name, value in audio_weights(audio).items()}
    renamed |= {f"text_model.{name}": value for name, value in text.items()}
    renamed |= _others(weights)
    # transformers keeps tables of 0, 1, 2... and of zeros with the weights.
    renamed |= {
        name: value for name, value in model.state_dict().items() if name.endswith(("position_ids", "type_ids"))
    }
    load_strictly(model, renamed, path)
    tokens = CaptionTokens.load(tokenizer or HUB_NAMES["roberta"], "roberta", LONGEST)
    return from_model("laion", model, settings, tokens, device)


def _others(weights: Weights) -> Weights:
    linear = re.compile(r"^(audio_projection|text_projection)\.([02])\.")
    return {
        linear.sub(lambda found: f"{found[1]}.linear{1 + int(found[2]) // 2}.", name): value
        for name, value in weights.items()
        if not name.startswith(("audio_branch.", "text_branch."))
    }


BACKEND = checkpoint_backend(load_laion, "audio_projection.2.weight")
