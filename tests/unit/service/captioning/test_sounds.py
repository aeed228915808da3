from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from service.audio.windows import cut
from service.captioning.frames import TimedFrames
from service.captioning.sounds import Sound, TimeSpan, find_sounds


def frames(count: int, seconds: float = 0.5) -> TimedFrames:
    edges = np.arange(count + 1) * seconds
    return TimedFrames(np.zeros((count, 1), np.float32), edges[:-1], edges[1:])


def scores(*rows: Sequence[float]) -> NDArray[np.float32]:
    """A row a name."""
    return np.array(rows, np.float32).T


def found(*rows: Sequence[float], names: Sequence[str] = ("dog bark",)) -> tuple[Sound, ...]:
    return find_sounds(frames(len(rows[0])), scores(*rows), names)


def spans(*row: float) -> list[tuple[float, float]]:
    return [(one.start, one.end) for sound in found(row) for one in sound.spans]


def test_a_sound_is_told_with_its_largest_score_and_the_seconds_it_sounds_in() -> None:
    [sound] = found([0.0, 0.5, 0.875, 0.0])
    assert sound == Sound("dog bark", 0.875, (TimeSpan(0.5, 1.5),))


def test_what_fades_in_and_out_belongs_to_the_span_and_alone_is_none() -> None:
    assert spans(0.2, 0.2, 0.4, 0.2, 0.1) == [(0.0, 2.0)]
    assert spans(0.4, 0.0, 0.0, 0.2, 0.2) == [(0.0, 0.5)]
    assert spans(0.2, 0.29, 0.2) == []


def test_pauses_shorter_than_a_second_are_closed() -> None:
    assert spans(0.4, 0.0, 0.4, 0.0, 0.0, 0.4) == [(0.0, 1.5), (2.5, 3.0)]


def test_what_was_left_out_as_silent_interrupts_a_span() -> None:
    before, after = frames(2), frames(2)
    apart = TimedFrames(
        np.zeros((4, 1), np.float32),
        np.concatenate([before.starts, after.starts + 5]),
        np.concatenate([before.ends, after.ends + 5]),
    )
    [sound] = find_sounds(apart, scores([0.5, 0.2, 0.2, 0.2]), ["rain"])
    assert sound.spans == (TimeSpan(0.0, 1.0),)


def test_two_kinds_of_one_label_are_one_sound_with_the_larger_score() -> None:
    [sound] = found([0.5, 0.0, 0.0], [0.0, 0.75, 0.0], names=["dog bark", "dog bark"])
    assert sound == Sound("dog bark", 0.75, (TimeSpan(0.0, 1.0),))


def test_the_surest_sounds_come_first_and_at_most_twelve_are_told() -> None:
    names = [f"sound {number}" for number in range(20)]
    told = found(*[[0.3 + 0.02 * number] for number in range(20)], names=names)
    assert [one.name for one in told] == [f"sound {number}" for number in range(19, 7, -1)]


def test_silence_is_nothing_heard() -> None:
    assert found([0.9, 0.9], names=["silence"]) == ()


def test_no_names_and_no_frames_are_no_sounds() -> None:
    assert find_sounds(frames(3), np.zeros((3, 0), np.float32), []) == ()
    assert find_sounds(frames(0), np.zeros((0, 1), np.float32), ["rain"]) == ()


def test_frames_are_spaced_evenly_over_their_windows() -> None:
    windows = cut(np.ones(40, np.float32), 4.0, 20)
    heard = [np.ones((4, 3), np.float32), np.zeros((1, 3), np.float32)]
    timed = TimedFrames.of(windows, heard)
    assert timed.starts.tolist() == [0.0, 0.5, 1.0, 1.5, 2.0]
    assert timed.ends.tolist() == [0.5, 1.0, 1.5, 2.0, 4.0]
    assert timed.features.shape == (5, 3)


def test_a_frame_lies_where_its_middle_does_and_no_stretch_is_without_one() -> None:
    timed = frames(4)
    assert timed.within(0.0, 1.0) == slice(0, 2)
    assert timed.within(0.2, 0.8) == slice(0, 2)
    assert timed.within(0.3, 0.6) == slice(1, 2)
    assert timed.within(1.9, 2.0) == slice(3, 4)
