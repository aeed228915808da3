"""The captions of a corpus: normalised, each once, counted. `corpus_formats` reads how they are written."""

import hashlib
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, get_args

from datastores.corpus.error import CorpusError
from datastores.corpus.formats import CorpusFormat, check_format, head_of, read_entries, said_format
from datastores.corpus.source import Meter, unpack

__all__ = [
    "Corpus",
    "CorpusCounts",
    "CorpusError",
    "CorpusFormat",
    "CorpusLimits",
    "OnError",
    "normalise",
    "read_corpus",
]

OnError = Literal["refuse", "skip"]

_PROBLEMS = 20
# A character composed by NFC stands for at most so many.
_MOST_COMPOSED = 4
_SURROGATE = re.compile("[\ud800-\udfff]")
_ZERO_WIDTH_JOINERS = "\u200c\u200d"


@dataclass(frozen=True)
class CorpusLimits:
    """What a corpus may hold; the names are those of the settings below ``DRCAP_CORPUS__``."""

    max_captions: int = 1_000_000
    max_caption_characters: int = 2_000
    max_unpacked_bytes: int = 1 << 30


@dataclass
class CorpusCounts:
    """What became of the entries."""

    empty: int = 0
    duplicates: int = 0
    skipped: int = 0
    kept: int = 0

    @property
    def read(self) -> int:
        """All of them."""
        return self.empty + self.duplicates + self.skipped + self.kept


class Corpus(Iterator[str]):
    """The captions in order of appearance; `counts` and `bytes_read` grow while they are taken.

    Captions that differ only in case or in closing punctuation are one, and the first way of writing it is
    kept. What has no letter, digit or symbol counts as empty.

    Attributes:
        counts: what became of the entries so far.
        problems: what was wrong with the first 20 rows that were skipped, each with its line.
    """

    def __init__(
        self,
        entries: Iterator[tuple[int, str | CorpusError]],
        limits: CorpusLimits,
        meter: Meter,
        unit: str = "line",
        on_error: OnError = "refuse",
    ) -> None:
        """`entries` yields (number, text), or the error of a row in place of its text."""
        self.counts = CorpusCounts()
        self.problems: list[str] = []
        self._limits = limits
        self._meter = meter
        self._unit = unit
        self._on_error = on_error
        self._captions = self._read(entries)

    @property
    def bytes_read(self) -> int:
        """How much of the source was taken, in bytes as they were sent; a buffer ahead of the captions."""
        return self._meter.bytes_read

    def __next__(self) -> str:
        """Raises `CorpusError`; also, of kind ``empty``, at the end of a corpus without any caption."""
        return next(self._captions)

    def _read(self, entries: Iterator[tuple[int, str | CorpusError]]) -> Iterator[str]:
        seen: set[bytes] = set()
        for number, entry in entries:
            caption = entry if isinstance(entry, CorpusError) else self._checked(number, entry)
            if isinstance(caption, CorpusError):
                self._skip(caption)
                continue
            key = _comparable(caption)
            if not key:
                self.counts.empty += 1
                continue
            # Digests bound the memory by the number of captions, whatever their length.
            digest = hashlib.blake2b(key.encode(), digest_size=16).digest()
            if digest in seen:
                self.counts.duplicates += 1
                continue
            if self.counts.kept == self._limits.max_captions:
                raise CorpusError(
                    f"more than {self._limits.max_captions:,} captions (DRCAP_CORPUS__MAX_CAPTIONS)",
                    "too-many",
                    number,
                    self._unit,
                )
            seen.add(digest)
            self.counts.kept += 1
            yield caption
        if not self.counts.kept:
            counts = self.counts
            first = f"; the first: {self.problems[0]}" if self.problems else ""
            raise CorpusError(
                f"there is no caption in the corpus: {counts.read} entries, {counts.empty} of them empty and"
                f" {counts.skipped} skipped{first}",
                "empty",
            )

    def _skip(self, error: CorpusError) -> None:
        if self._on_error == "refuse":
            raise error
        self.counts.skipped += 1
        if len(self.problems) < _PROBLEMS:
            self.problems.append(str(error))

    def _checked(self, number: int, text: str) -> str | CorpusError:
        limit = self._limits.max_caption_characters
        caption = _collapse(text)
        # Putting marks in order takes the square of their number, so it waits until the length is bounded.
        if len(caption) <= _MOST_COMPOSED * limit:
            caption = unicodedata.normalize("NFC", caption)
        if len(caption) > limit:
            return CorpusError(
                f"a caption of {len(caption):,} characters; at most {limit:,} are taken"
                " (DRCAP_CORPUS__MAX_CAPTION_CHARACTERS)",
                "too-long",
                number,
                self._unit,
            )
        if _SURROGATE.search(caption):
            return CorpusError("half of a surrogate pair, which is no character", "encoding", number, self._unit)
        return caption


def read_corpus(
    source: BinaryIO | Path,
    *,
    media_type: str | None = None,
    filename: str | None = None,
    limits: CorpusLimits | None = None,
    column: str | None = None,
    on_error: OnError = "refuse",
) -> Corpus:
    """Read a corpus as a stream: JSON, NDJSON, CSV, TSV, plain text or Parquet, or gzip of one of them.

    Args:
        source: an open binary file, which stays open, or a path.
        media_type: of the body; says the format when it is one of a corpus.
        filename: its suffix says the format next; the name of `source` when that is a path. If neither says, the
            beginning of the corpus does. Gzip is found by its first bytes, whatever the name.
        limits: the defaults when left out.
        column: name of the column of a table, or key of an object, that holds the captions; ``caption``,
            ``captions`` or all of ``caption_1``, ``caption_2``, ... when left out.
        on_error: ``refuse`` raises at the first bad row; ``skip`` leaves bad rows out and counts them, and raises
            only for what makes the rest unreadable or breaks the limits of the corpus.

    Raises:
        CorpusError: of kind ``format``, ``encoding`` or ``damaged`` for what the beginning tells at once; of any
            kind while captions are taken.
        OSError: the path cannot be read.
    """
    if on_error not in get_args(OnError):
        raise ValueError(f"on_error is {on_error!r}; it must be one of {', '.join(get_args(OnError))}")
    limits = limits or CorpusLimits()
    meter = Meter()
    if isinstance(source, Path):
        said = said_format(media_type, filename or source.name)
        with source.open("rb") as file:
            form = check_format(said, head_of(unpack(file, limits.max_unpacked_bytes, Meter())), column)
        entries = _entries_of_path(source, form, limits, column, meter)
    else:
        said = said_format(media_type, filename)
        unpacked = unpack(source, limits.max_unpacked_bytes, meter)
        form = check_format(said, head_of(unpacked), column)
        entries = read_entries(form, unpacked, column, limits.max_unpacked_bytes, meter)
    return Corpus(entries, limits, meter, form.unit, on_error)


def _entries_of_path(
    path: Path, form: CorpusFormat, limits: CorpusLimits, column: str | None, meter: Meter
) -> Iterator[tuple[int, str | CorpusError]]:
    # A generator, so that a corpus nobody reads leaves no open file.
    with path.open("rb") as file:
        unpacked = unpack(file, limits.max_unpacked_bytes, meter)
        yield from read_entries(form, unpacked, column, limits.max_unpacked_bytes, meter)


def normalise(text: str) -> str:
    """NFC, every run of white space one space, invisible control and format characters left out, stripped."""
    # Last, for what was invisible may have stood between a letter and its accent.
    return unicodedata.normalize("NFC", _collapse(text))


def _collapse(text: str) -> str:
    if not text.isprintable():
        text = "".join(character for character in text if character.isspace() or not _is_invisible(character))
    return " ".join(text.split())


def _is_invisible(character: str) -> bool:
    # The joiners shape letters in several scripts, so they belong to the text.
    return unicodedata.category(character) in ("Cc", "Cf") and character not in _ZERO_WIDTH_JOINERS


def _comparable(caption: str) -> str:
    key = caption.casefold()
    end = len(key)
    while end and (key[end - 1].isspace() or unicodedata.category(key[end - 1]).startswith("P")):
        end -= 1
    return key[:end]
