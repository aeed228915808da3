from pathlib import Path

import numpy as np
import pytest
import torch

import models.embedded
from models.clap.embedded import EmbeddedClap
from models.vectors import FloatArray
from service.audio.decoding import decode
from service.settings import AudioSettings
from tests.recordings import encode

pytestmark = pytest.mark.embedded
RATE = 44_100


@pytest.fixture(scope="module")
def clap() -> EmbeddedClap:
    folder = Path(next(iter(models.embedded.__path__)))
    return EmbeddedClap.load(folder / "clap.safetensors", torch.device("cpu"))


def _noise(seconds: float, seed: int = 0) -> FloatArray:
    length = max(1, round(seconds * RATE))
    return np.asarray(np.random.default_rng(seed).normal(scale=0.1, size=length), dtype=np.float32)


def _siren(seconds: float) -> FloatArray:
    t = np.arange(round(seconds * RATE)) / RATE
    pitch = 900 + 400 * np.sin(2 * np.pi * t / 4)
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    return np.asarray(
        sum(0.7**n * np.sin((n + 1) * phase) for n in range(8)) + 0.05 * _noise(seconds), dtype=np.float32
    )


def test_a_window_has_the_same_vector_alone_and_among_others(clap: EmbeddedClap) -> None:
    windows = [_noise(seconds, seed) for seed, seconds in enumerate([0.0, 0.1, 1.0, 2.3, 2.4, 5.0, 7.7, 10.0])]
    together = clap.embed_audio(windows)
    alone = np.concatenate([clap.embed_audio([window]) for window in windows])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_every_vector_has_unit_norm_even_that_of_silence(clap: EmbeddedClap) -> None:
    audio = clap.embed_audio([np.zeros(RATE, dtype=np.float32), _noise(1.0), np.ones(1, dtype=np.float32)])
    text = clap.embed_text(["A dog barks.", ""])
    assert audio.shape == (3, clap.embedding_dim)
    assert audio.dtype == text.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(audio, axis=1), 1.0, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(text, axis=1), 1.0, atol=1e-5)


def test_gain_does_not_change_a_vector(clap: EmbeddedClap) -> None:
    clip = _siren(3.0)
    loud, quiet = clap.embed_audio([clip, clip * 0.003])
    assert float(loud @ quiet) > 0.999


def _heard(clap: EmbeddedClap, samples: FloatArray, rate: int = RATE) -> FloatArray:
    [window] = decode(encode(samples, rate, subtype="FLOAT"), RATE, AudioSettings()).windows(clap.window_seconds)
    return np.asarray(clap.embed_audio([window])[0])


@pytest.mark.parametrize("rate", [RATE, 16_000])
def test_an_offset_and_rumble_do_not_change_what_is_heard(clap: EmbeddedClap, rate: int) -> None:
    length = 4 * rate
    rain = np.random.default_rng(3).normal(scale=0.05, size=length).astype(np.float32)
    time = np.arange(length) / rate
    plain = _heard(clap, rain, rate)
    for below in (0.1, -0.5, 0.5 * np.sin(2 * np.pi * 5 * time), 0.3 * np.sin(2 * np.pi * 2 * time) + 0.2):
        assert float(plain @ _heard(clap, (rain + below).astype(np.float32), rate)) > 0.99


def test_taking_rumble_away_leaves_a_recording_without_it_as_it_was(clap: EmbeddedClap) -> None:
    for clip in (_siren(3.0) / 4, _noise(3.0) / 2):
        assert float(_heard(clap, clip) @ clap.embed_audio([clip])[0]) > 0.99


def test_a_siren_is_told_from_rain_and_speech(clap: EmbeddedClap) -> None:
    texts = clap.embed_text(["A siren wails.", "Heavy rain is falling.", "A man is speaking.", "A dog barks."])
    assert int((clap.embed_audio([_siren(5.0)]) @ texts.T).argmax()) == 0


def test_steady_noise_is_not_taken_for_a_dog(clap: EmbeddedClap) -> None:
    texts = clap.embed_text(["A dog barks.", "A steady hiss of noise."])
    assert int((clap.embed_audio([_noise(5.0)]) @ texts.T).argmax()) == 1


@pytest.mark.parametrize(
    "window",
    [np.zeros(0, np.float32), np.zeros((2, 100), np.float32), np.zeros(10 * RATE + 1, np.float32)],
)
def test_an_empty_a_stereo_or_a_too_long_window_is_refused(clap: EmbeddedClap, window: FloatArray) -> None:
    with pytest.raises(ValueError, match="a window must be mono with 1 to 441000 samples"):
        clap.embed_audio([window])


def test_samples_that_are_not_finite_are_refused(clap: EmbeddedClap) -> None:
    with pytest.raises(ValueError, match="not finite"):
        clap.embed_audio([np.array([0.0, np.nan], dtype=np.float32)])


def test_no_windows_and_no_texts_give_no_vectors(clap: EmbeddedClap) -> None:
    assert clap.embed_audio([]).shape == (0, clap.embedding_dim)
    assert clap.embed_text([]).shape == (0, clap.embedding_dim)


def test_the_fingerprint_names_the_backend_and_is_stable(clap: EmbeddedClap) -> None:
    assert clap.fingerprint.startswith("embedded-")
    assert len(clap.fingerprint) == len("embedded-") + 8
    assert clap.temperature > 0
