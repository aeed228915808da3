"""Hearing: a recording -> the vector of the clip, the vectors of its stretches, and the sounds in it."""

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from models.clap.base import Clap
from models.conditioning.sure_sounds import sure_sounds
from models.prompt import SoundGroups
from models.vectors import FloatArray
from service.audio.decoding import Recording
from service.audio.windows import Window
from service.captioning.batched_models import BatchedModels
from service.captioning.frames import TimedFrames
from service.captioning.segments import group_alike
from service.captioning.sounds import Sound, find_sounds

# Windows heard between two progress reports.
_WINDOWS_AT_ONCE = 16
# Segment windows that share frames overlap by half at no cost. In concatenated recordings, aisfx alone found the
# borders with an F-score of 0.94 with the overlap, and of 0.90 without.
_HEARINGS = 2


@dataclass(frozen=True)
class Stretch:
    """A stretch of a recording.

    Attributes:
        start, end: in seconds.
        vector: unit vector [d].
        named: the sounds in it that the CLAP is sure of.
    """

    start: float
    end: float
    vector: FloatArray
    named: SoundGroups = ()


@dataclass(frozen=True)
class HeardRecording:
    """The vectors and sounds of a recording.

    Attributes:
        clip: the whole recording.
        stretches: each sounds the same throughout; in order, without gaps; at least one.
        sounds: sounds that stand out, whatever the domain; empty if the plan has no segment windows.
    """

    clip: Stretch
    stretches: tuple[Stretch, ...]
    sounds: tuple[Sound, ...] = ()


@dataclass(frozen=True)
class HearingPlan:
    """The windows of a recording that the CLAP hears. Silent windows are omitted.

    Attributes:
        windows: the windows to hear, each once. Those of the clip come first and have the length that the CLAP expects.
        whole: number of windows of the clip.
        segment_windows: windows that are compared with their neighbours, in order; empty if no stretches are wanted.
        duration: seconds of the recording.
        silent: whether the whole recording is silent.
    """

    windows: list[Window]
    whole: int
    segment_windows: list[Window]
    duration: float
    silent: bool = False

    @property
    def in_time(self) -> slice:
        """Rows of the windows that show when a sound is heard: the shortest windows."""
        return slice(self.whole if len(self.windows) > self.whole else 0, None)


def plan_hearing(recording: Recording, clap: Clap, segment_seconds: float = math.inf) -> HearingPlan:
    """Cut a recording into the windows to hear. The windows of the clip are the same with and without segments.

    A CLAP whose frames are shorter than the segment windows hears nothing twice. Another CLAP hears shorter segment
    windows in addition; these do not overlap.

    Args:
        recording: the decoded recording.
        clap: the CLAP that will hear it.
        segment_seconds: largest length of a segment window; the CLAP's window is another limit. Infinite if no
            stretches are wanted.
    """
    audible = _audible(recording.cut(clap.window_seconds))
    whole, silent = audible, audible[0].silent
    if math.isinf(segment_seconds):
        return HearingPlan(whole, len(whole), [], recording.duration, silent)
    longest = min(segment_seconds, clap.window_seconds)
    in_frames = clap.frame_seconds < longest
    segment_windows = _audible(recording.cut(longest, _HEARINGS if in_frames else 1))
    by_themselves = not in_frames and longest < clap.window_seconds and len(segment_windows) > 1
    windows = [*whole, *segment_windows] if by_themselves else whole
    return HearingPlan(windows, len(whole), segment_windows, recording.duration, silent)


def _audible(windows: list[Window]) -> list[Window]:
    """Return the windows that are not silent, or all windows if all are silent: a CLAP hears sounds even in silence."""
    return [one for one in windows if not one.silent] or windows


async def hear(
    planned: HearingPlan,
    clap: Clap,
    models: BatchedModels,
    similarity: float,
    deadline: float,
    tell: Callable[[int], None],
) -> HeardRecording:
    """Hear the planned windows, and join neighbouring segment windows into stretches.

    Silence belongs to the stretch before it.

    Args:
        planned: the windows to hear.
        clap: the CLAP of the plan.
        models: the models in batches; they hear with that CLAP.
        similarity: smallest cosine of stretches that are joined; see `service.captioning.segments.group_alike`.
        deadline: monotonic seconds; see `service.batching.batcher.Batcher.run`, also for the errors.
        tell: is called with the number of windows that have just been heard.
    """
    frames: list[FloatArray] = []
    for start in range(0, len(planned.windows), _WINDOWS_AT_ONCE):
        piece = planned.windows[start : start + _WINDOWS_AT_ONCE]
        frames += await models.hear([one.samples for one in piece], deadline)
        tell(len(piece))
    return await asyncio.to_thread(_made_of, frames, planned, clap, similarity)


def _made_of(heard: Sequence[FloatArray], planned: HearingPlan, clap: Clap, similarity: float) -> HeardRecording:
    """Return the heard recording from the frames of each window [frames, features]."""
    [clip] = _as_stretches([(0.0, planned.duration)], [np.concatenate(heard[: planned.whole])], planned, clap)
    if not planned.segment_windows:
        return HeardRecording(clip, (clip,))
    frames = TimedFrames.of(planned.windows[planned.in_time], heard[planned.in_time])
    sounds: tuple[Sound, ...] = ()
    if clap.sound_names and not planned.silent:
        sounds = find_sounds(frames, clap.score_sounds(frames.features), clap.sound_names)
    return HeardRecording(clip, _stretches(frames, planned, clap, similarity), sounds)


def _stretches(frames: TimedFrames, planned: HearingPlan, clap: Clap, similarity: float) -> tuple[Stretch, ...]:
    segment_windows = planned.segment_windows
    vectors = clap.embed_frames(
        [frames.features[frames.within(one.heard_from, one.heard_to)] for one in segment_windows]
    )
    groups = group_alike(vectors, similarity)
    # Segment windows overlap in what they hear but not in the time they stand for, so each frame is in one stretch.
    spoken = [
        np.concatenate([frames.features[frames.within(one.start, one.end)] for one in segment_windows[group]])
        for group in groups
    ]
    edges = [0.0, *(segment_windows[one.start].start for one in groups[1:]), planned.duration]
    return _as_stretches(list(pairwise(edges)), spoken, planned, clap)


def _as_stretches(
    times: Sequence[tuple[float, float]], frames: Sequence[FloatArray], planned: HearingPlan, clap: Clap
) -> tuple[Stretch, ...]:
    """Return stretches with these times in seconds and frames [n, features] each."""
    named: list[SoundGroups] = [
        () if planned.silent else sure_sounds(clap.score_sounds(one), clap.sound_names) for one in frames
    ]
    return tuple(
        Stretch(start, end, vector, sounds)
        for (start, end), vector, sounds in zip(times, clap.embed_frames(frames), named, strict=True)
    )
