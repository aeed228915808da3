"""LAION's checkpoints against the networks of LAION's own package, where that is installed (`drcap[laion]`)."""

import importlib
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from models.bundle.load import load_clap
from models.checkpoints import read_weights
from tests.clap_backends import CAPTIONS, sounds, write_laion
from tests.clap_checkpoints import TRUE_SIZES

pytestmark = pytest.mark.skipif(find_spec("laion_clap") is None, reason="laion-clap is not installed")

# The package's text branch is of RoBERTa's width; fewer layers and words are more of the same.
SIZES = replace(TRUE_SIZES, text_layers=1, vocabulary=300, positions=130)


def _networks(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The package's module of networks. Its own imports ask the hub for tokenizers and are passed by."""
    spec = find_spec("laion_clap")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    root = Path(next(iter(spec.submodule_search_locations)))
    for name, folder in (("laion_clap", root), ("laion_clap.clap_module", root / "clap_module")):
        package = ModuleType(name)
        package.__path__ = [str(folder)]
        monkeypatch.setitem(sys.modules, name, package)
    if find_spec("torchvision") is None:
        # Only a class that no network here is made of comes from there.
        for name in ("torchvision", "torchvision.ops", "torchvision.ops.misc"):
            monkeypatch.setitem(sys.modules, name, ModuleType(name))
        sys.modules["torchvision.ops.misc"].FrozenBatchNorm2d = torch.nn.BatchNorm2d  # type: ignore[attr-defined]
    return importlib.import_module("laion_clap.clap_module.model")


def _theirs(networks: Any, path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    from transformers import RobertaConfig, RobertaModel

    config: Any = RobertaConfig(
        vocab_size=SIZES.vocabulary,
        num_hidden_layers=SIZES.text_layers,
        max_position_embeddings=SIZES.positions,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
    )
    build: Any = RobertaModel
    monkeypatch.setattr(networks.RobertaModel, "from_pretrained", lambda _: build(config))
    audio = networks.CLAPAudioCfp(model_type="HTSAT", model_name="tiny", hop_size=480)
    text = networks.CLAPTextCfg(77, 49408, 512, 8, 12, "roberta")
    clap = networks.CLAP(768, audio, text)
    # The masks of a random checkpoint are none; the package makes the true ones itself.
    weights = {name: value for name, value in read_weights(path).items() if not name.endswith("attn_mask")}
    found = clap.load_state_dict(weights, strict=False)
    # The front end is made, not learned, and transformers has stopped to store what counts up from 0.
    assert all("_extractor." in name or name.endswith("attn_mask") for name in found.missing_keys)
    assert all(name.endswith("position_ids") for name in found.unexpected_keys)
    return clap.eval()


def _waveforms() -> torch.Tensor:
    """As the package fills ten seconds: repeated as often as it fits whole, then silence."""
    samples = 480_000
    whole = [np.tile(sound, samples // len(sound)) for sound in sounds(48_000)]
    return torch.from_numpy(np.stack([np.pad(one, (0, samples - len(one))) for one in whole]))


@torch.inference_mode()
def test_it_equals_the_forward_of_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    section = write_laion(tmp_path, sizes=SIZES)
    ours = load_clap(section, tmp_path, torch.device("cpu"))
    theirs = _theirs(_networks(monkeypatch), tmp_path / section.source, monkeypatch)
    heard = theirs.audio_projection(theirs.encode_audio({"waveform": _waveforms()}, device="cpu")["embedding"])
    np.testing.assert_allclose(ours.embed_audio(sounds(48_000)), functional.normalize(heard, dim=-1), atol=1e-4)
    from transformers import RobertaTokenizer

    tokenizer: Any = RobertaTokenizer.from_pretrained(str(tmp_path / "words"))
    tokens = tokenizer(list(CAPTIONS), padding="max_length", truncation=True, max_length=77, return_tensors="pt")
    read = theirs.encode_text(tokens, device="cpu")
    np.testing.assert_allclose(ours.embed_text(CAPTIONS), functional.normalize(read, dim=-1), atol=1e-4)
