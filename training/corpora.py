"""The text that a decoder is trained on: corpora, their embeddings, and captions held out for validation."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from datastores.corpus.reader import CorpusLimits, read_corpus
from models.clap.base import Clap
from models.vectors import FloatArray
from training.clauses import clauses

_EMBEDDED_AT_ONCE = 512
_LARGEST_HELD_OUT_SHARE = 8


@dataclass(frozen=True)
class TrainingCorpus:
    """Distinct captions of one file.

    Attributes:
        name: of the file, without its suffix.
        captions: in the order of the file.
        weight: how often a caption is drawn, relative to a corpus of weight 1.
        cut: number of captions omitted because the CLAP reads only their beginning.
    """

    name: str
    captions: tuple[str, ...]
    weight: float = 1.0
    cut: int = 0

    def digest(self) -> str:
        """Return a digest of the captions in their order."""
        digest = hashlib.blake2b(digest_size=12)
        for caption in self.captions:
            digest.update(caption.encode() + b"\n")
        return digest.hexdigest()


@dataclass(frozen=True)
class EmbeddedCorpus:
    """A corpus with its vectors.

    Attributes:
        corpus: the captions.
        vectors: their unit text embeddings [n, d].
        clauses: row of a caption that states an order of time -> unit vectors of its clauses in that order [c, d].
    """

    corpus: TrainingCorpus
    vectors: FloatArray
    clauses: Mapping[int, FloatArray]


def load_corpus(path: Path, clap: Clap, limits: CorpusLimits) -> TrainingCorpus:
    """Read a corpus file in any format a domain may have.

    A caption that the CLAP would cut is omitted: its vector lacks some of its words, and the LLM would learn to invent.

    Raises:
        CorpusError: the file is no corpus, or has no caption.
        OSError: the file cannot be read.
    """
    captions = list(read_corpus(path, limits=limits))
    whole = [caption for caption, reads in zip(captions, clap.reads_whole(captions), strict=True) if reads]
    name = path.name.removesuffix(".gz").rsplit(".", 1)[0]
    return TrainingCorpus(name, tuple(whole), cut=len(captions) - len(whole))


def hold_out(
    corpora: Sequence[TrainingCorpus], most: int, seed: int
) -> tuple[list[TrainingCorpus], list[TrainingCorpus]]:
    """Split corpora into those to train on and those to validate with.

    At most `most` captions of each are held out, and at most an eighth.
    """
    rng = np.random.default_rng(seed)
    kept, held = [], []
    for corpus in corpora:
        count = min(most, len(corpus.captions) // _LARGEST_HELD_OUT_SHARE)
        rows = set(rng.choice(len(corpus.captions), count, replace=False).tolist())
        kept.append(replace(corpus, captions=tuple(c for i, c in enumerate(corpus.captions) if i not in rows)))
        held.append(replace(corpus, captions=tuple(c for i, c in enumerate(corpus.captions) if i in rows)))
    return kept, [one for one in held if one.captions]


def embed_corpus(corpus: TrainingCorpus, clap: Clap, cache: Path, progress: Callable[[int], None]) -> EmbeddedCorpus:
    """Embed a corpus; the folder `cache` keeps the vectors between runs.

    Args:
        progress: called with the number of captions embedded since the last call.
    """
    vectors = _embedded(corpus, clap, cache, progress)
    parts = {row: found for row, caption in enumerate(corpus.captions) if len(found := clauses(caption)) > 1}
    if not parts:
        return EmbeddedCorpus(corpus, vectors, {})
    texts = TrainingCorpus(corpus.name, tuple(dict.fromkeys(one for found in parts.values() for one in found)))
    at = {text: row for row, text in enumerate(texts.captions)}
    said = _embedded(texts, clap, cache, lambda _: None)
    ordered = {row: said[[at[one] for one in found]] for row, found in parts.items()}
    return EmbeddedCorpus(corpus, vectors, ordered)


def _embedded(corpus: TrainingCorpus, clap: Clap, cache: Path, progress: Callable[[int], None]) -> FloatArray:
    """Return the unit text embeddings [n, d] of a corpus."""
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
