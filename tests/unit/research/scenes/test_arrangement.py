from itertools import combinations

import numpy as np
import pytest

from research.scenes.arrangement import PEAK, SECONDS, Arrangement, allows, mixed, ordered
from research.scenes.sounds import (
    CHARACTERS,
    RATE,
    Kind,
)
from tests.scene_parts import scene_source, share_of


@pytest.mark.parametrize("arrangement", list(Arrangement))
def test_a_scene_is_6_to_12_s_long_and_peaks_at_minus_3_decibels(arrangement: Arrangement) -> None:
    names = ("dog bark", "siren", "rain")[: arrangement.sounds]
    for seed in range(4):
        samples = mixed(arrangement, [scene_source(name) for name in names], np.random.default_rng(seed))
        assert SECONDS[0] <= len(samples) / RATE <= SECONDS[1]
        assert np.abs(samples).max() == pytest.approx(PEAK)
        assert all(share_of(samples, name) > 0.01 for name in names)


def test_a_sequence_is_heard_in_its_order() -> None:
    names = ("siren", "rain", "clock tick")
    samples = mixed(Arrangement.SEQUENCE_OF_THREE, [scene_source(name) for name in names], np.random.default_rng(0))
    for third, name in zip(np.array_split(samples, 3), names, strict=True):
        assert max(names, key=lambda other: share_of(third, other)) == name


def test_sounds_together_are_equally_loud_and_a_background_is_6_to_12_decibels_lower() -> None:
    sources = [scene_source("siren"), scene_source("rain")]
    for seed in range(5):
        drops = {}
        for arrangement in (Arrangement.TOGETHER, Arrangement.BACKGROUND):
            samples = mixed(arrangement, sources, np.random.default_rng(seed))
            drops[arrangement] = 20 * np.log10(share_of(samples, "siren") / share_of(samples, "rain"))
        # Loops and fades move the level of a sine by a little.
        assert abs(drops[Arrangement.TOGETHER]) < 1.5
        assert 5 < drops[Arrangement.BACKGROUND] < 13


def test_sounds_that_cover_each_other_are_never_mixed_but_may_follow_each_other() -> None:
    assert not allows(Arrangement.TOGETHER, ("rain", "chainsaw"))
    assert not allows(Arrangement.BACKGROUND, ("clock tick", "fire crackling"))
    assert not allows(Arrangement.SEQUENCE_OVER, ("dog bark", "siren", "clock tick"))
    assert not allows(Arrangement.SEQUENCE, ("rain", "rain"))
    assert not allows(Arrangement.SEQUENCE, ("rain", "thunderstorm"))
    assert allows(Arrangement.SEQUENCE, ("rain", "chainsaw"))


def test_the_louder_kind_lies_behind_and_two_beds_do_not_overlap() -> None:
    rng = np.random.default_rng(0)
    rain, dog, wind = (scene_source(sound) for sound in ("rain", "dog bark", "wind"))
    assert ordered(Arrangement.BACKGROUND, [rain, dog], rng) == [dog, rain]
    for _ in range(5):
        assert ordered(Arrangement.TOGETHER_THEN, [rain, dog, wind], rng)[0] == dog


def test_small_sounds_are_never_the_background() -> None:
    for one, other in combinations(CHARACTERS, 2):
        if allows(Arrangement.BACKGROUND, (one, other)):
            pair = [scene_source(one), scene_source(other)]
            behind = ordered(Arrangement.BACKGROUND, pair, np.random.default_rng(0))[1]
            assert CHARACTERS[behind.sound].kind is not Kind.SMALL
