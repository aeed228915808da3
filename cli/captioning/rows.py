"""Tables of captions, one row a recording, as NDJSON or CSV: how rows are written, and read again to go on."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from cli.captioning.requests import Outcome

_COLUMNS = ("path", "caption", "domain", "domain_version", "duration", "similar_captions", "error")
# More than one row has: a rest of this size is no row that was cut off, but a table that is damaged.
_LONGEST_ROW, _MOST_LINES = 1 << 20, 64


class Foreign(ValueError):
    """The file holds what these tables do not; the message says where."""


@dataclass(frozen=True)
class Row:
    """A row as it was written before.

    Attributes:
        data: its bytes, with the end of the line.
        key: its recording, as `Rows.key` gives it.
        domain: that the caption is in; empty where there is no caption.
        failed: whether it tells of an error.
    """

    data: bytes
    key: str
    domain: str
    failed: bool


class Rows(Protocol):
    """A kind of table."""

    @property
    def header(self) -> bytes:
        """What stands above the rows."""

    def key(self, path: Path) -> str:
        """A recording as its row names it."""

    def encode(self, outcome: Outcome) -> bytes:
        """The row of one outcome, whose body is the service's JSON."""

    def read(self, lines: Iterable[bytes]) -> Iterator[Row]:
        """The rows of a file; a last one that was not written to its end is left out. Raises `Foreign`."""


class Ndjson:
    """One JSON object a line."""

    header = b""

    def key(self, path: Path) -> str:
        return str(path)

    def encode(self, outcome: Outcome) -> bytes:
        document = _document(outcome)
        try:
            return json.dumps(document, ensure_ascii=False).encode() + b"\n"
        except UnicodeEncodeError:  # a name that is no Unicode
            return json.dumps(document).encode() + b"\n"

    def read(self, lines: Iterable[bytes]) -> Iterator[Row]:
        return _read(lines, self._row, b'{"path": ')

    def _row(self, data: bytes) -> Row:
        said = json.loads(data)
        return Row(data, str(said["path"]), str(said["domain"] or ""), said["error"] is not None)


class Csv:
    """Comma-separated, after RFC 4180, in UTF-8; similar captions are joined by ``|``.

    Spreadsheets take a cell that begins like a formula for one, so an apostrophe stands before it.
    """

    @property
    def header(self) -> bytes:
        return _csv_row(_COLUMNS)

    def key(self, path: Path) -> str:
        return _cell(str(path))

    def encode(self, outcome: Outcome) -> bytes:
        document = _document(outcome)
        similar = document["similar_captions"]
        document["similar_captions"] = similar and " | ".join(one["caption"] for one in similar)
        return _csv_row(_cell(document[name]) for name in _COLUMNS)

    def read(self, lines: Iterable[bytes]) -> Iterator[Row]:
        rows = _read(_records(lines), self._row, self.header)
        if (first := next(rows, None)) is None:
            return
        if first.data != self.header:
            raise Foreign("line 1 does not name the columns")
        yield from rows

    def _row(self, data: bytes) -> Row:
        (cells,) = csv.reader(io.StringIO(data.decode(errors="surrogateescape"), newline=""), strict=True)
        said = dict(zip(_COLUMNS, cells, strict=True))
        return Row(data, said["path"], said["domain"], bool(said["error"]))


def _document(outcome: Outcome) -> dict[str, Any]:
    said = {} if outcome.error is not None else json.loads(outcome.body)
    named = {"path": str(outcome.recording.path), "error": outcome.error}
    return {name: named.get(name, said.get(name)) for name in _COLUMNS}


def _cell(value: object) -> str:
    text = "" if value is None else str(value)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r", "'") and text != "-" else text


def _csv_row(cells: Iterable[str]) -> bytes:
    row = io.StringIO()
    # Of the writer's own end of a line, so that both of its characters are quoted in a cell.
    csv.writer(row).writerow(cells)
    return (row.getvalue().removesuffix("\r\n") + "\n").encode(errors="surrogateescape")


def _read(records: Iterable[bytes], parse: Callable[[bytes], Row], start: bytes) -> Iterator[Row]:
    cut: int | None = None
    for number, data in enumerate(records, start=1):
        if cut is not None:
            raise Foreign(f"line {cut} is no row of a table of captions")
        if not data.strip():
            continue
        try:
            row = parse(data) if data.endswith(b"\n") else None
        except (ValueError, KeyError, TypeError, csv.Error):
            row = None
        if row is not None:
            yield row
        elif len(data) > _LONGEST_ROW or (number == 1 and data[: len(start)] != start[: len(data)]):
            raise Foreign(f"line {number} is no row of a table of captions")
        else:
            cut = number


def _records(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Lines, joined where a line ends inside quotes."""
    held: list[bytes] = []
    quotes = 0
    for number, line in enumerate(lines, start=1):
        held.append(line)
        quotes += line.count(b'"')
        if len(held) > _MOST_LINES:
            raise Foreign(f"a quote that stands before line {number} is not closed")
        if quotes % 2 == 0:
            yield b"".join(held)
            held, quotes = [], 0
    if held:
        yield b"".join(held)
