"""The captions of a benchmark: from a file, or made from the sample domains."""

from collections.abc import Iterator
from importlib.resources import files
from itertools import islice
from pathlib import Path

import numpy as np

from datastores.corpus.reader import normalise, read_corpus
from service.jobs.corpus_reading import corpus_limits
from service.settings import CorpusSettings

_JOINS = (" while ", ", and ", " as ", " before ", ", then ", " and in the background ")
_LONGEST = 4


class TooFewCaptions(ValueError):
    """The corpus has too few captions; the message says how many are needed."""


def load_captions(corpus: Path | None, count: int, seed: int = 0) -> list[str]:
    """Return `count` different captions in random order: from a file that registration can read, or generated.

    Raises:
        TooFewCaptions: the file has fewer.
        CorpusError: the file cannot be read.
    """
    if corpus is None:
        return list(islice(_generated(seed), count))
    captions = list(read_corpus(corpus, limits=corpus_limits(CorpusSettings(max_captions=10_000_000))))
    if len(captions) < count:
        raise TooFewCaptions(f"{corpus} holds {len(captions):,} captions and {count:,} are needed")
    chosen = np.random.default_rng(seed).permutation(len(captions))[:count]
    return [captions[row] for row in chosen]


def _generated(seed: int) -> Iterator[str]:
    """Yield one to four sample captions joined: their lengths spread like those of real corpora."""
    folder = files("examples") / "domains"
    lines = [
        normalise(line).rstrip(".")
        for file in sorted(folder.iterdir(), key=lambda one: one.name)
        for line in file.read_text(encoding="utf-8").splitlines()
        if line.strip()
    ]
    rng = np.random.default_rng(seed)
    seen = set()
    while True:
        parts = [lines[row] for row in rng.integers(len(lines), size=rng.integers(1, _LONGEST + 1))]
        text = parts[0]
        for part in parts[1:]:
            text += _JOINS[rng.integers(len(_JOINS))] + part[0].lower() + part[1:]
        if text not in seen:
            seen.add(text)
            yield text + "."
