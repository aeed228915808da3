import tracemalloc

import numpy as np
import pytest

from service.audio.rumble import remove_rumble
from tests.recordings import Samples, tone


def left(samples: Samples, rate: int) -> Samples:
    """A copy of the samples without rumble."""
    copy = samples.copy()
    remove_rumble(copy, rate)
    return copy


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000])
@pytest.mark.parametrize(
    ("hertz", "lowest", "highest"),
    [(1, 0, 0.01), (3, 0, 0.01), (5, 0, 0.01), (8, 0, 0.07), (12.5, 0.45, 0.55), (20, 0.99, 1.01), (40, 0.99, 1.01),
     (440, 0.99, 1.01), (500, 0.99, 1.01), (505, 0.99, 1.01), (1_000, 0.99, 1.01), (3_500, 0.99, 1.01)],
)  # fmt: skip
def test_what_is_below_hearing_goes_and_what_is_heard_stays(
    rate: int, hertz: float, lowest: float, highest: float
) -> None:
    sine = tone(4.0, rate, hertz)
    middle = slice(rate // 2, -rate // 2)
    share = np.sqrt(np.square(left(sine, rate)[middle]).mean() / np.square(sine[middle]).mean())
    assert lowest <= share <= highest


@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_a_tone_keeps_its_phase_and_its_ends_move_by_little(rate: int) -> None:
    sine = tone(2.0, rate)
    rumbling = sine + tone(2.0, rate, 4.0)
    middle = slice(rate // 2, -rate // 2)
    np.testing.assert_allclose(left(rumbling, rate)[middle], sine[middle], atol=0.005)
    np.testing.assert_allclose(left(sine, rate), sine, atol=0.02)


@pytest.mark.parametrize("samples", [1, 2, 31, 32, 33, 100, 1_999, 2_000, 2_001, 100_001])
@pytest.mark.parametrize("value", [-(2.0**-15), 0.1, 0.5, 1.0, 1e4])
def test_nothing_is_left_of_a_constant_however_short(samples: int, value: float) -> None:
    assert not left(np.full(samples, value, np.float32), 16_000).any()


@pytest.mark.parametrize("seconds", [0.2, 1.0, 10.0])
def test_nothing_is_left_of_a_steady_drift(seconds: float) -> None:
    drift = np.linspace(-0.4, 0.5, round(seconds * 44_100), dtype=np.float32)
    np.testing.assert_allclose(left(drift, 44_100), 0, atol=1e-4)


@pytest.mark.parametrize("seconds", [0.05, 0.1, 0.2])
def test_a_sound_shorter_than_the_filter_is_heard(seconds: float) -> None:
    sine = tone(seconds, 16_000, 1_000)
    np.testing.assert_allclose(left(sine + np.float32(0.3), 16_000), sine, atol=0.02)


def test_a_long_recording_is_not_copied() -> None:
    samples = np.random.default_rng(0).normal(size=300 * 44_100).astype(np.float32)
    tracemalloc.start()
    try:
        remove_rumble(samples, 44_100)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 0.1 * samples.nbytes


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_samples_that_are_not_finite_do_not_become_finite(value: float) -> None:
    samples = tone(1.0)
    samples[5_000] = value
    assert not np.isfinite(left(samples, 16_000)).all()
