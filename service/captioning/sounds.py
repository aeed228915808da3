"""Sounds: the kinds of sound in a recording, whatever the domain, and when they are heard."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from models.vectors import FloatArray
from service.captioning.frames import TimedFrames

# Scores are probabilities of a classifier, or shares of a softmax over hundreds of kinds. A kind stands out from 0.3;
# adjacent frames with half of that are the same sound as it rises and fades.
_HEARD, _FADING = 0.3, 0.15
# Two barks within a second count as one stretch of barking.
_PAUSE_SECONDS = 1.0
# Adjacent frames share an edge, except for rounding.
_TOUCHING_SECONDS = 1e-3
# A longer list cannot be read at a glance.
_MOST = 12
# AudioSet has this kind, but it is not a sound.
_NOTHING = "silence"


@dataclass(frozen=True)
class TimeSpan:
    """A time span in seconds."""

    start: float
    end: float


@dataclass(frozen=True)
class Sound:
    """A kind of sound that was heard: its largest score, 0 to 1, and its times in order."""

    name: str
    score: float
    spans: tuple[TimeSpan, ...]


def find_sounds(frames: TimedFrames, scores: FloatArray, names: Sequence[str]) -> tuple[Sound, ...]:
    """Return the kinds of sound that stand out, the highest score first.

    Args:
        frames: the times of the frames.
        scores: score of each name in each frame [frames, names], 0 to 1.
        names: names of the columns. Columns with the same name are one sound with the larger score.
    """
    columns: dict[str, list[int]] = defaultdict(list)
    for column, name in enumerate(names):
        columns[name].append(column)
    found = []
    for name, own in columns.items():
        heard = scores[:, own].max(axis=1)
        if name != _NOTHING and heard.max(initial=0.0) >= _HEARD:
            found.append(Sound(name, float(heard.max()), _spans(frames, heard)))
    return tuple(sorted(found, key=lambda one: -one.score)[:_MOST])


def _spans(frames: TimedFrames, heard: FloatArray) -> tuple[TimeSpan, ...]:
    """Return when a sound with these scores [frames] is heard."""
    rows = np.flatnonzero(heard >= _FADING)
    sounding = ((TimeSpan(float(frames.starts[row]), float(frames.ends[row])), float(heard[row])) for row in rows)
    stretches = [span for span, score in _joined(sounding, _TOUCHING_SECONDS) if score >= _HEARD]
    return tuple(span for span, _ in _joined(((one, 1.0) for one in stretches), _PAUSE_SECONDS))


def _joined(spans: Iterable[tuple[TimeSpan, float]], gap: float) -> list[tuple[TimeSpan, float]]:
    """Join spans that are less than `gap` seconds apart; a joined span has the larger score. Spans are in order."""
    joined: list[tuple[TimeSpan, float]] = []
    for span, score in spans:
        if joined and span.start - joined[-1][0].end < gap:
            before, larger = joined.pop()
            span, score = TimeSpan(before.start, span.end), max(larger, score)
        joined.append((span, score))
    return joined
