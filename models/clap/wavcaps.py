"""DRCap's own CLAP: `ASE` of WavCaps (HTSAT and RoBERTa, 1024-d, 32 kHz) from its ``best_model.pt``.

The audio tower is HTSAT in transformers (`models.clap.htsat`). The text tower is RoBERTa or BERT in transformers, of
which the first token's state is used, without pooler. Both outputs go through Linear - ReLU - Linear.
"""

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.checkpoints import Weights, expect, load_strictly, read_weights, weights_under
from models.clap.backend import checkpoint_backend
from models.clap.htsat import audio_config, audio_weights, check_filters
from models.clap.mel import MelSettings
from models.clap.text_sizes import text_sizes
from models.clap.tokenizer import HUB_NAMES, CaptionTokens, Family
from models.clap.two_towers import TwoTowerClap
from models.weights import WrongWeights

# It was trained on captions cut to this many tokens (`max_length=30` in its text encoder).
LONGEST = 30
# WavCaps raises powers below 1e-10 to it. DRCap's copy of its front end, with RoBERTa, does so below 1e-6.
_FLOORS: dict[Family, float] = {"roberta": 1e-6, "bert": 1e-10}
_AUDIO = "audio_encoder.audio_enc."
_TEXT = "text_encoder.text_encoder."
_FILTERS = "audio_feats_extractor.log_trans.melW"
_UNUSED = re.compile(r"text_encoder\.text_encoder\.embeddings\.(position_ids|token_type_ids)$")


_NOT_STORED = re.compile(
    r"audio_encoder\.audio_enc\.(tscam_conv|head|audio_feats_extractor\.mel_trans)\.|.*\.position_ids$"
)


class AseTowers(nn.Module):
    """The networks of `ASE`. Layers outside HTSAT have the names of its checkpoint."""

    def __init__(self, audio: Any, text: Any, family: Family, embedding_dim: int) -> None:
        from transformers import BertModel, ClapAudioModel, RobertaModel

        super().__init__()
        self.embedding_dim = embedding_dim
        self.audio: Any = ClapAudioModel(audio)
        self.text: Any = (RobertaModel if family == "roberta" else BertModel)(text, add_pooling_layer=False)
        self.audio_proj = _projection(audio.hidden_size, embedding_dim)
        self.text_proj = _projection(text.hidden_size, embedding_dim)
        self.temp = nn.Parameter(torch.ones(()))

    @property
    def temperature(self) -> float:
        """The learned temperature, which is the authors' tau."""
        return float(self.temp.detach())

    def hear(self, mel: Tensor) -> Tensor:
        """See `models.clap.two_towers.Towers`."""
        heard: Tensor = self.audio_proj(self.audio(input_features=mel).pooler_output)
        return heard

    def read(self, ids: Tensor, mask: Tensor) -> Tensor:
        """See `models.clap.two_towers.Towers`."""
        first = self.text(input_ids=ids, attention_mask=mask).last_hidden_state[:, 0]
        read: Tensor = self.text_proj(first)
        return read

    def weights(self) -> dict[str, Tensor]:
        """See `models.clap.two_towers.Towers`."""
        return dict(self.state_dict())


def load_wavcaps(path: Path, tokenizer: str | Path | None, device: torch.device) -> TwoTowerClap:
    """Load a checkpoint of ASE strictly, without unpickling code.

    Args:
        path: ``best_model.pt``, or the same weights in a ``.safetensors`` file.
        tokenizer: folder or hub name of the text tower's tokenizer; by default the hub's ``roberta-base`` or
            ``bert-base-uncased``.
        device: where it runs.

    Raises:
        MissingWeights: the file or the tokenizer is missing.
        WrongWeights: the file holds something else; the message names the tensor and its shape.
    """
    towers, family, settings = build_towers(read_weights(path), path)
    tokens = CaptionTokens.load(tokenizer or HUB_NAMES[family], family, LONGEST)
    tokens.check(towers.text.config.vocab_size, towers.text.config.pad_token_id)
    return TwoTowerClap(
        "wavcaps",
        towers.to(device).eval().requires_grad_(requires_grad=False),
        settings,
        tokens,
        embedding_dim=towers.embedding_dim,
        temperature=towers.temperature,
        device=device,
    )


def build_towers(weights: Weights, path: Path) -> tuple[AseTowers, Family, MelSettings]:
    """Return the networks with these weights, the kind of text tower, and the front end. Raises `WrongWeights`."""
    used = {name: value for name, value in weights.items() if not _UNUSED.match(name)}
    audio, text = weights_under(_AUDIO, used), weights_under(_TEXT, used)
    config, family = _text_config(text, path)
    settings = MelSettings(sample_rate=32_000, hop=320, floor=_FLOORS[family])
    check_filters(audio.get(_FILTERS), settings, path)
    dimension = expect(used, "audio_proj.2.weight", path).shape[0]
    towers = AseTowers(audio_config(audio, path, dimension), config, family, dimension)
    renamed = {f"audio.{name}": value for name, value in audio_weights(audio).items()}
    renamed |= {f"text.{name}": value for name, value in text.items()}
    renamed |= {name: value for name, value in used.items() if not name.startswith((_AUDIO, _TEXT))}
    load_strictly(towers, renamed, path)
    if not towers.temperature > 0:
        raise WrongWeights(f"{path}: temp is {towers.temperature}, but a temperature is above 0")
    return towers, family, settings


def stored_weights(weights: Weights) -> Weights:
    """Return the weights worth keeping: all but the classifier and the tables of the Fourier transform."""
    return {name: value for name, value in weights.items() if not _NOT_STORED.match(name)}


def _projection(width: int, embedding_dim: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, embedding_dim), nn.ReLU(), nn.Linear(embedding_dim, embedding_dim))


def _text_config(weights: Weights, path: Path) -> tuple[Any, Family]:
    from transformers import BertConfig, RobertaConfig

    sizes = text_sizes(weights, path)
    # BERT has two kinds of segment, RoBERTa has one.
    family: Family = "roberta" if sizes["type_vocab_size"] == 1 else "bert"
    if family == "roberta":
        return RobertaConfig(**sizes, layer_norm_eps=1e-5), family
    return BertConfig(**sizes), family


BACKEND = checkpoint_backend(load_wavcaps, "audio_proj.2.weight")
