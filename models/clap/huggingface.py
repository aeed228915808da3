"""CLAPs of transformers, such as ``laion/clap-htsat-unfused``, from the hub or from a folder."""

import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.checkpoints import stored_shapes
from models.clap.backend import Backend, ClapSection, section_parts
from models.clap.mel import MelSettings
from models.clap.tokenizer import CaptionTokens
from models.clap.two_towers import TwoTowerClap
from models.weights import MissingWeights, WrongWeights, find

# LAION trained with this context. RoBERTa has more positions, which never saw a caption.
LONGEST = 77


class ClapTowers:
    """The two towers of a `ClapModel`."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._fused = bool(model.config.audio_config.enable_fusion)

    def hear(self, mel: Tensor) -> Tensor:
        """See `models.clap.two_towers.Towers`."""
        # A window is never longer than the tower's input, so a fused model has nothing to fuse. The extractor of
        # transformers would mark a random window as longer.
        longer = torch.zeros(len(mel), 1, dtype=torch.bool, device=mel.device) if self._fused else None
        heard: Tensor = self._model.get_audio_features(input_features=mel, is_longer=longer).pooler_output
        return heard

    def read(self, ids: Tensor, mask: Tensor) -> Tensor:
        """See `models.clap.two_towers.Towers`."""
        read: Tensor = self._model.get_text_features(input_ids=ids, attention_mask=mask).pooler_output
        return read

    def weights(self) -> dict[str, Tensor]:
        """See `models.clap.two_towers.Towers`."""
        return dict(self._model.state_dict())


def from_model(backend: str, model: Any, mel: MelSettings, tokens: CaptionTokens, device: torch.device) -> TwoTowerClap:
    """Make a CLAP from a loaded `ClapModel`. Raises `WrongWeights` if the tokens do not fit it."""
    text = model.config.text_config
    tokens.check(text.vocab_size, text.pad_token_id)
    return TwoTowerClap(
        backend,
        ClapTowers(model.to(device).eval().requires_grad_(requires_grad=False)),
        mel,
        tokens,
        embedding_dim=model.config.projection_dim,
        temperature=float(model.logit_scale_a.detach().neg().exp()),
        device=device,
    )


def load_huggingface(
    source: str | Path, tokenizer: str | Path | None, revision: str | None, device: torch.device
) -> TwoTowerClap:
    """Load a CLAP of transformers strictly.

    Args:
        source: a folder (nothing is fetched) or a model of the hub, with ``config.json``, weights and
            ``preprocessor_config.json``. Weights in safetensors come before torch's own format, which is read without
            unpickling code.
        tokenizer: a folder or a model of the hub; by default `source`.
        revision: revision of the hub's model.
        device: where it runs.

    Raises:
        MissingWeights: a file is missing, or the hub cannot be reached.
        WrongWeights: the files do not hold such a model, or lack tensors, or hold more.
    """
    from transformers import ClapConfig, ClapFeatureExtractor, ClapModel

    where: dict[str, Any] = {"revision": revision, "local_files_only": isinstance(source, Path)}
    try:
        config: Any = ClapConfig.from_pretrained(str(source), **where)
        extractor: Any = ClapFeatureExtractor.from_pretrained(str(source), **where)
        loaded: Any = ClapModel.from_pretrained(
            str(source),
            config=config,
            dtype=torch.float32,
            weights_only=True,
            # They are not ignored: the report below names them, which the error of transformers does not.
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            **where,
        )
    except OSError as error:
        raise MissingWeights(f"no CLAP of transformers at {source}: {error}") from error
    except pickle.UnpicklingError as error:
        raise WrongWeights(f"the weights of {source} hold more than weights and were not unpickled") from error
    except (RuntimeError, ValueError, TypeError) as error:
        raise WrongWeights(f"{source} holds no CLAP of transformers: {error}") from error
    model, report = loaded
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if report.get(kind):
            raise WrongWeights(f"{source}: {kind.replace('_', ' ')}: {sorted(map(str, report[kind]))[:3]}")
    tokens = CaptionTokens.load(tokenizer or source, "roberta", LONGEST, None if tokenizer else revision)
    return from_model("huggingface", model, _mel_settings(extractor, source), tokens, device)


def _mel_settings(extractor: Any, source: str | Path) -> MelSettings:
    if extractor.padding != "repeatpad" or extractor.top_db is not None:
        raise WrongWeights(
            f"{source}: its extractor has padding {extractor.padding!r} and top_db {extractor.top_db}; "
            "only 'repeatpad' and None are known"
        )
    return MelSettings(
        sample_rate=extractor.sampling_rate,
        hop=extractor.hop_length,
        frame=extractor.fft_window_size,
        bands=extractor.feature_size,
        lowest=extractor.frequency_min,
        highest=extractor.frequency_max,
        # The extractor has both scales and uses torchaudio's for fused models, as LAION does.
        scale="htk" if extractor.truncation == "fusion" else "slaney",
        seconds=extractor.max_length_s,
    )


def _load(section: ClapSection, folder: Path, device: torch.device) -> TwoTowerClap:
    source = find(section.source, folder)
    revision = None if isinstance(source, Path) else section.revision
    return load_huggingface(source, section.tokenizer_place(folder), revision, device)


def _embedding_dim(path: Path) -> int:
    from transformers import ClapConfig

    stored_shapes(path)
    try:
        config: Any = ClapConfig.from_pretrained(str(path), local_files_only=True)
    except OSError as error:
        raise MissingWeights(f"no CLAP of transformers at {path}: {error}") from error
    except (ValueError, TypeError) as error:
        raise WrongWeights(f"{path} describes no CLAP of transformers: {error}") from error
    return int(config.projection_dim)


BACKEND = Backend(_load, _embedding_dim, section_parts)
