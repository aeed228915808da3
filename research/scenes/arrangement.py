"""Arranges the sounds of a scene in time and loudness, and mixes them."""

from collections.abc import Sequence
from enum import StrEnum

import numpy as np

from research.scenes.sounds import CHARACTERS, RATE, Kind, Samples, Source, fitted

PEAK = 10 ** (-3 / 20)
"""Peak of every scene: -3 dBFS."""

SECONDS = (6.0, 12.0)
"""Shortest and longest scene, in seconds."""

_BEHIND_DB = (6.0, 12.0)
_FADE = RATE // 10
# 66 dB under full scale: no recording has digital silence in its pauses.
_FLOOR = 0.0005


class Arrangement(StrEnum):
    """The relation of a scene's sounds. They are listed in time, then from the foreground to the background."""

    ALONE = "alone"
    TOGETHER = "together"
    BACKGROUND = "background"
    SEQUENCE = "sequence"
    SEQUENCE_OF_THREE = "sequence of three"
    SEQUENCE_OVER = "sequence over background"
    TOGETHER_THEN = "together, then"

    @property
    def sounds(self) -> int:
        """Number of sounds in such a scene."""
        return _SOUNDS[self]

    def written(self, sounds: Sequence[str]) -> str:
        """Return the sounds joined by `>` for "then", `+` for "together with" and `/` for "in front of"."""
        return _WRITTEN[self].format(*sounds)


_SOUNDS = {
    Arrangement.ALONE: 1,
    Arrangement.TOGETHER: 2,
    Arrangement.BACKGROUND: 2,
    Arrangement.SEQUENCE: 2,
    Arrangement.SEQUENCE_OF_THREE: 3,
    Arrangement.SEQUENCE_OVER: 3,
    Arrangement.TOGETHER_THEN: 3,
}
_WRITTEN = {
    Arrangement.ALONE: "{}",
    Arrangement.TOGETHER: "{} + {}",
    Arrangement.BACKGROUND: "{} / {}",
    Arrangement.SEQUENCE: "{} > {}",
    Arrangement.SEQUENCE_OF_THREE: "{} > {} > {}",
    Arrangement.SEQUENCE_OVER: "({} > {}) / {}",
    Arrangement.TOGETHER_THEN: "({} + {}) > {}",
}


def allows(arrangement: Arrangement, sounds: Sequence[str]) -> bool:
    """Return whether a listener can tell these sounds apart; they may be fewer than the arrangement has."""
    if len(set(sounds)) < len(sounds) or {"rain", "thunderstorm"} <= set(sounds):
        # The thunderstorm contains rain.
        return False
    kinds = [CHARACTERS[sound].kind for sound in sounds]
    full = len(sounds) == arrangement.sounds
    if arrangement is Arrangement.TOGETHER:
        return kinds.count(Kind.BED) <= 1
    if arrangement is Arrangement.BACKGROUND:
        return kinds.count(Kind.BED) <= 1 and kinds.count(Kind.SMALL) <= 1
    if arrangement is Arrangement.SEQUENCE_OVER:
        return kinds.count(Kind.BED) <= 1 and (not full or Kind.BED in kinds)
    if arrangement is Arrangement.TOGETHER_THEN:
        return kinds.count(Kind.BED) <= 2
    return True


def ordered(arrangement: Arrangement, sources: Sequence[Source], rng: np.random.Generator) -> list[Source]:
    """Return the sources in an order that the arrangement allows, drawn at random."""
    shuffled = [sources[index] for index in rng.permutation(len(sources))]
    if arrangement in (Arrangement.BACKGROUND, Arrangement.SEQUENCE_OVER):
        shuffled.sort(key=lambda source: CHARACTERS[source.sound].kind)
    elif arrangement is Arrangement.TOGETHER_THEN:
        # Two sounds that cover each other never play together: one of them comes last.
        shuffled.sort(key=lambda source: CHARACTERS[source.sound].kind is Kind.BED)
    return shuffled


def mixed(arrangement: Arrangement, sources: Sequence[Source], rng: np.random.Generator) -> Samples:
    """Mix the scene: float64 [samples] at `RATE`, 6 to 12 s, with a peak of `PEAK`."""
    shortest = 8.5 if arrangement is Arrangement.SEQUENCE_OF_THREE else SECONDS[0]
    length = round(float(rng.uniform(shortest, SECONDS[1])) * RATE)
    behind = 10 ** (-float(rng.uniform(*_BEHIND_DB)) / 20)
    if arrangement in (Arrangement.SEQUENCE, Arrangement.SEQUENCE_OF_THREE):
        scene = _one_after_another([[source] for source in sources], length, rng)
    elif arrangement is Arrangement.SEQUENCE_OVER:
        scene = _one_after_another([[source] for source in sources[:2]], length, rng)
        scene = scene + behind * _part(sources[2], length, rng)
    elif arrangement is Arrangement.TOGETHER_THEN:
        scene = _one_after_another([sources[:2], sources[2:]], length, rng)
    else:
        scene = _part(sources[0], length, rng)
        for source in sources[1:]:
            gain = behind if arrangement is Arrangement.BACKGROUND else 1.0
            scene = scene + gain * _part(source, length, rng)
    scene = scene * (PEAK / float(np.abs(scene).max())) + rng.normal(0.0, _FLOOR, size=length)
    return np.asarray(scene * (PEAK / float(np.abs(scene).max())))


def _part(source: Source, length: int, rng: np.random.Generator) -> Samples:
    """Return one sound of `length` samples, faded at both ends."""
    part = fitted(source, length, rng).copy()
    ramp = np.sin(np.linspace(0, np.pi / 2, _FADE))
    part[:_FADE] *= ramp
    part[-_FADE:] *= ramp[::-1]
    return part


def _one_after_another(steps: Sequence[Sequence[Source]], length: int, rng: np.random.Generator) -> Samples:
    """Join steps of one or more simultaneous sounds; their lengths differ by at most a fifth.

    Neighbouring steps overlap or have a pause between them.
    """
    weights = rng.uniform(0.9, 1.1, size=len(steps))
    ends = np.round(np.cumsum(weights / weights.sum()) * length).astype(int)
    scene = np.zeros(length)
    start = 0
    for number, (step, end) in enumerate(zip(steps, ends, strict=True)):
        # Before every step but the first the sounds overlap by 0.1 to 0.3 s, or pause for as long.
        shift = round(float(rng.uniform(0.1, 0.3)) * RATE) * int(rng.choice([-1, 1])) if number else 0
        for source in step:
            scene[start + shift : end] += _part(source, int(end) - start - shift, rng)
        start = int(end)
    return scene
