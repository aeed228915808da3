import numpy as np
import pytest

from examples.synthesis import RATE, Partial, Signal, Tape, band_noise, bump, slow_noise, struck, swept


def test_a_bell_rings_at_its_partials_and_decays() -> None:
    partials: tuple[Partial, ...] = ((440.0, 1.0, 0.3),)
    sound = struck(partials, 1.0, tune=2.0)
    assert _loudest_hertz(sound) == pytest.approx(880, abs=2)
    assert np.abs(sound[-4_410:]).max() < 0.1 * np.abs(sound[:4_410]).max()


def test_band_noise_stays_in_its_band() -> None:
    power = np.abs(np.fft.rfft(band_noise(np.random.default_rng(0), RATE, 1_000, 2_000))) ** 2
    assert power[700:2_800].sum() > 0.95 * power.sum()


def test_a_swept_tone_drops_the_partials_that_would_fold_back() -> None:
    high = np.full(RATE, 15_000.0)
    assert np.array_equal(swept(high, [1.0, 1.0]), swept(high, [1.0]))


def test_slow_noise_and_bump_stay_between_0_and_1() -> None:
    for curve in (slow_noise(np.random.default_rng(0), RATE, 5.0), bump(RATE, rise=0.2)):
        assert curve.min() >= 0.0
        assert curve.max() <= 1.0


def test_a_sound_that_runs_over_the_end_of_the_tape_is_cut() -> None:
    tape = Tape(1.0, np.random.default_rng(0))
    tape.lay(np.ones(RATE), at=0.75)
    assert tape.signal.sum() == RATE // 4
    tape.lay(np.ones(RATE), at=2.0)
    assert tape.signal.sum() == RATE // 4


def _loudest_hertz(sound: Signal) -> float:
    return float(np.abs(np.fft.rfft(sound)).argmax() * RATE / len(sound))
