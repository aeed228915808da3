"""The text mean of the embedded CLAP: the place of captions in general in the space of the text tower."""

from pathlib import Path

import numpy as np

from models.clap.minilm import MiniLmTextTower
from models.vectors import FloatArray
from research.corpora.caption_files import read_captions

# One corpus of sounds, one of speech, one of music, one of collectors' notes: each counts alike.
CORPORA = ("mecat_sound", "mecat_speech_sound", "mecat_music", "wavtext5k")


def text_mean_of(folder: Path, text: MiniLmTextTower) -> FloatArray:
    """Return the mean of the corpora's mean vectors [384]. Raises as `read_captions`."""
    means = [text.embed(read_captions(folder / f"{name}.csv.gz")).mean(axis=0) for name in CORPORA]
    return np.asarray(np.mean(means, axis=0), dtype=np.float32)
