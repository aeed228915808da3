"""Kinds of sound as a CLAP reads them, and the scores it gives them without having learnt any."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from models.bundle.writer import SOUNDS, write_sounds
from models.clap.sounds import Sounds, vocabulary
from models.clap.zero_shot import ZeroShotClap
from models.vectors import FloatArray
from models.weights import MissingWeights, WrongWeights
from tests.fakes import FakeClap
from tests.recordings import tone


def test_the_vocabulary_is_audiosets_with_an_everyday_label_each() -> None:
    kinds = vocabulary()
    assert len(kinds) == len({kind.name for kind in kinds}) == 521
    assert (kinds[0].name, kinds[0].label) == ("Speech", "speech")
    assert all(kind.label == kind.label.strip().lower() != "" for kind in kinds)


def test_each_label_is_read_once() -> None:
    clap = FakeClap()
    sounds = Sounds.read_by(clap)
    assert len(sounds.names) == len(set(sounds.names)) == len({kind.label for kind in vocabulary()})
    np.testing.assert_array_equal(sounds.vectors[:1], clap.embed_text(["the sound of speech"]))


def test_sounds_are_read_back_as_they_were_saved(tmp_path: Path) -> None:
    write_sounds(FakeClap(), tmp_path)
    saved, read = Sounds.load(tmp_path / SOUNDS, 64), Sounds.read_by(FakeClap())
    assert saved.names == read.names
    np.testing.assert_array_equal(saved.vectors, read.vectors)


def test_scores_are_shares_of_the_names_at_the_temperature_of_the_clap() -> None:
    clap = FakeClap()
    names = ("tone 4", "tone 10", "rain")
    naming = ZeroShotClap(clap, Sounds(names, clap.embed_text(names)))
    windows = [tone(1.0, hertz=400), tone(1.0, hertz=1000)]
    frames = np.concatenate(naming.hear(windows))
    weights = np.exp(clap.embed_audio(windows) @ clap.embed_text(names).T / clap.temperature)
    wanted = weights / weights.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(naming.score_sounds(frames), wanted, atol=1e-5)
    assert naming.sound_names == names
    assert naming.fingerprint == clap.fingerprint


@pytest.mark.parametrize(
    ("content", "names", "said"),
    [
        ({"vectors": np.zeros((2, 8), np.float32)}, '["a", "b"]', r"vectors is \[2, 8\], for 2 names"),
        ({"vectors": np.zeros((1, 64), np.float32)}, '["a", "b"]', r"vectors is \[1, 64\], for 2 names"),
        ({"vectors": np.full((1, 64), np.nan, np.float32)}, '["a"]', "vectors is"),
        ({"vectors": np.zeros((1, 64), np.float32)}, "[1]", "sounds have 'vectors', and names"),
        ({"vectors": np.zeros((1, 64), np.float32)}, "a", "cannot be read"),
        ({"means": np.zeros((1, 64), np.float32)}, '["a"]', "sounds have 'vectors', and names"),
    ],
)
def test_a_file_that_holds_no_sounds_is_refused(
    tmp_path: Path, content: dict[str, FloatArray], names: str, said: str
) -> None:
    save_file(content, tmp_path / "wrong.safetensors", {"names": names})
    with pytest.raises(WrongWeights, match=rf"wrong\.safetensors.*{said}"):
        Sounds.load(tmp_path / "wrong.safetensors", 64)


def test_sounds_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(MissingWeights, match=r"none\.safetensors"):
        Sounds.load(tmp_path / "none.safetensors", 64)
