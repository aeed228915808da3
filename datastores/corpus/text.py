"""Reads the captions of plain text and of NDJSON, one a line."""

import io
import json
from collections.abc import Iterator

from datastores.corpus.columns import captions_of_item
from datastores.corpus.error import CorpusError
from datastores.corpus.source import Lines


def read_text(file: io.BufferedReader, column: str | None) -> Iterator[tuple[int, str | CorpusError]]:
    """Yield (line number, caption), or the error of a line in place of its caption.

    Raises:
        CorpusError: a column is asked for.
    """
    if column is not None:
        raise CorpusError(f"plain text has no column {column!r}", "column")
    lines = Lines(file)
    for line in lines:
        if isinstance(line, CorpusError):
            yield lines.number, line
        else:
            # A lone carriage return ends a line too, as in old files.
            yield from ((lines.number, part) for part in line.rstrip("\r\n").split("\r"))


def read_ndjson(file: io.BufferedReader, column: str | None) -> Iterator[tuple[int, str | CorpusError]]:
    """Yield (line number, caption), or the error of a line in place of its caption."""
    lines = Lines(file)
    for line in lines:
        texts = _captions(line, column, lines.number)
        if isinstance(texts, CorpusError):
            yield lines.number, texts
        else:
            yield from ((lines.number, text) for text in texts)


def _captions(line: str | CorpusError, column: str | None, number: int) -> list[str] | CorpusError:
    if isinstance(line, CorpusError):
        return line
    if not line.strip():
        return [""]
    try:
        item = json.loads(line)
    except (ValueError, RecursionError) as error:
        reason = getattr(error, "msg", "it nests too deep or has a huge number")
        return CorpusError(f"it is not JSON: {reason}", "row", number)
    return captions_of_item(item, column, number, "line")
