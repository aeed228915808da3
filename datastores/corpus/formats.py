"""The table of formats a corpus may be written in, and how the format of a corpus is recognised.

The reader, the API's description, the command's help and error messages all take their lists from `FORMATS`.
"""

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import PurePath

from datastores.corpus.documents import read_json
from datastores.corpus.error import CorpusError
from datastores.corpus.source import BOM, HEAD_BYTES, refuse_other_encodings
from datastores.corpus.tables import has_captions, read_table
from datastores.corpus.text import read_ndjson, read_text

Entries = Iterator[tuple[int, str | CorpusError]]
"""(number, caption as written), or in place of a caption what is wrong with its row."""


@dataclass(frozen=True)
class CorpusFormat:
    """One way to write a corpus; each may come as gzip too.

    Attributes:
        title: for people.
        suffixes: of file names, the usual one first.
        media_types: the usual one first.
        example: two captions in this format.
        read: reads a file, given the name of the column that holds the captions or None. Raises `CorpusError` where
            the rest of the corpus cannot be read.
        unit: what the number of an entry counts.
    """

    title: str
    suffixes: tuple[str, ...]
    media_types: tuple[str, ...]
    example: str
    read: Callable[[io.BufferedReader, str | None], Entries]
    unit: str = "line"


TEXT = CorpusFormat(
    "plain text with one caption a line", (".txt",), ("text/plain",), "A tram rings its bell.\nRain falls.\n", read_text
)
CSV = CorpusFormat("CSV", (".csv",), ("text/csv",), "caption\nA tram rings its bell.\nRain falls.\n", read_table)
TSV = CorpusFormat(
    "TSV",
    (".tsv", ".tab"),
    ("text/tab-separated-values",),
    "id\tcaption\n1\tA tram rings its bell.\n2\tRain falls.\n",
    partial(read_table, delimiters="\t"),
)
JSON = CorpusFormat(
    "JSON",
    (".json",),
    ("application/json",),
    '{"captions": ["A tram rings its bell.", "Rain falls."]}',
    read_json,
    unit="caption",
)
NDJSON = CorpusFormat(
    "NDJSON",
    (".ndjson", ".jsonl"),
    ("application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"),
    '{"caption": "A tram rings its bell."}\n{"caption": "Rain falls."}\n',
    read_ndjson,
)
FORMATS = (JSON, NDJSON, CSV, TSV, TEXT)

_BY_MEDIA_TYPE = {media_type: form for form in FORMATS for media_type in form.media_types}
_BY_SUFFIX = {suffix: form for form in FORMATS for suffix in form.suffixes}
# Clients send these when nobody told them the format, or only that it is packed.
_UNSAID = {
    "",
    "application/octet-stream",
    "application/x-www-form-urlencoded",
    "application/gzip",
    "application/x-gzip",
    # Browsers on Windows send this for a .csv where a spreadsheet is installed.
    "application/vnd.ms-excel",
}
_PARQUET_MEDIA_TYPES = ("application/vnd.apache.parquet", "application/x-parquet")
_PARQUET_MAGIC = b"PAR1"


def listed(names: list[str]) -> str:
    """Words for a list: ``a, b or c``."""
    return f"{', '.join(names[:-1])} or {names[-1]}"


def titles() -> str:
    """All formats, for people."""
    return listed([form.title for form in FORMATS])


def suffixes(*more: str) -> str:
    """The usual suffix of each format, and `more` behind them."""
    return listed([*(form.suffixes[0] for form in FORMATS), *more])


def said_format(media_type: str | None, filename: str | None) -> CorpusFormat | None:
    """The format by media type, else by the name's suffix; None if neither says.

    Raises:
        CorpusError: of kind ``format``, for a media type that is not one of a corpus.
    """
    said = (media_type or "").split(";")[0].strip().lower()
    if said in _BY_MEDIA_TYPE:
        return _BY_MEDIA_TYPE[said]
    if said in _PARQUET_MEDIA_TYPES:
        raise _parquet()
    if said not in _UNSAID:
        raise CorpusError(f"{said!r} is no corpus; send one of {', '.join(_BY_MEDIA_TYPE)}", "format")
    suffix = PurePath((filename or "").lower().removesuffix(".gz")).suffix
    return _BY_SUFFIX.get(suffix)


def check_format(form: CorpusFormat | None, head: bytes, column: str | None) -> CorpusFormat:
    """Return the format; where nothing says it, the beginning of the corpus does.

    Raises:
        CorpusError: of kind ``format`` for Parquet; of kind ``encoding`` for a corpus that is not UTF-8 from its
            first bytes on.
    """
    if head.startswith(_PARQUET_MAGIC):
        raise _parquet()
    refuse_other_encodings(head)
    return form or _sniff(head, column)


def head_of(file: io.BufferedReader) -> bytes:
    """The beginning of a file, without moving its position."""
    return file.peek(HEAD_BYTES)


def _sniff(head: bytes, column: str | None) -> CorpusFormat:
    lines = head.removeprefix(BOM).decode(errors="replace").strip().splitlines() or [""]
    first = lines[0]
    if first.startswith(("{", '"')):
        try:
            value = json.loads(first)
        except (ValueError, RecursionError):
            return JSON if first.startswith("{") else _sniff_table(first, column)
        # NDJSON may have lists of captions too, but a document that ends in its first line has no second.
        is_document = len(lines) == 1 and isinstance(value, dict) and isinstance(value.get("captions"), list)
        return JSON if is_document else NDJSON
    return _sniff_table(first, column)


def _sniff_table(first: str, column: str | None) -> CorpusFormat:
    return CSV if has_captions(first, column) else TEXT


def _parquet() -> CorpusError:
    return CorpusError(
        "the service does not read Parquet; the command reads it and sends its captions:"
        " drcap domains put NAME FILE.parquet",
        "format",
    )
