"""The text mean of the embedded CLAP: where captions in general lie in the space of the text tower."""

import csv
import gzip
from pathlib import Path

import numpy as np

from models.clap.minilm import MiniLmTextTower
from models.vectors import FloatArray

# One corpus of sounds, one of speech, one of music, one of collectors' notes: each counts alike.
CORPORA = ("mecat_sound", "mecat_speech_sound", "mecat_music", "wavtext5k")


def read_captions(path: Path) -> list[str]:
    """Distinct captions of a ``NAME.csv.gz`` with a `caption` column, in order. Raises OSError or KeyError."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as stream:
        return list(dict.fromkeys(row["caption"] for row in csv.DictReader(stream)))


def text_mean_of(folder: Path, text: MiniLmTextTower) -> FloatArray:
    """The mean of the corpora's mean vectors [384]."""
    means = [text.embed(read_captions(folder / f"{name}.csv.gz")).mean(axis=0) for name in CORPORA]
    return np.asarray(np.mean(means, axis=0), dtype=np.float32)
