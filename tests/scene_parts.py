"""Sines in place of the sounds of scenes."""

import numpy as np

from research.scenes.sounds import (
    CHARACTERS,
    RATE,
    Samples,
    Source,
    active_loudness,
)
from tests.recordings import tone

_HERTZ = {sound: 200.0 * (number + 1) for number, sound in enumerate(CHARACTERS)}


def scene_source(sound: str, seconds: float = 1.0, number: int = 0) -> Source:
    """A sine with an active loudness of 1, with another frequency for each sound."""
    samples = tone(seconds, RATE, _HERTZ[sound]).astype(np.float64)
    return Source(sound, f"{sound} {number}", samples / active_loudness(samples))


def scene_sources(each: int = 2) -> list[Source]:
    return [scene_source(sound, number=number) for sound in CHARACTERS for number in range(each)]


def share_of(samples: Samples, sound: str) -> float:
    """Root mean square of the sine in place of the sound."""
    time = np.arange(len(samples)) / RATE
    return float(np.sqrt(2) * np.abs(np.mean(samples * np.exp(-2j * np.pi * _HERTZ[sound] * time))))
