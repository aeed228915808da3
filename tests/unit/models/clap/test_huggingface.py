"""CLAPs of transformers: equal to its own forward, strict, and nothing leaves the machine."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from models.bundle.config import BundleError
from models.bundle.load import load_clap
from models.clap.backend import ClapSection
from models.weights import MissingWeights
from tests.clap_backends import CAPTIONS, WRITERS, huggingface_model, sounds, write_huggingface
from tests.no_network import refuse_sockets

CPU = torch.device("cpu")


def _edit(folder: Path, **changes: torch.Tensor | None) -> None:
    path = folder / "clap" / "model.safetensors"
    weights: dict[str, Any] = {**load_file(path), **{name.replace("__", "."): value for name, value in changes.items()}}
    save_file({name: value for name, value in weights.items() if value is not None}, path, metadata={"format": "pt"})


@pytest.mark.parametrize("fused", [False, True])
def test_it_equals_the_forward_of_transformers(tmp_path: Path, fused: bool) -> None:
    from transformers import ClapProcessor

    clap = load_clap(write_huggingface(tmp_path, fused=fused), tmp_path, CPU)
    processor: Any = ClapProcessor.from_pretrained(str(tmp_path / "clap"))
    windows = sounds(48_000)
    given = processor(text=list(CAPTIONS), audio=windows, sampling_rate=48_000, padding=True, return_tensors="pt")
    if fused:
        # Its extractor calls a random one of them longer than it is.
        given["is_longer"] = torch.zeros(3, 1, dtype=torch.bool)
    with torch.inference_mode():
        theirs = huggingface_model(fused=fused)(**given)
    np.testing.assert_allclose(clap.embed_audio(windows), theirs.audio_embeds, atol=1e-4)
    np.testing.assert_allclose(clap.embed_text(CAPTIONS), theirs.text_embeds, atol=1e-4)
    assert clap.temperature == pytest.approx(0.05)


@pytest.mark.parametrize("backend", WRITERS)
def test_nothing_reaches_the_network_when_files_are_local(
    tmp_path: Path, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    section = WRITERS[backend](tmp_path)
    refuse_sockets(monkeypatch)
    clap = load_clap(section, tmp_path, CPU)
    assert clap.embed_text(["a dog"]).shape == clap.embed_audio(sounds(clap.sample_rate)[2:]).shape


def test_weights_of_torch_are_read_where_there_are_no_safetensors(tmp_path: Path) -> None:
    section = write_huggingface(tmp_path)
    first = load_clap(section, tmp_path, CPU)
    path = tmp_path / "clap" / "model.safetensors"
    torch.save(load_file(path), path.with_name("pytorch_model.bin"))
    path.unlink()
    assert load_clap(section, tmp_path, CPU).fingerprint == first.fingerprint


def test_other_weights_have_another_fingerprint(tmp_path: Path) -> None:
    section = write_huggingface(tmp_path)
    first = load_clap(section, tmp_path, CPU)
    _edit(tmp_path, audio_projection__linear2__bias=torch.zeros(16))
    assert load_clap(section, tmp_path, CPU).fingerprint != first.fingerprint


def test_other_preprocessing_has_another_fingerprint(tmp_path: Path) -> None:
    section = write_huggingface(tmp_path)
    first = load_clap(section, tmp_path, CPU)
    path = tmp_path / "clap" / "preprocessor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | {"frequency_min": 0}), "utf-8")
    assert load_clap(section, tmp_path, CPU).fingerprint != first.fingerprint


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"logit_scale_a": None}, "missing keys.*logit_scale_a"),
        ({"visual_projection__weight": torch.zeros(2)}, "unexpected keys.*visual_projection"),
        ({"audio_projection__linear1__bias": torch.zeros(17)}, "audio_projection.linear1.bias"),
    ],
)
def test_weights_that_are_not_the_models_are_refused_by_name(
    tmp_path: Path, change: dict[str, torch.Tensor | None], said: str
) -> None:
    section = write_huggingface(tmp_path)
    _edit(tmp_path, **change)
    with pytest.raises(BundleError, match=f"(?s){said}"):
        load_clap(section, tmp_path, CPU)


def test_an_extractor_that_fills_windows_otherwise_is_refused(tmp_path: Path) -> None:
    section = write_huggingface(tmp_path)
    path = tmp_path / "clap" / "preprocessor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | {"padding": "repeat"}), "utf-8")
    with pytest.raises(BundleError, match="padding 'repeat'"):
        load_clap(section, tmp_path, CPU)


def test_a_folder_without_a_clap_and_a_name_that_is_nowhere_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for source in ("empty", "./nowhere", "/no/where/at/all"):
        section = ClapSection(backend="huggingface", source=source, revision="main")
        with pytest.raises(MissingWeights, match=source):
            load_clap(section, tmp_path, CPU)


def test_a_name_of_the_hub_that_cannot_be_fetched_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for backend, source in (("huggingface", "laion/clap-htsat-unfused"), ("laion", "lukewys/laion_clap/630k-best.pt")):
        section = ClapSection.model_validate({"backend": backend, "source": source, "revision": "main"})
        with pytest.raises(MissingWeights, match=source):
            load_clap(section, tmp_path, CPU)
