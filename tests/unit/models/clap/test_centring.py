"""Means taken off both sides of a CLAP, whatever its backend."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from models.bundle.config import BundleError
from models.bundle.load import load_clap
from models.clap.centring import CentredClap, Centring
from models.clap.centring_fit import TooFew, measure
from models.clap.whole_windows import WholeWindows
from models.vectors import FloatArray
from models.weights import MissingWeights
from tests.clap_backends import CAPTIONS, sounds, write_wavcaps
from tests.fakes import SteppingClap
from tests.recordings import tone

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


class _Shifted(WholeWindows):
    """A CLAP that hears on one side of the origin and reads on the other; a window's or text's length seeds it."""

    sample_rate, window_seconds, embedding_dim, temperature, fingerprint = 8_000, 1.0, 16, 0.1, "shifted-0"

    def embed_audio(self, windows: Sequence[FloatArray]) -> FloatArray:
        return np.stack([self._vector(len(one), 1.0) for one in windows])

    def embed_text(self, texts: Sequence[str]) -> FloatArray:
        return np.stack([self._vector(len(one), -1.0) for one in texts])

    def reads_whole(self, texts: Sequence[str]) -> list[bool]:
        return [True] * len(texts)

    def _vector(self, seed: int, shift: float) -> FloatArray:
        moved = np.random.default_rng(seed).normal(size=16) + shift
        return np.asarray(moved / np.linalg.norm(moved), dtype=np.float32)


def _windows(*lengths: int) -> list[FloatArray]:
    return [np.zeros(length, np.float32) for length in lengths]


def test_a_mean_weighs_every_recording_and_every_caption_alike() -> None:
    clap = _Shifted()
    texts = ["a" * length for length in range(1, 150)]
    measured = measure(clap, [_windows(1, 2, 3), _windows(4)], texts)
    of_first, of_second = clap.embed_audio(_windows(1, 2, 3)).mean(axis=0), clap.embed_audio(_windows(4))[0]
    np.testing.assert_allclose(measured.centring.audio, (of_first + of_second) / 2, atol=1e-6)
    np.testing.assert_allclose(measured.centring.text, clap.embed_text(texts).mean(axis=0), atol=1e-6)
    assert (measured.recordings, measured.captions) == (2, 149)
    assert measured.gap == pytest.approx(np.linalg.norm(measured.centring.audio - measured.centring.text))


def test_measured_means_bring_both_sides_around_the_origin() -> None:
    clap = _Shifted()
    recordings, texts = [_windows(length) for length in range(1, 60)], ["a" * length for length in range(1, 60)]
    measured = measure(clap, recordings, texts)
    centred = CentredClap(clap, measured.centring)
    heard = np.concatenate([centred.embed_audio(windows) for windows in recordings])
    left = np.linalg.norm(heard.mean(axis=0) - centred.embed_text(texts).mean(axis=0))
    assert measured.gap > 1.0
    assert left < 0.2


def test_several_windows_heard_whole_are_centred_one_by_one() -> None:
    centred = CentredClap(_Shifted(), _means())
    windows = _windows(1, 2, 3)
    mean = centred.embed_audio(windows).mean(axis=0)
    [vector] = centred.embed_frames([np.concatenate(centred.hear(windows))])
    np.testing.assert_allclose(vector, mean / np.linalg.norm(mean), atol=1e-6)


def test_finer_frames_are_embedded_and_then_centred_and_keep_their_scores() -> None:
    clap, draw = SteppingClap(), np.random.default_rng(1)
    means = Centring(*(draw.normal(scale=0.1, size=64).astype(np.float32) for _ in range(2)))
    centred, windows = CentredClap(clap, means), [tone(1.0, hertz=400), tone(0.5, hertz=1000)]
    frames = centred.hear(windows)
    assert [len(one) for one in frames] == [4, 2]
    np.testing.assert_allclose(centred.embed_frames(frames), centred.embed_audio(windows), atol=1e-6)
    moved = clap.embed_frames([np.concatenate(frames)])[0] - means.audio
    [vector] = centred.embed_frames([np.concatenate(frames)])
    np.testing.assert_allclose(vector, moved / np.linalg.norm(moved), atol=1e-6)
    assert centred.sound_names == clap.sound_names
    np.testing.assert_array_equal(centred.score_sounds(frames[0]), clap.score_sounds(frames[0]))


def test_a_mean_of_one_is_refused() -> None:
    with pytest.raises(TooFew, match="1 recordings"):
        measure(_Shifted(), [_windows(1)], ["a", "b"])
    with pytest.raises(TooFew, match="0 captions"):
        measure(_Shifted(), [_windows(1), _windows(2)], [])


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
