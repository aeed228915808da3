"""Hearing: a recording -> the vector of the whole, and of each of its parts that sound different."""

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.directions import mean_direction
from service.audio.decoding import Recording
from service.audio.windows import Window
from service.captioning.models import WorkingModels
from service.captioning.segments import alike

FloatArray = NDArray[np.float32]

# So many windows are heard between two reports.
_WINDOWS_AT_ONCE = 16
# Windows of moments overlap by half. Of recordings put one behind the other, some thirty in ten minutes, the embedded
# bundle then finds the borders with an F of 0.94 (purity 0.95, coverage 0.93), without overlap with one of 0.90: with
# windows of 4.5 s (two blocks of its audio tower) and a cosine of 0.65. Cosines of 0.6 to 0.75 or 5 s lose 0.01.
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
        clip: unit vector of the whole [d]: the renormalised mean of its windows.
        parts: in order, without gap; at least one.
    """

    clip: FloatArray
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Plan:
    """The windows to be heard, all but silent ones.

    Attributes:
        windows: each once.
        clip: numbers of those that the whole is made of.
        moments: numbers of those that parts are made of, in order; they overlap.
        duration: of the recording in seconds.
    """

    windows: list[Window]
    clip: list[int]
    moments: list[int]
    duration: float


def plan(recording: Recording, window_seconds: float, moment_seconds: float = math.inf) -> Plan:
    """Cut a recording into what is to be heard.

    Args:
        recording: what is heard.
        window_seconds: the longest window of the CLAP.
        moment_seconds: longest window that parts are made of; longer ones are as long as the CLAP's. Infinite when no
            parts are wanted.
    """
    whole = recording.cut(window_seconds)
    moments = [] if math.isinf(moment_seconds) else recording.cut(min(moment_seconds, window_seconds), _HEARINGS)
    if len(moments) <= 1:
        windows, clip, parted = whole, set(range(len(whole))), set[int]()
    elif moment_seconds >= window_seconds:
        windows, clip, parted = moments, set(range(0, len(moments), _HEARINGS)), set(range(len(moments)))
    else:
        windows = whole + moments
        clip, parted = set(range(len(whole))), set(range(len(whole), len(windows)))
    # What is heard in silence would be nobody's sound.
    kept = [number for number, one in enumerate(windows) if not one.silent] or list(range(len(windows)))
    return Plan(
        [windows[number] for number in kept],
        [row for row, number in enumerate(kept) if number in clip],
        [row for row, number in enumerate(kept) if number in parted],
        recording.duration,
    )


async def hear(
    planned: Plan, models: WorkingModels, similarity: float, deadline: float, tell: Callable[[int], None]
) -> Heard:
    """Hear what is planned, and join neighbouring moments whose cosine is at least `similarity`.

    Silence belongs to the part before it.

    Args:
        planned: the windows.
        models: that hear.
        similarity: see `service.captioning.segments.alike`.
        deadline: see `service.batching.batcher.Batcher.run`, as for what is raised.
        tell: is told how many more windows are heard.
    """
    pieces = []
    for start in range(0, len(planned.windows), _WINDOWS_AT_ONCE):
        piece = planned.windows[start : start + _WINDOWS_AT_ONCE]
        pieces.append(await models.embed_audio([one.samples for one in piece], deadline))
        tell(len(piece))
    vectors = np.concatenate(pieces)
    clip = mean_direction(vectors[planned.clip])
    if not planned.moments:
        return Heard(clip, (Part(0.0, planned.duration, clip),))
    moments = vectors[planned.moments]
    groups = await asyncio.to_thread(alike, moments, similarity)
    starts = [0.0, *(planned.windows[planned.moments[one.start]].start for one in groups[1:])]
    parts = zip(starts, [*starts[1:], planned.duration], groups, strict=True)
    return Heard(clip, tuple(Part(start, end, mean_direction(moments[one])) for start, end, one in parts))
