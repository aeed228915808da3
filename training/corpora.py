"""The text a decoder is trained on: captions of a corpus, their embeddings, and which of them are kept back."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from datastores.corpus.reader import CorpusLimits, read_corpus
from models.clap.base import Clap

FloatArray = NDArray[np.float32]

_EMBEDDED_AT_ONCE = 512
_LARGEST_HELD_OUT_SHARE = 8


@dataclass(frozen=True)
class Corpus:
    """Distinct captions of one manner of speaking.

    Attributes:
        name: for the log and the card.
        captions: in the order of the file.
        weight: how often a caption is drawn, relative to one of a corpus of weight 1.
        cut: captions left out because the CLAP reads only their beginning.
    """

    name: str
    captions: tuple[str, ...]
    weight: float = 1.0
    cut: int = 0

    def digest(self) -> str:
        """Names the captions and their order."""
        digest = hashlib.blake2b(digest_size=12)
        for caption in self.captions:
            digest.update(caption.encode() + b"\n")
        return digest.hexdigest()


def load_corpus(path: Path, clap: Clap, weight: float = 1.0, limits: CorpusLimits | None = None) -> Corpus:
    """Read a corpus file in any format a domain may have.

    A caption that the CLAP would cut is left out: the LLM would be asked for words that its vector does not hold,
    and learn to invent.

    Raises:
        CorpusError: the file is no corpus, or no caption of it is left.
        OSError: the file cannot be read.
    """
    captions = list(read_corpus(path, limits=limits))
    whole = [caption for caption, reads in zip(captions, clap.reads_whole(captions), strict=True) if reads]
    name = path.name.removesuffix(".gz").rsplit(".", 1)[0]
    return Corpus(name, tuple(whole), weight, len(captions) - len(whole))


def hold_out(corpora: Sequence[Corpus], most: int, seed: int) -> tuple[list[Corpus], list[Corpus]]:
    """Corpora to train on and, of each, at most `most` captions (an eighth, if that is fewer) to validate with."""
    rng = np.random.default_rng(seed)
    kept, held = [], []
    for corpus in corpora:
        count = min(most, len(corpus.captions) // _LARGEST_HELD_OUT_SHARE)
        rows = set(rng.choice(len(corpus.captions), count, replace=False).tolist())
        kept.append(replace(corpus, captions=tuple(c for i, c in enumerate(corpus.captions) if i not in rows)))
        held.append(replace(corpus, captions=tuple(c for i, c in enumerate(corpus.captions) if i in rows)))
    return kept, [one for one in held if one.captions]


def embed_corpus(corpus: Corpus, clap: Clap, cache: Path, progress: Callable[[int], None]) -> FloatArray:
    """Unit text embeddings [n, d] of a corpus, kept in the folder `cache` between runs.

    Args:
        progress: called with the number of captions embedded since the last call.
    """
    path = cache / f"vectors-{corpus.digest()}-{clap.fingerprint}.npy"
    if path.is_file():
        vectors: FloatArray = np.load(path, allow_pickle=False)
        progress(len(vectors))
        return vectors
    parts = []
    for start in range(0, len(corpus.captions), _EMBEDDED_AT_ONCE):
        some = corpus.captions[start : start + _EMBEDDED_AT_ONCE]
        parts.append(clap.embed_text(some))
        progress(len(some))
    vectors = np.concatenate(parts)
    cache.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part.npy")
    np.save(unfinished, vectors)
    unfinished.replace(path)
    return vectors
