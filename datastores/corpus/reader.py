"""The captions of a corpus: normalised, each once, counted. `formats` knows how they are written."""

import hashlib
import io
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, get_args

from datastores.corpus.error import CorpusError
from datastores.corpus.formats import CorpusFormat, Entries, check_format, head_of, said_format
from datastores.corpus.source import Meter, unpack

OnError = Literal["refuse", "skip"]

_PROBLEMS = 20
# NFC composes at most this many characters into one.
_MOST_COMPOSED = 4
_SURROGATE = re.compile("[\ud800-\udfff]")
_ZERO_WIDTH_JOINERS = "\u200c\u200d"


@dataclass(frozen=True)
class CorpusLimits:
    """Bounds a corpus.

    Attributes:
        max_captions: distinct captions of a corpus, and of a domain that captions are added to.
        max_caption_characters: characters of one caption.
        max_unpacked_bytes: bytes of a corpus once unpacked.
        setting_of: the name of the setting behind one of these limits; errors name it.
    """

    max_captions: int
    max_caption_characters: int
    max_unpacked_bytes: int
    setting_of: Callable[[str], str]


@dataclass
class CorpusCounts:
    """Counts the entries by their result."""

    empty: int = 0
    duplicates: int = 0
    skipped: int = 0
    kept: int = 0

    @property
    def read(self) -> int:
        """All entries."""
        return self.empty + self.duplicates + self.skipped + self.kept


class Corpus(Iterator[str]):
    """The captions in order of appearance, each once; `counts` and `bytes_read` grow while they are taken.

    Captions that differ only in case or in closing punctuation are one, and the first way of writing it is
    kept. A caption without a letter, digit or symbol counts as empty.

    This is the only place that makes captions distinct. Every caller reads its captions here (HTTP jobs, evaluation,
    benchmarks, training), the limit on captions counts distinct ones, and only here is a caption compared without
    its case. Registration takes the captions as they come; adding to a domain also skips what the domain holds, and
    a writer refuses a version to which a caption was added twice.

    Attributes:
        counts: the entries so far, by their result.
        problems: the errors of the first 20 skipped rows, each with its line.
    """

    def __init__(
        self,
        entries: Entries,
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
        """Bytes read of the source, as they were sent. They run one buffer ahead of the captions."""
        return self._meter.bytes_read

    def __next__(self) -> str:
        """Raises `CorpusError`; also, of kind ``empty``, at the end of a corpus without any caption."""
        return next(self._captions)

    def _read(self, entries: Entries) -> Iterator[str]:
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
            # Digests bound the memory by the number of captions, not by their length.
            digest = hashlib.blake2b(key.encode(), digest_size=16).digest()
            if digest in seen:
                self.counts.duplicates += 1
                continue
            if self.counts.kept == self._limits.max_captions:
                raise CorpusError(
                    f"more than {self._limits.max_captions:,} captions ({self._limits.setting_of('max_captions')})",
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
        # NFC sorts marks in quadratic time, so it runs only on a text of bounded length.
        if len(caption) <= _MOST_COMPOSED * limit:
            caption = unicodedata.normalize("NFC", caption)
        if len(caption) > limit:
            return CorpusError(
                f"a caption of {len(caption):,} characters; at most {limit:,} are taken"
                f" ({self._limits.setting_of('max_caption_characters')})",
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
    limits: CorpusLimits,
    column: str | None = None,
    on_error: OnError = "refuse",
) -> Corpus:
    """Read a corpus as a stream, in one of `datastores.corpus.formats.FORMATS` or gzip of one of them.

    Args:
        source: an open binary file, which stays open, or a path.
        media_type: of the body; says the format when it is one of a corpus.
        filename: its suffix says the format next; the name of `source` when that is a path. If neither says, the
            beginning of the corpus does. Gzip is found by its first bytes, whatever the name.
        limits: on the corpus.
        column: name of the column of a table, or key of an object, that holds the captions; ``caption``,
            ``captions`` or all of ``caption_1``, ``caption_2``, ... by default.
        on_error: ``refuse`` raises at the first bad row; ``skip`` omits bad rows and counts them, and raises only if
            the rest cannot be read or the corpus exceeds its limits.

    Raises:
        CorpusError: of kind ``format``, ``encoding`` or ``damaged`` if the beginning shows it; of any kind while
            captions are taken.
        OSError: the path cannot be read.
    """
    if on_error not in get_args(OnError):
        raise ValueError(f"on_error is {on_error!r}; it must be one of {', '.join(get_args(OnError))}")
    meter = Meter()
    if isinstance(source, Path):
        said = said_format(media_type, filename or source.name)
        with source.open("rb") as file:
            form = check_format(said, head_of(_unpack(file, limits, Meter())), column)
        entries = _entries_of_path(source, form, limits, column, meter)
    else:
        said = said_format(media_type, filename)
        unpacked = _unpack(source, limits, meter)
        form = check_format(said, head_of(unpacked), column)
        entries = form.read(unpacked, column)
    return Corpus(entries, limits, meter, form.unit, on_error)


def _entries_of_path(path: Path, form: CorpusFormat, limits: CorpusLimits, column: str | None, meter: Meter) -> Entries:
    # A generator, so that a corpus that is never read leaves no open file.
    with path.open("rb") as file:
        unpacked = _unpack(file, limits, meter)
        yield from form.read(unpacked, column)


def _unpack(file: BinaryIO, limits: CorpusLimits, meter: Meter) -> io.BufferedReader:
    return unpack(file, limits.max_unpacked_bytes, limits.setting_of("max_unpacked_bytes"), meter)


def normalise(text: str) -> str:
    """The text in NFC, stripped, with single spaces and without invisible control and format characters."""
    # NFC runs last, because an invisible character may stand between a letter and its accent.
    return unicodedata.normalize("NFC", _collapse(text))


def _collapse(text: str) -> str:
    if not text.isprintable():
        text = "".join(character for character in text if character.isspace() or not _is_invisible(character))
    return " ".join(text.split())


def _is_invisible(character: str) -> bool:
    # The joiners shape letters in several scripts, so they are part of the text.
    return unicodedata.category(character) in ("Cc", "Cf") and character not in _ZERO_WIDTH_JOINERS


def _comparable(caption: str) -> str:
    key = caption.casefold()
    end = len(key)
    while end and (key[end - 1].isspace() or unicodedata.category(key[end - 1]).startswith("P")):
        end -= 1
    return key[:end]
