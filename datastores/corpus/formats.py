"""The formats a corpus may be written in, how each is recognised, and which reader takes it."""

import io
import json
from collections.abc import Iterator
from enum import StrEnum
from pathlib import PurePath

from datastores.corpus.documents import read_json
from datastores.corpus.error import CorpusError
from datastores.corpus.parquet import MAGIC, read_parquet, require_parquet
from datastores.corpus.source import BOM, HEAD_BYTES, Meter, refuse_other_encodings
from datastores.corpus.tables import has_captions, read_table
from datastores.corpus.text import read_ndjson, read_text


class CorpusFormat(StrEnum):
    """The formats of a corpus; each may come as gzip too."""

    JSON = "json"
    NDJSON = "ndjson"
    CSV = "csv"
    TSV = "tsv"
    TEXT = "text"
    PARQUET = "parquet"

    @property
    def unit(self) -> str:
        """What the number of an entry counts."""
        return {CorpusFormat.JSON: "caption", CorpusFormat.PARQUET: "row"}.get(self, "line")


_MEDIA_TYPES = {
    "application/json": CorpusFormat.JSON,
    "application/x-ndjson": CorpusFormat.NDJSON,
    "application/ndjson": CorpusFormat.NDJSON,
    "application/jsonl": CorpusFormat.NDJSON,
    "application/x-jsonlines": CorpusFormat.NDJSON,
    "text/csv": CorpusFormat.CSV,
    "text/tab-separated-values": CorpusFormat.TSV,
    "text/plain": CorpusFormat.TEXT,
    "application/vnd.apache.parquet": CorpusFormat.PARQUET,
    "application/x-parquet": CorpusFormat.PARQUET,
}
# What clients send when nobody said what the body is, or said only how it is packed.
_UNSAID = {
    "",
    "application/octet-stream",
    "application/x-www-form-urlencoded",
    "application/gzip",
    "application/x-gzip",
    # Browsers on Windows say so of a .csv where a spreadsheet is installed.
    "application/vnd.ms-excel",
}
_SUFFIXES = {
    ".json": CorpusFormat.JSON,
    ".ndjson": CorpusFormat.NDJSON,
    ".jsonl": CorpusFormat.NDJSON,
    ".csv": CorpusFormat.CSV,
    ".tsv": CorpusFormat.TSV,
    ".tab": CorpusFormat.TSV,
    ".txt": CorpusFormat.TEXT,
    ".parquet": CorpusFormat.PARQUET,
    ".pq": CorpusFormat.PARQUET,
}


def said_format(media_type: str | None, filename: str | None) -> CorpusFormat | None:
    """The format by media type, else by the name's suffix; None if neither says.

    Raises:
        CorpusError: of kind ``format``, for a media type that is none of a corpus.
    """
    said = (media_type or "").split(";")[0].strip().lower()
    if said in _MEDIA_TYPES:
        return _MEDIA_TYPES[said]
    if said not in _UNSAID:
        raise CorpusError(f"{said!r} is no corpus; send one of {', '.join(_MEDIA_TYPES)}", "format")
    suffix = PurePath((filename or "").lower().removesuffix(".gz")).suffix
    return _SUFFIXES.get(suffix)


def check_format(form: CorpusFormat | None, head: bytes, column: str | None) -> CorpusFormat:
    """The format, found by how the corpus begins if it was not said.

    Raises:
        CorpusError: of kind ``format``, where the format needs a package that is not installed; of kind
            ``encoding``, where the corpus is no UTF-8 from its first bytes on.
    """
    form = form or _sniff(head, column)
    if form is CorpusFormat.PARQUET:
        require_parquet()
    else:
        refuse_other_encodings(head)
    return form


def read_entries(
    form: CorpusFormat, file: io.BufferedReader, column: str | None, max_bytes: int, meter: Meter
) -> Iterator[tuple[int, str | CorpusError]]:
    """(number, caption as written), or in place of a caption what is wrong with its row.

    Raises:
        CorpusError: the corpus as a whole cannot be read on.
    """
    match form:
        case CorpusFormat.JSON:
            return read_json(file, column)
        case CorpusFormat.NDJSON:
            return read_ndjson(file, column)
        case CorpusFormat.CSV:
            return read_table(file, column)
        case CorpusFormat.TSV:
            return read_table(file, column, "\t")
        case CorpusFormat.TEXT:
            return read_text(file, column)
        case CorpusFormat.PARQUET:
            return read_parquet(file, column, max_bytes, meter)


def head_of(file: io.BufferedReader) -> bytes:
    """The beginning of a file, which is still read from there."""
    return file.peek(HEAD_BYTES)


def _sniff(head: bytes, column: str | None) -> CorpusFormat:
    if head.startswith(MAGIC):
        return CorpusFormat.PARQUET
    lines = head.removeprefix(BOM).decode(errors="replace").strip().splitlines() or [""]
    first = lines[0]
    if first.startswith(("{", '"')):
        try:
            value = json.loads(first)
        except (ValueError, RecursionError):
            return CorpusFormat.JSON if first.startswith("{") else _sniff_table(first, column)
        # NDJSON may have lists of captions too, but a document that ends in its first line has no second.
        is_document = len(lines) == 1 and isinstance(value, dict) and isinstance(value.get("captions"), list)
        return CorpusFormat.JSON if is_document else CorpusFormat.NDJSON
    return _sniff_table(first, column)


def _sniff_table(first: str, column: str | None) -> CorpusFormat:
    return CorpusFormat.CSV if has_captions(first, column) else CorpusFormat.TEXT
