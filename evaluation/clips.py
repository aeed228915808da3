"""Reads clips and their references from a CSV file."""

import csv
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_FILE_COLUMNS = ("file", "file_name", "path", "filename")
_JSON_COLUMN = "captions_json"
_CAPTION_COLUMN = re.compile(r"caption(?:_\d+)?")

Row = dict[str, str]


class ClipsError(ValueError):
    """A list of clips cannot be used; the message says where and why."""


@dataclass(frozen=True)
class Clip:
    """A recording with its references.

    Attributes:
        path: the audio file; it existed when the list was read.
        references: at least one caption, in the order of the file.
    """

    path: Path
    references: tuple[str, ...]


def read_clips(path: Path, where: Mapping[str, str] | None = None) -> list[Clip]:
    """Return the clips of a CSV file in its order; rows without a reference are omitted, rows of one file are one clip.

    Args:
        path: CSV with a header, UTF-8. The audio file is in the column `file`, `file_name`, `path` or `filename`,
            relative to the CSV's folder. References are in `captions_json` (a JSON list of strings) if that is filled,
            else in `caption`, `caption_1`, `caption_2` and so on.
        where: column -> value that rows must have, without spaces at the ends.

    Raises:
        ClipsError: a column or an audio file is missing, a row is damaged, or no clip is left.
    """
    wanted = dict(where or {})
    references: dict[Path, list[str]] = {}
    rows = matching = 0
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines, strict=True)
            file_column = _file_column(path, reader.fieldnames or [], wanted)
            for line, row in _rows(path, reader):
                rows += 1
                if any(row[column].strip() != value.strip() for column, value in wanted.items()):
                    continue
                matching += 1
                texts = _references(row, f"{path}, line {line}")
                if not texts:
                    continue
                references.setdefault(_audio(path, row[file_column].strip(), line), []).extend(texts)
    except OSError as error:
        raise ClipsError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ClipsError(f"{path}: not UTF-8 at byte {error.start}") from None
    except csv.Error as error:
        # The reader counts a line when it has read it completely.
        raise ClipsError(f"{path}, after line {reader.line_num}: {error}") from None
    if not references:
        filtered = "".join(f", {column} = {value}" for column, value in wanted.items())
        raise ClipsError(f"{path}: no clip with a reference{filtered} ({rows} rows, {matching} of them match)")
    return [Clip(file, tuple(texts)) for file, texts in references.items()]


def _file_column(path: Path, header: Sequence[str], wanted: Mapping[str, str]) -> str:
    has = f"it has {', '.join(header)}" if header else "it is empty"
    if len(set(header)) != len(header):
        raise ClipsError(f"{path}, line 1: a column's name stands twice; {has}")
    for column in wanted:
        if column not in header:
            raise ClipsError(f"{path}, line 1: no column {column!r} to filter by; {has}")
    if _JSON_COLUMN not in header and not any(_CAPTION_COLUMN.fullmatch(column) for column in header):
        raise ClipsError(f"{path}, line 1: no column of references (captions_json, caption or caption_1); {has}")
    for column in _FILE_COLUMNS:
        if column in header:
            return column
    raise ClipsError(f"{path}, line 1: no column of audio files ({', '.join(_FILE_COLUMNS)}); {has}")


def _rows(path: Path, reader: "csv.DictReader[str]") -> Iterator[tuple[int, Row]]:
    fields = len(reader.fieldnames or [])
    for row in reader:
        # DictReader puts extra fields under None and fills missing ones with None.
        if None in row or None in row.values():
            raise ClipsError(f"{path}, line {reader.line_num}: not the {fields} fields of the header")
        yield reader.line_num, row


def _references(row: Row, place: str) -> list[str]:
    listed = row.get(_JSON_COLUMN, "").strip()
    if not listed:
        columns = [column for column in row if _CAPTION_COLUMN.fullmatch(column)]
        return [text for column in columns if (text := row[column].strip())]
    try:
        texts = json.loads(listed)
    except (ValueError, RecursionError) as error:
        raise ClipsError(f"{place}: {_JSON_COLUMN} is not JSON: {error}") from None
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ClipsError(f"{place}: {_JSON_COLUMN} is not a list of strings")
    return [text.strip() for text in texts if text.strip()]


def _audio(path: Path, name: str, line: int) -> Path:
    if not name:
        raise ClipsError(f"{path}, line {line}: no audio file is named")
    file = path.parent / name
    if not file.is_file():
        raise ClipsError(f"{path}, line {line}: there is no audio file {file}")
    return file
