"""The front end: the extractor of transformers and the window filling of LAION, without their chance."""

import numpy as np
import pytest
import torch

from models.clap.mel import LogMel, MelSettings, fill_windows
from tests.clap_backends import sounds


@pytest.mark.parametrize(("truncation", "scale"), [("rand_trunc", "slaney"), ("fusion", "htk")])
def test_it_equals_the_extractor_of_transformers(truncation: str, scale: str) -> None:
    from transformers import ClapFeatureExtractor

    extractor = ClapFeatureExtractor(frequency_min=50, frequency_max=14_000, truncation=truncation)
    theirs = extractor(sounds(48_000), sampling_rate=48_000, return_tensors="np")["input_features"][:, :1]
    settings = MelSettings(scale=scale)  # type: ignore[arg-type]
    ours = LogMel(settings)(fill_windows(sounds(48_000), settings.samples)).numpy()
    assert ours.shape == theirs.shape == (3, 1, 1001, 64)
    np.testing.assert_allclose(ours, theirs, atol=1e-3)


def test_a_tone_is_loudest_in_the_band_that_holds_it() -> None:
    settings = MelSettings(sample_rate=32_000, hop=320)
    tone = np.sin(2 * np.pi * 1000 * np.arange(32_000) / 32_000).astype(np.float32)
    mel = LogMel(settings)(fill_windows([tone], settings.samples))[0, 0]
    # Slaney's scale from 50 Hz (0.75) to 14 kHz (54.1) has 1 kHz at 15: 64 bands between, so the 17th.
    assert int(mel.mean(dim=0).argmax()) == 17


def test_a_short_window_is_repeated_whole_times_and_silence_fills_the_rest() -> None:
    filled = fill_windows([np.asarray([1.0, 2.0, 3.0], np.float32), np.ones(7, np.float32)], 8)
    assert filled.tolist() == [[1, 2, 3, 1, 2, 3, 0, 0], [1, 1, 1, 1, 1, 1, 1, 0]]


def test_nothing_is_told_apart_below_the_floor() -> None:
    quiet = LogMel(MelSettings(floor=1e-6))(torch.zeros(1, 4800))
    assert torch.equal(quiet, torch.full_like(quiet, -60.0))
