"""How captions are written down: JSON, NDJSON, CSV and plain text, as UTF-8. Yields them as they stand."""

import csv
import gzip
import json
import re
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path, PurePath
from typing import BinaryIO, cast

_MAX_LINE_BYTES = 1 << 20
_HEAD_BYTES = 1 << 16
_BOM = b"\xef\xbb\xbf"
_EXPECTED = 'JSON {"captions": [...]}, NDJSON, CSV or plain text'


class CorpusError(Exception):
    """A corpus that cannot be taken, and where it is wrong.

    Attributes:
        kind: ``format``, ``encoding``, ``row``, ``too-long``, ``too-many`` or ``empty``.
        line: number of the line, from 1, where there is one; for a JSON document the number of the caption.
    """

    def __init__(self, message: str, kind: str, line: int | None = None, unit: str = "line") -> None:
        super().__init__(message if line is None else f"{unit} {line}: {message}")
        self.kind = kind
        self.line = line


class CorpusFormat(StrEnum):
    """The formats of a corpus."""

    JSON = "json"
    NDJSON = "ndjson"
    CSV = "csv"
    TEXT = "text"


_MEDIA_TYPES = {
    "application/json": CorpusFormat.JSON,
    "application/x-ndjson": CorpusFormat.NDJSON,
    "application/ndjson": CorpusFormat.NDJSON,
    "application/jsonl": CorpusFormat.NDJSON,
    "application/x-jsonlines": CorpusFormat.NDJSON,
    "text/csv": CorpusFormat.CSV,
    "text/plain": CorpusFormat.TEXT,
}
# What clients send when nobody said what the body is.
_UNSAID = {"", "application/octet-stream", "application/x-www-form-urlencoded"}
_SUFFIXES = {
    ".json": CorpusFormat.JSON,
    ".ndjson": CorpusFormat.NDJSON,
    ".jsonl": CorpusFormat.NDJSON,
    ".csv": CorpusFormat.CSV,
    ".txt": CorpusFormat.TEXT,
}


def pick_format(source: BinaryIO | Path, media_type: str | None, filename: str | None) -> CorpusFormat:
    """The format by media type, else by the name's suffix, else by how the body begins.

    Raises:
        CorpusError: of kind ``format``, for a media type that is none of a corpus.
    """
    said = (media_type or "").split(";")[0].strip().lower()
    if said in _MEDIA_TYPES:
        return _MEDIA_TYPES[said]
    if said not in _UNSAID:
        raise CorpusError(f"{said!r} is no corpus; send one of {', '.join(_MEDIA_TYPES)}", "format")
    suffix = PurePath((filename or "").lower().removesuffix(".gz")).suffix
    return _SUFFIXES.get(suffix) or _sniff(_head(source))


def read_raw(source: BinaryIO | Path, form: CorpusFormat) -> Iterator[tuple[int, str]]:
    """Yield (line number, caption) as written. Raises `CorpusError` where a row is wrong."""
    if isinstance(source, Path):
        with _open(source) as file:
            yield from read_raw(file, form)
    elif form is CorpusFormat.JSON:
        yield from _read_json(source)
    elif form is CorpusFormat.NDJSON:
        yield from _read_ndjson(source)
    elif form is CorpusFormat.CSV:
        yield from _read_csv(source)
    else:
        # A lone carriage return ends a line too, as old files have it.
        for number, line in _lines(source):
            yield from ((number, part) for part in line.rstrip("\r\n").split("\r"))


def _open(path: Path) -> BinaryIO:
    """A file of this machine, through gzip if its name ends so."""
    return cast(BinaryIO, gzip.open(path, "rb")) if path.suffix.lower() == ".gz" else path.open("rb")


def _head(source: BinaryIO | Path) -> bytes:
    if isinstance(source, Path):
        with _open(source) as file:
            return file.read(_HEAD_BYTES)
    if not source.seekable():
        raise CorpusError(f"say by the media type what the body is: {_EXPECTED}", "format")
    start = source.tell()
    head = source.read(_HEAD_BYTES)
    source.seek(start)
    return head


def _sniff(head: bytes) -> CorpusFormat:
    lines = head.removeprefix(_BOM).decode(errors="replace").strip().splitlines() or [""]
    first = lines[0]
    if first.startswith(("{", '"')):
        try:
            value = json.loads(first)
        except ValueError:
            return CorpusFormat.JSON if first.startswith("{") else _sniff_table(first)
        return CorpusFormat.JSON if isinstance(value, dict) and "captions" in value else CorpusFormat.NDJSON
    return _sniff_table(first)


def _sniff_table(first: str) -> CorpusFormat:
    cells = [cell.strip().strip('"') for cell in first.split(",")]
    return CorpusFormat.CSV if _caption_columns(cells) else CorpusFormat.TEXT


def _lines(source: BinaryIO) -> Iterator[tuple[int, str]]:
    number = 0
    while line := source.readline(_MAX_LINE_BYTES + 1):
        number += 1
        if len(line) > _MAX_LINE_BYTES:
            raise CorpusError(f"it is longer than {_MAX_LINE_BYTES:,} bytes", "too-long", number)
        yield number, _decode(line.removeprefix(_BOM) if number == 1 else line, number)


def _decode(line: bytes, number: int) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        wrong = line[error.start]
        raise CorpusError(
            f"byte {error.start + 1} (0x{wrong:02x}) is not UTF-8; save the file as UTF-8", "encoding", number
        ) from error


def _read_json(source: BinaryIO) -> Iterator[tuple[int, str]]:
    body = source.read().removeprefix(_BOM)
    if not body.strip():
        return
    try:
        document = json.loads(body.decode("utf-8"))
    except UnicodeDecodeError as error:
        _decode_lines(body)
        raise CorpusError("it is not UTF-8", "encoding") from error
    except json.JSONDecodeError as error:
        raise CorpusError(f"it is not JSON: {error.msg} at column {error.colno}", "row", error.lineno) from error
    except (ValueError, RecursionError) as error:
        raise CorpusError("the JSON cannot be read: it nests too deep or has a huge number", "row") from error
    captions = document.get("captions") if isinstance(document, dict) else None
    if not isinstance(captions, list):
        raise CorpusError('the JSON must be {"captions": ["...", "..."]}', "row")
    for number, item in enumerate(captions, 1):
        yield number, _caption_of(item, number, "caption")


def _decode_lines(body: bytes) -> None:
    for number, line in enumerate(body.split(b"\n"), 1):
        _decode(line, number)


def _read_ndjson(source: BinaryIO) -> Iterator[tuple[int, str]]:
    for number, line in _lines(source):
        if not line.strip():
            yield number, ""
            continue
        try:
            item = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise CorpusError(f"it is not JSON: {getattr(error, 'msg', 'too deep')}", "row", number) from error
        yield number, _caption_of(item, number, "line")


def _caption_of(item: object, number: int, unit: str) -> str:
    caption = item.get("caption") if isinstance(item, dict) else item
    if not isinstance(caption, str):
        raise CorpusError('a caption must be a string or an object with a string "caption"', "row", number, unit)
    return caption


def _read_csv(source: BinaryIO) -> Iterator[tuple[int, str]]:
    # csv itself refuses a field of over 128 KiB, so a quote that never closes cannot swallow the file.
    reader = csv.reader((line for _, line in _lines(source)), strict=True)
    columns: list[int] | None = None
    headerless = False
    try:
        for row in reader:
            number = reader.line_num
            if columns is None and row:
                columns = _caption_columns(row)
                if columns:
                    continue
                if len(row) > 1:
                    names = ", ".join(cell.strip()[:40] for cell in row[:10])
                    raise CorpusError(
                        f"no column is called caption, or caption_1, caption_2, ...; it has {names}",
                        "row",
                        number,
                    )
                columns, headerless = [0], True
                yield number, row[0]
            elif not row or columns is None:
                yield number, ""
            else:
                if headerless and len(row) > 1:
                    raise CorpusError(
                        f"it has {len(row)} columns where the lines before have one; put quotes around"
                        " a caption with a comma, or name the columns in the first line",
                        "row",
                        number,
                    )
                yield from ((number, caption) for caption in _cells(row, columns, number))
    except csv.Error as error:
        raise CorpusError(f"it is not CSV: {error}", "row", reader.line_num) from error


def _caption_columns(header: list[str]) -> list[int]:
    names = [name.strip().lower() for name in header]
    if "caption" in names:
        return [names.index("caption")]
    return [at for at, name in enumerate(names) if re.fullmatch(r"caption_\d+", name)]


def _cells(row: list[str], columns: list[int], number: int) -> list[str]:
    if columns[-1] >= len(row):
        raise CorpusError(f"it has {len(row)} columns and no caption in column {columns[-1] + 1}", "row", number)
    return [row[at] for at in columns]
