"""Means taken off both sides of a CLAP, whatever its backend."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from models.bundle import BundleError, load_clap
from models.clap.base import FloatArray
from models.clap.centring import Centring
from models.packages import MissingWeights
from tests.clap_backends import CAPTIONS, sounds, write_wavcaps

CPU = torch.device("cpu")


def _means(seed: int = 0) -> Centring:
    draw = np.random.default_rng(seed)
    audio, text = (draw.normal(scale=0.1, size=16).astype(np.float32) for _ in range(2))
    return Centring(audio, text)


def test_every_vector_leaves_without_its_sides_mean_and_with_unit_norm(tmp_path: Path) -> None:
    section = write_wavcaps(tmp_path)
    plain = load_clap(section, tmp_path, CPU)
    _means().save(tmp_path / "means.safetensors")
    centred = load_clap(section.model_copy(update={"centring": "means.safetensors"}), tmp_path, CPU)
    for embed, mean in (("embed_audio", _means().audio), ("embed_text", _means().text)):
        given = sounds(32_000)[1:] if embed == "embed_audio" else CAPTIONS
        moved = getattr(plain, embed)(given) - mean
        wanted = moved / np.linalg.norm(moved, axis=1, keepdims=True)
        np.testing.assert_allclose(getattr(centred, embed)(given), wanted, atol=1e-6)
    assert centred.reads_whole(["a", "a " * 100]) == [True, False]
    assert centred.reads_whole([]) == []
    assert (centred.sample_rate, centred.window_seconds, centred.embedding_dim) == (32_000, 10.0, 16)


def test_the_means_are_part_of_the_fingerprint(tmp_path: Path) -> None:
    section = write_wavcaps(tmp_path).model_copy(update={"centring": "means.safetensors"})
    prints = set()
    for seed in (0, 1):
        _means(seed).save(tmp_path / "means.safetensors")
        prints.add(load_clap(section, tmp_path, CPU).fingerprint)
    assert len(prints) == 2
    assert all(one.startswith("wavcaps-") for one in prints)


def test_measured_means_bring_both_sides_around_the_origin(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    audio, text = (draw.normal(size=(50, 16)).astype(np.float32) + shift for shift in (3.0, -3.0))
    measured = Centring.measure(audio, text)
    np.testing.assert_allclose(measured.audio, audio.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(measured.text, text.mean(axis=0), rtol=1e-5)


def test_a_vector_that_is_the_mean_keeps_its_direction(tmp_path: Path) -> None:
    section = write_wavcaps(tmp_path)
    [vector] = load_clap(section, tmp_path, CPU).embed_text(["a dog"])
    Centring(vector, vector).save(tmp_path / "means.safetensors")
    centred = load_clap(section.model_copy(update={"centring": "means.safetensors"}), tmp_path, CPU)
    np.testing.assert_allclose(centred.embed_text(["a dog"])[0], vector, atol=1e-5)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"audio_mean": np.zeros(16, np.float32)}, "a centring has"),
        ({"audio_mean": np.zeros(16, np.float32), "text_mean": np.zeros(8, np.float32)}, r"text_mean is \[8\].*16"),
        ({"audio_mean": np.full(16, np.nan, np.float32), "text_mean": np.zeros(16, np.float32)}, "audio_mean"),
    ],
)
def test_a_file_that_is_no_centring_is_refused(tmp_path: Path, content: dict[str, FloatArray], said: str) -> None:
    save_file(content, tmp_path / "means.safetensors")
    section = write_wavcaps(tmp_path).model_copy(update={"centring": "means.safetensors"})
    with pytest.raises(BundleError, match=f"means.safetensors.*{said}"):
        load_clap(section, tmp_path, CPU)


def test_a_centring_that_is_not_there_is_named(tmp_path: Path) -> None:
    section = write_wavcaps(tmp_path).model_copy(update={"centring": "means.safetensors"})
    with pytest.raises(MissingWeights, match=r"means\.safetensors"):
        load_clap(section, tmp_path, CPU)
