"""Hearing: a recording -> the vector of the whole, and of each of its parts that sound different; and what sounds."""

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from models.clap.base import Clap
from service.audio.decoding import Recording
from service.audio.windows import Window
from service.captioning.frames import Frames
from service.captioning.segments import alike
from service.captioning.sounds import Sound, find_sounds
from service.captioning.working_models import WorkingModels

FloatArray = NDArray[np.float32]

# So many windows are heard between two reports.
_WINDOWS_AT_ONCE = 16
# Moments that share frames overlap by half, which costs nothing: of recordings put one behind the other aisfx alone
# found the borders so with an F of 0.94, without overlap with one of 0.90.
_HEARINGS = 2


@dataclass(frozen=True)
class Part:
    """A stretch of a recording that sounds the same throughout: seconds, and its unit vector [d]."""

    start: float
    end: float
    vector: FloatArray


@dataclass(frozen=True)
class Heard:
    """A recording as the CLAP hears it.

    Attributes:
        clip: unit vector of the whole [d].
        parts: in order, without gap; at least one.
        sounds: what stands out, apart from any domain; none unless parts were wanted.
    """

    clip: FloatArray
    parts: tuple[Part, ...]
    sounds: tuple[Sound, ...] = ()


@dataclass(frozen=True)
class Plan:
    """The windows to be heard, all but silent ones.

    Attributes:
        windows: each is heard once. Those of the whole come first, in the CLAP's own windows.
        whole: how many these are.
        moments: stretches that are compared with their neighbours, in order; none when no parts are wanted.
        duration: of the recording in seconds.
        silent: whether there was nothing but silence to be heard.
    """

    windows: list[Window]
    whole: int
    moments: list[Window]
    duration: float
    silent: bool = False

    @property
    def in_time(self) -> slice:
        """Of the windows, those that tell what is heard when: the shortest ones."""
        return slice(self.whole if len(self.windows) > self.whole else 0, None)


def plan(recording: Recording, clap: Clap, moment_seconds: float = math.inf) -> Plan:
    """Cut a recording into what is to be heard: the windows of the whole, whatever else is wanted.

    A CLAP whose frames are shorter than moments hears nothing twice. One that hears windows as a whole hears shorter
    moments by themselves, one beside the other.

    Args:
        recording: what is heard.
        clap: hears it.
        moment_seconds: longest stretch that parts are made of, at most the CLAP's window. Infinite when no parts are
            wanted.
    """
    audible = _audible(recording.cut(clap.window_seconds))
    whole, silent = audible, audible[0].silent
    if math.isinf(moment_seconds):
        return Plan(whole, len(whole), [], recording.duration, silent)
    longest = min(moment_seconds, clap.window_seconds)
    in_frames = clap.frame_seconds < longest
    moments = _audible(recording.cut(longest, _HEARINGS if in_frames else 1))
    by_themselves = not in_frames and longest < clap.window_seconds and len(moments) > 1
    windows = [*whole, *moments] if by_themselves else whole
    return Plan(windows, len(whole), moments, recording.duration, silent)


def _audible(windows: list[Window]) -> list[Window]:
    """Those that are not silent, or all where there are no others: what is heard in silence would be nobody's sound."""
    return [one for one in windows if not one.silent] or windows


async def hear(
    planned: Plan, clap: Clap, models: WorkingModels, similarity: float, deadline: float, tell: Callable[[int], None]
) -> Heard:
    """Hear what is planned, and join neighbouring moments whose cosine is at least `similarity`.

    Silence belongs to the part before it.

    Args:
        planned: the windows.
        clap: that it is planned for.
        models: hear with that CLAP.
        similarity: see `service.captioning.segments.alike`.
        deadline: see `service.batching.batcher.Batcher.run`, as for what is raised.
        tell: is told how many more windows are heard.
    """
    frames: list[FloatArray] = []
    for start in range(0, len(planned.windows), _WINDOWS_AT_ONCE):
        piece = planned.windows[start : start + _WINDOWS_AT_ONCE]
        frames += await models.hear([one.samples for one in piece], deadline)
        tell(len(piece))
    return await asyncio.to_thread(_made_of, frames, planned, clap, similarity)


def _made_of(heard: Sequence[FloatArray], planned: Plan, clap: Clap, similarity: float) -> Heard:
    """The recording of which these are the frames, window by window."""
    [clip] = clap.embed_frames([np.concatenate(heard[: planned.whole])])
    if not planned.moments:
        return Heard(clip, (Part(0.0, planned.duration, clip),))
    frames = Frames.of(planned.windows[planned.in_time], heard[planned.in_time])
    sounds: tuple[Sound, ...] = ()
    if clap.sound_names and not planned.silent:
        sounds = find_sounds(frames, clap.score_sounds(frames.features), clap.sound_names)
    return Heard(clip, _parts(frames, planned, clap, similarity), sounds)


def _parts(frames: Frames, planned: Plan, clap: Clap, similarity: float) -> tuple[Part, ...]:
    moments = planned.moments
    vectors = clap.embed_frames([frames.features[frames.within(one.heard_from, one.heard_to)] for one in moments])
    groups = alike(vectors, similarity)
    # Moments overlap in what they hear and not in the time they speak for, so a frame is of one part.
    spoken = [
        np.concatenate([frames.features[frames.within(one.start, one.end)] for one in moments[g]]) for g in groups
    ]
    edges = [0.0, *(moments[one.start].start for one in groups[1:]), planned.duration]
    return tuple(
        Part(start, end, vector)
        for (start, end), vector in zip(pairwise(edges), clap.embed_frames(spoken), strict=True)
    )
