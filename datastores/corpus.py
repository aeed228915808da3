"""The captions of a corpus: normalised, each once, counted. `corpus_formats` reads how they are written."""

import hashlib
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from datastores.corpus_formats import CorpusError, CorpusFormat, pick_format, read_raw

__all__ = [
    "Corpus",
    "CorpusCounts",
    "CorpusError",
    "CorpusFormat",
    "CorpusLimits",
    "normalise",
    "read_corpus",
]

_ZERO_WIDTH_JOINERS = "\u200c\u200d"


@dataclass(frozen=True)
class CorpusLimits:
    """What a corpus may hold; the names are those of the settings below ``DRCAP_CORPUS__``."""

    max_captions: int = 1_000_000
    max_caption_characters: int = 2_000


@dataclass
class CorpusCounts:
    """What became of the entries: ``read == empty + duplicates + kept``."""

    read: int = 0
    empty: int = 0
    duplicates: int = 0
    kept: int = 0


class Corpus(Iterator[str]):
    """The captions in order of appearance; `counts` grows while they are taken.

    Captions that differ only in case or in closing punctuation are one, and the first way of writing it is
    kept. What has no letter, digit or symbol counts as empty.
    """

    def __init__(self, raw: Iterator[tuple[int, str]], limits: CorpusLimits) -> None:
        """`raw` yields (line number, text)."""
        self.counts = CorpusCounts()
        self._limits = limits
        self._captions = self._read(raw)

    def __next__(self) -> str:
        """Raises `CorpusError`; also, of kind ``empty``, at the end of a corpus without any caption."""
        return next(self._captions)

    def _read(self, raw: Iterator[tuple[int, str]]) -> Iterator[str]:
        seen: set[bytes] = set()
        for line, text in raw:
            self.counts.read += 1
            caption = normalise(text)
            key = _comparable(caption)
            if not key:
                self.counts.empty += 1
                continue
            self._check(line, caption)
            # Digests bound the memory by the number of captions, whatever their length.
            digest = hashlib.blake2b(key.encode(), digest_size=16).digest()
            if digest in seen:
                self.counts.duplicates += 1
                continue
            if self.counts.kept == self._limits.max_captions:
                raise CorpusError(
                    f"more than {self._limits.max_captions:,} captions (DRCAP_CORPUS__MAX_CAPTIONS)",
                    "too-many",
                    line,
                )
            seen.add(digest)
            self.counts.kept += 1
            yield caption
        if not self.counts.kept:
            raise CorpusError(f"there is no caption in the corpus: {self.counts.read} entries, all empty", "empty")

    def _check(self, line: int, caption: str) -> None:
        limit = self._limits.max_caption_characters
        if len(caption) > limit:
            raise CorpusError(
                f"a caption of {len(caption):,} characters; at most {limit:,} are taken"
                " (DRCAP_CORPUS__MAX_CAPTION_CHARACTERS)",
                "too-long",
                line,
            )
        if any("\ud800" <= character <= "\udfff" for character in caption):
            raise CorpusError("half of a surrogate pair, which is no character", "encoding", line)


def read_corpus(
    source: BinaryIO | Path,
    *,
    media_type: str | None = None,
    filename: str | None = None,
    limits: CorpusLimits | None = None,
) -> Corpus:
    """Read a corpus as a stream; only a JSON document is held whole.

    Args:
        source: an open binary file, which stays open, or a path.
        media_type: of the body; says the format when it is one of a corpus.
        filename: its suffix says the format next; the name of `source` when that is a path.
        limits: the defaults when left out.

    Raises:
        CorpusError: of kind ``format`` at once; of the others while captions are taken.
    """
    name = filename or (source.name if isinstance(source, Path) else None)
    raw = read_raw(source, pick_format(source, media_type, name))
    return Corpus(raw, limits or CorpusLimits())


def normalise(text: str) -> str:
    """NFC, every run of white space one space, invisible control and format characters left out, stripped."""
    if not text.isprintable():
        text = "".join(character for character in text if character.isspace() or not _is_invisible(character))
    # Last, for what was invisible may have stood between a letter and its accent.
    return " ".join(unicodedata.normalize("NFC", text).split())


def _is_invisible(character: str) -> bool:
    # The joiners shape letters in several scripts, so they belong to the text.
    return unicodedata.category(character) in ("Cc", "Cf") and character not in _ZERO_WIDTH_JOINERS


def _comparable(caption: str) -> str:
    key = caption.casefold()
    while key and (key[-1].isspace() or unicodedata.category(key[-1]).startswith("P")):
        key = key[:-1]
    return key
