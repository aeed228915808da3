"""The recordings that the alignment is trained on and measured with, and how they are read.

Knows which sets are trained on and which only measure.
"""

import csv
import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from models.clap.aisfx import SAMPLE_RATE
from models.vectors import FloatArray

# Sets whose licences allow weights trained on them to be shipped, see docs/alignment.md.
SHIPPABLE = frozenset({"esc10", "tuxpaint", "moodist", "blanket", "muges", "mimii_valve"})


@dataclass(frozen=True)
class ListedClip:
    """A recording in ``audio.csv``."""

    path: Path
    collection: str
    split: str
    label: str
    captions: tuple[str, ...]
    licence: str


def read_clips(path: Path) -> list[ListedClip]:
    """Read ``audio.csv``; files are relative to its folder. Raises OSError, or KeyError for a missing column."""
    with path.open(newline="", encoding="utf-8") as stream:
        return [
            ListedClip(
                path=path.parent / row["file"],
                collection=row["set"],
                split=row["split"],
                label=row["label"],
                captions=tuple(json.loads(row["captions_json"])) if row["captions_json"] else (),
                licence=row["licence"],
            )
            for row in csv.DictReader(stream)
        ]


def shippable_clips(path: Path, labels: Collection[str]) -> list[ListedClip]:
    """Return the clips of ``audio.csv`` in a shippable set whose label is one of `labels`. Raises as `read_clips`."""
    return [clip for clip in read_clips(path) if clip.collection in SHIPPABLE and clip.label in labels]


def read_audio(path: Path) -> FloatArray:
    """A file -> mono float32 [samples] at `SAMPLE_RATE`. Raises OSError or soundfile's error if it cannot be read."""
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    mono = samples.mean(axis=1)
    resampled = soxr.resample(mono, rate, SAMPLE_RATE) if rate != SAMPLE_RATE else mono
    return np.ascontiguousarray(resampled, dtype=np.float32)


def windows(samples: FloatArray, seconds: float) -> Iterator[FloatArray]:
    """Cut a recording into windows of `seconds`; a rest under 0.1 s is dropped unless the recording is no longer."""
    length = round(seconds * SAMPLE_RATE)
    for start in range(0, len(samples), length):
        part = samples[start : start + length]
        if start == 0 or len(part) >= SAMPLE_RATE // 10:
            yield part
