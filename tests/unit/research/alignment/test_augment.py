import numpy as np
import pytest

from research.alignment.augment import low_pass, make_waveform, mix, noise


def test_examples_are_reproduced_by_their_seed() -> None:
    clips = [noise(50_000, 1.0, np.random.default_rng(n)) for n in range(3)]
    arguments = (clips, np.full(3, 1 / 3), ["a", "b", "c"], 0.5)
    first = [make_waveform(*arguments, np.random.default_rng(7)) for _ in range(2)]
    assert first[0].sources == first[1].sources
    np.testing.assert_array_equal(first[0].samples, first[1].samples)
    assert first[0].samples.dtype == np.float32


def test_a_mixture_keeps_the_wanted_distance_in_level() -> None:
    one, other = np.ones(1_000, dtype=np.float32), np.full(500, 0.01, dtype=np.float32)
    assert mix(one, other, 20.0)[:500] == pytest.approx(1.1, abs=1e-4)


def test_a_low_pass_removes_what_is_above_it() -> None:
    rough = noise(44_100, 0.0, np.random.default_rng(0))
    spectrum = np.abs(np.fft.rfft(low_pass(rough, 4_000)))
    assert spectrum[8_000:].max() < 1e-3 * spectrum[:3_000].max()
