"""What the alignment is trained on: the clips that may be shipped, and the captions written for what they hold.

Knows which sets are trained on, which only measure, and the sentences in ``labels.json``, ``categories.json`` and
``classes.json``.
"""

import csv
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
import soundfile
import soxr

from models.clap.aisfx import SAMPLE_RATE
from models.vectors import FloatArray

# Sets whose licences allow weights trained on them to be shipped, see docs/alignment.md.
SHIPPABLE = frozenset({"esc10", "tuxpaint", "moodist", "blanket", "muges", "mimii_valve"})


@dataclass(frozen=True)
class Clip:
    """One recording of the list."""

    path: Path
    collection: str
    split: str
    label: str
    captions: tuple[str, ...]
    licence: str


@dataclass(frozen=True)
class Label:
    """What a label sounds like: `group` joins labels of one kind of sound, so that folds never split a kind."""

    group: str
    captions: tuple[str, ...]


@dataclass(frozen=True)
class SoundClass:
    """A class of YAMNet in our words.

    Attributes:
        name: of AudioSet.
        sentences: captions of that sound alone.
        phrases: a clause and a participle, to be joined with those of other classes.
    """

    name: str
    sentences: tuple[str, ...]
    phrases: tuple[str, str]


def read_clips(path: Path) -> list[Clip]:
    """Read ``audio.csv``; files are relative to its folder. Raises OSError, or KeyError for a missing column."""
    with path.open(newline="", encoding="utf-8") as stream:
        return [
            Clip(
                path=path.parent / row["file"],
                collection=row["set"],
                split=row["split"],
                label=row["label"],
                captions=tuple(json.loads(row["captions_json"])) if row["captions_json"] else (),
                licence=row["licence"],
            )
            for row in csv.DictReader(stream)
        ]


def training_clips(clips: Iterable[Clip], labels: dict[str, Label]) -> list[Clip]:
    """The clips trained on: of a shippable set, in its train split, with a label that says what is heard."""
    return [c for c in clips if c.split == "train" and c.collection in SHIPPABLE and c.label in labels]


def read_labels() -> dict[str, Label]:
    """By label its group and the captions written for it."""
    table = json.loads(_resource("labels.json"))
    return {name: Label(entry["group"], tuple(entry["captions"])) for name, entry in table.items()}


def read_categories() -> dict[str, tuple[str, ...]]:
    """By UCS category the sentences that say what it sounds like."""
    return {name: tuple(sentences) for name, sentences in json.loads(_resource("categories.json")).items()}


def read_classes() -> list[SoundClass]:
    """The classes of YAMNet in its order."""
    table = json.loads(_resource("classes.json"))
    return [SoundClass(one["name"], tuple(one["sentences"]), tuple(one["phrases"])) for one in table]


def read_audio(path: Path) -> FloatArray:
    """A file -> mono float32 [samples] at `SAMPLE_RATE`. Raises OSError or soundfile's error if it cannot be read."""
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    mono = samples.mean(axis=1)
    resampled = soxr.resample(mono, rate, SAMPLE_RATE) if rate != SAMPLE_RATE else mono
    return np.ascontiguousarray(resampled, dtype=np.float32)


def windows(samples: FloatArray, seconds: float) -> Iterator[FloatArray]:
    """Cut as the service does: windows of `seconds`; a rest under 0.1 s is dropped unless it is all there is."""
    length = round(seconds * SAMPLE_RATE)
    for start in range(0, len(samples), length):
        part = samples[start : start + length]
        if start == 0 or len(part) >= SAMPLE_RATE // 10:
            yield part


def _resource(name: str) -> str:
    return (files("research.alignment") / name).read_text(encoding="utf-8")
