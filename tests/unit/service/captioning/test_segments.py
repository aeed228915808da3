from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from service.captioning.segments import Segment, Timeline, group_alike

EAST, NORTH, WEST = (1.0, 0.0), (0.0, 1.0), (-1.0, 0.0)
NEARLY_EAST = (0.96, 0.28)


def directions(*vectors: tuple[float, float]) -> NDArray[np.float32]:
    return np.array(vectors, dtype=np.float32)


def rows(groups: list[slice]) -> list[tuple[int, int]]:
    return [(one.start, one.stop) for one in groups]


def test_what_follows_each_other_and_sounds_alike_is_one_group() -> None:
    heard = directions(EAST, NEARLY_EAST, NORTH, NORTH, EAST)
    assert rows(group_alike(heard, 0.7)) == [(0, 2), (2, 4), (4, 5)]


def test_the_same_sound_throughout_is_one_group() -> None:
    assert rows(group_alike(directions(*[EAST, NEARLY_EAST] * 50), 0.7)) == [(0, 100)]


def test_a_slow_change_is_not_followed_step_by_step() -> None:
    angles = np.linspace(0, np.pi, 40)
    heard = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    assert (heard[1:] * heard[:-1]).sum(axis=1).min() > 0.99
    assert 2 <= len(group_alike(heard, 0.7)) <= 4


def test_the_most_alike_are_joined_first() -> None:
    between = (0.8, 0.6)
    assert rows(group_alike(directions(NORTH, between, EAST), 0.7)) == [(0, 1), (1, 3)]
    assert rows(group_alike(directions(EAST, between, NORTH), 0.7)) == [(0, 2), (2, 3)]


def test_opposite_sounds_are_joined_by_no_similarity() -> None:
    assert rows(group_alike(directions(EAST, WEST, EAST), -0.5)) == [(0, 1), (1, 2), (2, 3)]
    assert rows(group_alike(directions(EAST), 0.7)) == [(0, 1)]


@given(st.integers(1, 40), st.integers(0, 1000), st.floats(-1, 1))
def test_groups_hold_every_row_once_and_their_neighbours_are_unlike(count: int, seed: int, similarity: float) -> None:
    heard = np.random.default_rng(seed).normal(size=(count, 3)).astype(np.float32)
    heard /= np.linalg.norm(heard, axis=1, keepdims=True)
    groups = group_alike(heard, similarity)
    assert [row for one in groups for row in range(count)[one]] == list(range(count))
    sums = [heard[one].astype(np.float64).sum(axis=0) for one in groups]
    for one, other in pairwise(sums):
        assert one @ other / (np.linalg.norm(one) * np.linalg.norm(other)) < similarity + 1e-9


def test_segments_with_one_caption_become_one_when_they_follow_each_other() -> None:
    timeline = Timeline()
    rain, more, bell = Segment(0, 2, "rain"), Segment(2, 3, "rain"), Segment(3, 5, "bell")
    assert timeline.add([rain]) == ()
    assert timeline.add([more]) == ()
    assert timeline.add([bell]) == (Segment(0, 3, "rain"),)
    assert timeline.rest == (bell,)
    assert timeline.segments == (Segment(0, 3, "rain"), bell)


@pytest.mark.parametrize("size", [1, 2, 7])
def test_what_is_told_bit_by_bit_is_all_of_it(size: int) -> None:
    words = ["a", "a", "b", "c", "c", "c", "a", "b", "b", "b"]
    given_ones = [Segment(float(at), float(at + 1), word) for at, word in enumerate(words)]
    timeline = Timeline()
    told: list[Segment] = []
    for start in range(0, len(given_ones), size):
        told += timeline.add(given_ones[start : start + size])
    told += timeline.rest
    assert tuple(told) == timeline.segments
    assert [one.caption for one in told] == ["a", "b", "c", "a", "b"]
    assert [(one.start, one.end) for one in told] == [(0, 2), (2, 3), (3, 6), (6, 7), (7, 10)]
