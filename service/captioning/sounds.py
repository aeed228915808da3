"""Sounds: what was heard apart from any domain, and when."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from service.captioning.frames import FloatArray, Frames

# Scores are a classifier's probabilities or shares of a softmax over hundreds of kinds: at 0.3 one stands out, and half
# of that beside it is the same sound as it rises and fades.
_HEARD, _FADING = 0.3, 0.15
# Two barks within a second are one stretch of barking.
_PAUSE_SECONDS = 1.0
# Frames that follow each other share an edge, up to rounding.
_TOUCHING_SECONDS = 1e-3
# More are no longer read at a glance.
_MOST = 12
# AudioSet has a kind for it, and it is nothing heard.
_NOTHING = "silence"


@dataclass(frozen=True)
class Span:
    """A stretch of time in seconds."""

    start: float
    end: float


@dataclass(frozen=True)
class Sound:
    """A kind of sound that was heard: its largest score, 0 to 1, and when, in order."""

    name: str
    score: float
    spans: tuple[Span, ...]


def find_sounds(frames: Frames, scores: FloatArray, names: Sequence[str]) -> tuple[Sound, ...]:
    """The kinds of sound that stand out, the surest first.

    Args:
        frames: when.
        scores: of each frame and each name [frames, names], 0 to 1.
        names: of the columns; columns of one name are one sound, as loud as the larger score.
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


def _spans(frames: Frames, heard: FloatArray) -> tuple[Span, ...]:
    """When one sound is heard, with scores [frames]."""
    rows = np.flatnonzero(heard >= _FADING)
    sounding = ((Span(float(frames.starts[row]), float(frames.ends[row])), float(heard[row])) for row in rows)
    stretches = [span for span, score in _joined(sounding, _TOUCHING_SECONDS) if score >= _HEARD]
    return tuple(span for span, _ in _joined(((one, 1.0) for one in stretches), _PAUSE_SECONDS))


def _joined(spans: Iterable[tuple[Span, float]], gap: float) -> list[tuple[Span, float]]:
    """Spans in order, each with a score; those less than `gap` seconds apart become one with the larger score."""
    joined: list[tuple[Span, float]] = []
    for span, score in spans:
        if joined and span.start - joined[-1][0].end < gap:
            before, larger = joined.pop()
            span, score = Span(before.start, span.end), max(larger, score)
        joined.append((span, score))
    return joined
