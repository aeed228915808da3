"""Formats of tables of captions, NDJSON and CSV: rows are written, and read again to continue a table."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from cli.captioning.requests import Outcome

_COLUMNS = ("path", "caption", "domain", "domain_version", "duration", "similar_captions", "error")
# A longer rest of a file is not a row that was cut off: the table is damaged.
_LONGEST_ROW, _MOST_LINES = 1 << 20, 64


class ForeignTable(ValueError):
    """The file is not a table of captions; the message says where."""


@dataclass(frozen=True)
class TableRow:
    """A row that an earlier run wrote.

    Attributes:
        data: its bytes, with the end of the line.
        key: its recording, as `TableFormat.key` returns it.
        domain: the domain of the caption; empty if there is no caption.
        failed: whether the row reports an error.
    """

    data: bytes
    key: str
    domain: str
    failed: bool


class TableFormat(Protocol):
    """A format of tables."""

    @property
    def header(self) -> bytes:
        """The bytes before the first row."""

    def key(self, path: Path) -> str:
        """Return the name of a recording in its row."""

    def encode(self, outcome: Outcome) -> bytes:
        """Return the row of an outcome, whose body is the service's JSON."""

    def read(self, lines: Iterable[bytes]) -> Iterator[TableRow]:
        """Yield the rows of a file, without a last one that is incomplete. Raises `ForeignTable`."""


class Ndjson:
    """One JSON object a line."""

    header = b""

    def key(self, path: Path) -> str:
        return str(path)

    def encode(self, outcome: Outcome) -> bytes:
        document = _document(outcome)
        try:
            return json.dumps(document, ensure_ascii=False).encode() + b"\n"
        except UnicodeEncodeError:  # the name is not Unicode
            return json.dumps(document).encode() + b"\n"

    def read(self, lines: Iterable[bytes]) -> Iterator[TableRow]:
        return _read(lines, self._row, b'{"path": ')

    def _row(self, data: bytes) -> TableRow:
        said = json.loads(data)
        return TableRow(data, str(said["path"]), str(said["domain"] or ""), said["error"] is not None)


class Csv:
    """Comma-separated values of RFC 4180 in UTF-8. Similar captions are joined by ``|``.

    An apostrophe precedes a cell that begins like a formula, since spreadsheets would execute it.
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

    def read(self, lines: Iterable[bytes]) -> Iterator[TableRow]:
        rows = _read(_records(lines), self._row, self.header)
        if (first := next(rows, None)) is None:
            return
        if first.data != self.header:
            raise ForeignTable("line 1 does not name the columns")
        yield from rows

    def _row(self, data: bytes) -> TableRow:
        (cells,) = csv.reader(io.StringIO(data.decode(errors="surrogateescape"), newline=""), strict=True)
        said = dict(zip(_COLUMNS, cells, strict=True))
        return TableRow(data, said["path"], said["domain"], bool(said["error"]))


def _document(outcome: Outcome) -> dict[str, Any]:
    said = {} if outcome.error is not None else json.loads(outcome.body)
    named = {"path": str(outcome.recording.path), "error": outcome.error}
    return {name: named.get(name, said.get(name)) for name in _COLUMNS}


def _cell(value: object) -> str:
    text = "" if value is None else str(value)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r", "'") and text != "-" else text


def _csv_row(cells: Iterable[str]) -> bytes:
    row = io.StringIO()
    # The writer ends lines with \r\n itself, so that it quotes both characters in a cell.
    csv.writer(row).writerow(cells)
    return (row.getvalue().removesuffix("\r\n") + "\n").encode(errors="surrogateescape")


def _read(records: Iterable[bytes], parse: Callable[[bytes], TableRow], start: bytes) -> Iterator[TableRow]:
    cut: int | None = None
    for number, data in enumerate(records, start=1):
        if cut is not None:
            raise ForeignTable(f"line {cut} is not a row of a table of captions")
        if not data.strip():
            continue
        try:
            row = parse(data) if data.endswith(b"\n") else None
        except (ValueError, KeyError, TypeError, csv.Error):
            row = None
        if row is not None:
            yield row
        elif len(data) > _LONGEST_ROW or (number == 1 and data[: len(start)] != start[: len(data)]):
            raise ForeignTable(f"line {number} is not a row of a table of captions")
        else:
            cut = number


def _records(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Yield records: lines, joined if a line ends inside quotes."""
    held: list[bytes] = []
    quotes = 0
    for number, line in enumerate(lines, start=1):
        held.append(line)
        quotes += line.count(b'"')
        if len(held) > _MOST_LINES:
            raise ForeignTable(f"a quote before line {number} is not closed")
        if quotes % 2 == 0:
            yield b"".join(held)
            held, quotes = [], 0
    if held:
        yield b"".join(held)
