import io

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from service.audio.decoding import decode
from service.audio.rumble import without_rumble
from service.errors import EmptyAudio
from service.settings import AudioSettings

RATE = 16_000
Samples = NDArray[np.float32]


def _sine(hertz: float, seconds: float = 4.0) -> Samples:
    times = np.arange(round(seconds * RATE)) / RATE
    return np.asarray(np.sin(2 * np.pi * hertz * times), dtype=np.float32)


def _cleared(samples: Samples, block: int = 10_000) -> Samples:
    blocks = (samples[start : start + block] for start in range(0, len(samples), block))
    return np.concatenate(list(without_rumble(blocks, RATE)))


def _left_of(samples: Samples) -> float:
    # But for its ends, where what is below hearing is only half removed.
    inner = slice(RATE, -RATE)
    return float(np.sqrt(np.square(_cleared(samples)[inner]).mean() / np.square(samples[inner]).mean()))


@pytest.mark.parametrize("length", [1, 2, 100, 1_000, 40_000])
def test_nothing_is_left_of_a_constant_of_any_length(length: int) -> None:
    cleared = _cleared(np.full(length, 0.5, np.float32))
    assert len(cleared) == length
    assert np.abs(cleared).max() < 1e-6


@pytest.mark.parametrize(("hertz", "left"), [(5.0, 0.09), (20.0, 0.83), (30.0, 1.0), (45.0, 0.955), (1_000.0, 1.0)])
def test_the_response_is_that_of_its_formula(hertz: float, left: float) -> None:
    assert _left_of(_sine(hertz)) == pytest.approx(left, abs=0.01)


@pytest.mark.parametrize("block", [1, 7, 500, 1_000_000])
def test_blocks_leave_no_seam(block: int) -> None:
    samples = np.random.default_rng(0).normal(size=5_000).astype(np.float32)
    np.testing.assert_allclose(_cleared(samples, block), _cleared(samples), atol=1e-6)


def test_a_recording_without_samples_stays_without() -> None:
    assert list(without_rumble([], RATE)) == []


def _file(samples: NDArray[np.generic], subtype: str, rate: int = RATE) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="WAV", subtype=subtype)
    return file.getvalue()


def _dither(step: float, seed: int = 0) -> NDArray[np.float64]:
    return step * np.random.default_rng(seed).integers(-1, 2, size=2 * RATE)


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
@pytest.mark.parametrize(
    ("samples", "subtype"),
    [
        (np.full(2 * RATE, -1 / 32_768), "PCM_16"),
        (np.full(2 * RATE, 0.5), "PCM_16"),
        (np.full(2 * RATE, -0.25), "FLOAT"),
        (_dither(1 / 32_768), "PCM_16"),
        (_dither(1 / 32_768) + _dither(1 / 32_768, 1), "PCM_16"),
        (_dither(1 / 32_768) + 0.1, "PCM_24"),
        (_dither(1 / 128), "PCM_U8"),
    ],
    ids=["last bit", "half scale", "float", "dither", "triangular dither", "offset dither", "8 bits"],
)
def test_a_recording_of_nothing_is_answered_as_silence(samples: NDArray[np.float64], subtype: str, rate: int) -> None:
    with pytest.raises(EmptyAudio, match=r"nothing to hear: without rumble and offset .* above -\d+ dBFS"):
        decode(_file(samples, subtype, rate), RATE, AudioSettings())


@pytest.mark.parametrize(("peak", "subtype"), [(4e-4, "PCM_16"), (2e-4, "PCM_24"), (0.06, "PCM_U8")])
def test_a_quiet_recording_is_heard(peak: float, subtype: str) -> None:
    noise = np.random.default_rng(0).uniform(-peak, peak, size=2 * RATE)
    assert len(decode(_file(noise, subtype), RATE, AudioSettings()).samples) == 2 * RATE


def test_an_offset_and_rumble_change_nothing_that_is_heard() -> None:
    rain = 0.1 * np.random.default_rng(0).normal(size=4 * RATE)
    plain = decode(_file(rain, "PCM_24"), RATE, AudioSettings()).samples
    moved = decode(_file(rain + 0.3 + 0.1 * _sine(2.0), "PCM_24"), RATE, AudioSettings()).samples
    inner = slice(RATE, -RATE)
    assert np.corrcoef(plain[inner], moved[inner])[0, 1] > 0.99
