"""The sounds of scenes: held-out clips and new renderings, trimmed, levelled and fitted to a length."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from examples.make_audio import SEED, rendered
from research.alignment.recordings import read_clips

Samples = NDArray[np.float64]

RATE = 44_100
"""Samples per second of every scene."""

_FRAME = RATE // 20
# A frame this far below the loudest one is silence at an end of the sound, or does not count in its loudness.
_TRIM_DB = 35.0
_ACTIVE_DB = 20.0
_LOOP_FADE = RATE // 4
_EDGE_FADE = RATE // 50


class SceneError(ValueError):
    """A sound cannot be used in scenes; the message names it and the reason."""


class Kind(IntEnum):
    """How much a sound covers others: a larger kind may lie behind a smaller one, never the reverse."""

    SMALL = 0
    CALL = 1
    BED = 2


@dataclass(frozen=True)
class Character:
    """How sounds of a class behave: `lasting` sounds are looped without a pause, others are repeated events."""

    kind: Kind
    lasting: bool


CHARACTERS: Mapping[str, Character] = {
    "dog bark": Character(Kind.CALL, lasting=False),
    "baby cry": Character(Kind.CALL, lasting=False),
    "rooster": Character(Kind.CALL, lasting=False),
    "person sneeze": Character(Kind.SMALL, lasting=False),
    "clock tick": Character(Kind.SMALL, lasting=True),
    "fire crackling": Character(Kind.SMALL, lasting=True),
    "rain": Character(Kind.BED, lasting=True),
    "sea waves": Character(Kind.BED, lasting=True),
    "helicopter": Character(Kind.BED, lasting=True),
    "chainsaw": Character(Kind.BED, lasting=True),
    "birds": Character(Kind.CALL, lasting=False),
    "church bell": Character(Kind.CALL, lasting=False),
    "siren": Character(Kind.CALL, lasting=True),
    "telephone": Character(Kind.CALL, lasting=False),
    "footsteps": Character(Kind.SMALL, lasting=True),
    "car engine": Character(Kind.BED, lasting=True),
    "thunderstorm": Character(Kind.BED, lasting=True),
    "wind": Character(Kind.BED, lasting=True),
}
"""The character of each sound class; `research.scenes.phrases` has the words for it."""

RENDERED: Mapping[str, str] = {
    "birds": "birds",
    "church bell": "church-bell",
    "siren": "siren",
    "telephone": "telephone",
    "footsteps": "footsteps",
    "car engine": "engine",
    "thunderstorm": "thunder",
    "wind": "wind",
}
"""Sound class -> recipe of `examples`, for the classes without recordings."""


@dataclass(frozen=True)
class Source:
    """One clip, ready for use in scenes.

    Attributes:
        sound: its class, a key of `CHARACTERS`.
        name: of the file or rendering it comes from.
        samples: float64 [n] at `RATE`, trimmed, with an active loudness of 1.
    """

    sound: str
    name: str
    samples: Samples


def held_out_sources(audio_csv: Path) -> list[Source]:
    """Return the ESC-10 clips of the dev split; none was trained on.

    Raises:
        SceneError: the list or a clip is missing or cannot be read, or no clip is left.
    """
    try:
        clips = [c for c in read_clips(audio_csv) if c.collection == "esc10" and c.split == "dev"]
    except OSError as error:
        raise SceneError(f"{audio_csv}: {error.strerror}") from None
    except KeyError as error:
        raise SceneError(f"{audio_csv}: no column {error}") from None
    if not clips:
        raise SceneError(f"{audio_csv}: no clip of the set esc10 in the split dev")
    for clip in clips:
        if clip.label not in CHARACTERS:
            raise SceneError(f"{clip.path}: no phrases for the label {clip.label!r}")
    return [Source(clip.label, clip.path.name, _prepared(_read(clip.path), clip.path.name)) for clip in clips]


def rendered_sources(variants: int, sounds: Collection[str] = tuple(RENDERED)) -> Iterator[Source]:
    """Yield `variants` new renderings of each sample sound; they differ from the recordings in `examples`."""
    for sound in sounds:
        for seed in range(SEED + 1, SEED + 1 + variants):
            name = f"{RENDERED[sound]}, seed {seed}"
            yield Source(sound, name, _prepared(rendered(RENDERED[sound], seed), name))


def trimmed(samples: Samples) -> Samples:
    """Return the samples without silence at both ends; empty if all is silence."""
    loud = np.flatnonzero(_heard(samples, _TRIM_DB))
    return samples[loud[0] * _FRAME : (loud[-1] + 1) * _FRAME] if len(loud) else samples[:0]


def active_loudness(samples: Samples) -> float:
    """Return the root mean square of the frames at most 20 dB below the loudest; 0 for silence."""
    frames = _frames(samples)
    heard = _heard(samples, _ACTIVE_DB)
    return float(np.sqrt((frames[heard] ** 2).mean())) if heard.any() else 0.0


def fitted(source: Source, length: int, rng: np.random.Generator) -> Samples:
    """Return `length` samples of the sound: a lively part of a longer clip, else the clip looped or repeated."""
    samples = source.samples
    if len(samples) < length and CHARACTERS[source.sound].lasting:
        samples = _looped(samples, length)
    if len(samples) < length:
        return _repeated(_faded(samples, _EDGE_FADE), length, rng)
    return samples[_lively_start(samples, length, rng) :][:length]


def _read(path: Path) -> Samples:
    try:
        samples, rate = soundfile.read(path, dtype="float64", always_2d=True)
    except (OSError, soundfile.LibsndfileError) as error:
        raise SceneError(f"{path}: cannot be read: {error}") from None
    return np.asarray(soxr.resample(samples.mean(axis=1), rate, RATE), dtype=np.float64)


def _prepared(samples: Samples, name: str) -> Samples:
    sound = trimmed(samples)
    loudness = active_loudness(sound)
    if not loudness > 0:
        raise SceneError(f"{name}: nothing to hear")
    return sound / loudness


def _frames(samples: Samples) -> Samples:
    return np.pad(samples, (0, -len(samples) % _FRAME)).reshape(-1, _FRAME)


def _heard(samples: Samples, below_db: float) -> NDArray[np.bool_]:
    """Return for each frame whether it is at most `below_db` under the loudest; digital silence is never heard."""
    level = np.sqrt((_frames(samples) ** 2).mean(axis=1))
    return np.asarray((level >= level.max(initial=0.0) * 10 ** (-below_db / 20)) & (level > 0))


def _lively_start(samples: Samples, length: int, rng: np.random.Generator) -> int:
    """Return a random start of a part with at least 90% of the activity of the liveliest part."""
    heard = np.cumsum(np.concatenate([[0], _heard(samples, _ACTIVE_DB)]))
    width = length // _FRAME
    share = heard[width:] - heard[:-width]
    starts = np.flatnonzero(share >= 0.9 * share.max()) * _FRAME
    return int(min(rng.choice(starts), len(samples) - length))


def _looped(samples: Samples, length: int) -> Samples:
    fade = min(_LOOP_FADE, len(samples) // 3)
    rise = np.sin(np.linspace(0, np.pi / 2, fade))
    whole = samples
    while len(whole) < length:
        joint = whole[-fade:] * rise[::-1] + samples[:fade] * rise
        whole = np.concatenate([whole[:-fade], joint, samples[fade:]])
    return whole


def _repeated(event: Samples, length: int, rng: np.random.Generator) -> Samples:
    """Repeat the event over the length: a short event starts every one to two seconds."""
    pause = max(round(rng.uniform(1.0, 2.0) * RATE) - len(event), round(rng.uniform(0.3, 0.7) * RATE))
    times = max(1, (length + pause) // (len(event) + pause))
    weights = rng.uniform(0.7, 1.3, size=times + 1)
    # The pauses at both ends are shorter, so that a part begins and ends with its sound.
    weights[[0, -1]] *= 0.3
    pauses = np.floor(weights / weights.sum() * (length - times * len(event))).astype(int)
    whole = np.zeros(length)
    at = 0
    for before in pauses[:-1]:
        at += int(before)
        whole[at : at + len(event)] = event
        at += len(event)
    return whole


def _faded(samples: Samples, fade: int) -> Samples:
    ramp = np.linspace(0, 1, min(fade, len(samples)))
    faded = samples.copy()
    faded[: len(ramp)] *= ramp
    faded[len(faded) - len(ramp) :] *= ramp[::-1]
    return faded
