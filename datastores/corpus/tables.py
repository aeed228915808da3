"""Reads the captions of CSV and TSV files; the header shows their columns and the delimiter."""

import csv
import io
from collections.abc import Iterator

from datastores.corpus.columns import captions_of_cell, choose_columns, no_column
from datastores.corpus.error import CorpusError
from datastores.corpus.source import Lines

_DELIMITERS = ",;\t"


class _BadLine(Exception):
    """Carries the error of a line through `csv.reader`."""

    def __init__(self, error: CorpusError) -> None:
        super().__init__(str(error))
        self.error = error


class _Feed(Iterator[str]):
    """Lines for `csv.reader`. It is not a generator, because a generator ends with its first exception."""

    def __init__(self, first: str, lines: Lines) -> None:
        self._first: str | None = first
        self._lines = lines

    def __next__(self) -> str:
        if self._first is not None:
            first, self._first = self._first, None
            return first
        line = next(self._lines)
        if isinstance(line, CorpusError):
            raise _BadLine(line)
        return line


def read_table(
    file: io.BufferedReader, column: str | None, delimiters: str = _DELIMITERS
) -> Iterator[tuple[int, str | CorpusError]]:
    """Yield (line number, caption), or the error of a row in place of its caption.

    The first line that is not blank is the header. A header of one column without a name for captions counts as a
    caption; every row after it must have a caption too.

    Raises:
        CorpusError: the header cannot be read, no column holds captions, or a quote does not close, so that the next
            rows cannot be found.
    """
    lines = Lines(file)
    for first in lines:
        if isinstance(first, CorpusError):
            raise first
        if not first.strip():
            yield lines.number, ""
        else:
            delimiter = choose_delimiter(first, column, delimiters)
            yield from _captions(_rows(first, lines, delimiter), column)


def choose_delimiter(header: str, column: str | None, delimiters: str = _DELIMITERS) -> str:
    """The delimiter that gives the header a column for captions, else the one that gives most columns."""
    splits = {delimiter: _split(header, delimiter) for delimiter in delimiters}
    return max(splits, key=lambda one: (bool(choose_columns(splits[one], column)), len(splits[one])))


def has_captions(header: str, column: str | None) -> bool:
    """Return True for the header of a table with captions."""
    return bool(choose_columns(_split(header, choose_delimiter(header, column)), column))


def _split(line: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        return []


def _rows(first: str, lines: Lines, delimiter: str) -> Iterator[tuple[int, list[str] | CorpusError]]:
    """Yield (number of its last line, row), or the error of a row in its place."""
    reader = csv.reader(_Feed(first, lines), delimiter=delimiter, strict=True)
    begins = lines.number
    while True:
        row: list[str] | CorpusError | None
        try:
            row = next(reader, None)
        except _BadLine as bad:
            row = bad.error
        except csv.Error as error:
            row = _not_csv(str(error), begins, lines.number)
        if row is None:
            return
        yield lines.number, row
        begins = lines.number + 1


def _not_csv(reason: str, begins: int, ends: int) -> CorpusError:
    # csv refuses a field of over 128 KiB, so a quote that never closes cannot swallow the file.
    if reason.startswith("unexpected end") or (reason.startswith("field larger") and ends > begins):
        raise CorpusError("it is not CSV: a quote that opens in this row does not close", "row", begins)
    until = f" (the row goes on to line {ends})" if ends > begins else ""
    return CorpusError(f"it is not CSV: {reason}{until}", "row", begins)


def _captions(
    rows: Iterator[tuple[int, list[str] | CorpusError]], column: str | None
) -> Iterator[tuple[int, str | CorpusError]]:
    header: list[str] | None = None
    columns: list[int] = []
    for number, row in rows:
        if isinstance(row, CorpusError):
            yield number, row
        elif header is None:
            header, columns = row, choose_columns(row, column)
            if not columns:
                if len(row) > 1 or column is not None:
                    raise no_column(row, column, number)
                columns = [0]
                yield number, row[0]
        elif not row:
            yield number, ""
        elif error := _misfit(row, header, columns, number):
            yield number, error
        else:
            yield from ((number, caption) for at in columns for caption in captions_of_cell(row[at]))


def _misfit(row: list[str], header: list[str], columns: list[int], number: int) -> CorpusError | None:
    if columns[-1] >= len(row):
        return CorpusError(f"it has {len(row)} columns and no caption in column {columns[-1] + 1}", "row", number)
    # Spreadsheets fill short rows with empty cells; a text beyond the header is a caption cut at its commas.
    if any(cell.strip() for cell in row[len(header) :]):
        return CorpusError(
            f"it has {len(row)} columns where the first line has {len(header)}; put quotes around a caption"
            " that holds the delimiter",
            "row",
            number,
        )
    return None
