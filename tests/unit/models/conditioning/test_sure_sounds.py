import numpy as np

from models.conditioning.sure_sounds import sure_sounds
from models.vectors import FloatArray

NAMES = ("dog", "bark", "rain", "silence", "siren", "bark")


def scores(**frames: list[float]) -> FloatArray:
    length = len(next(iter(frames.values())))
    return np.array([frames.get(name, [0.0] * length) for name in NAMES[:5]] + [[0.0] * length], np.float32).T


def test_sounds_that_follow_each_other_are_in_groups_of_their_own() -> None:
    heard = scores(siren=[0, 0, 0, 0.9], dog=[0.8, 0.2, 0, 0], bark=[0.9, 0, 0, 0])
    assert sure_sounds(heard, NAMES) == (("bark", "dog"), ("siren",))


def test_a_sound_that_lasts_joins_what_it_overlaps() -> None:
    heard = scores(rain=[0.4, 0.2, 0.2, 0.5], dog=[0, 0.9, 0, 0], siren=[0, 0, 0, 0.7])
    assert sure_sounds(heard, NAMES) == (("dog", "siren", "rain"),)


def test_what_is_not_sure_and_silence_are_not_named() -> None:
    assert sure_sounds(scores(dog=[0.29, 0.2], silence=[0.9, 0.9]), NAMES) == ()


def test_a_name_stands_once_and_at_most_four_stand() -> None:
    twice = np.tile(np.array([[0.9, 0.8, 0.7, 0.9, 0.6, 0.85]], np.float32), (2, 1))
    assert sure_sounds(twice, NAMES) == (("dog", "bark", "rain", "siren"),)
    many = np.full((2, 9), 0.5, np.float32)
    assert len(sure_sounds(many, [f"kind {i}" for i in range(9)])[0]) == 4


def test_without_names_nothing_is_sure() -> None:
    assert sure_sounds(np.zeros((3, 0), np.float32), ()) == ()
