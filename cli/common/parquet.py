"""Parquet files of captions: the command reads them itself, and passes their captions on as NDJSON."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cli.common.errors import CommandError
from datastores.corpus.columns import choose_columns, no_column
from datastores.corpus.error import CorpusError

SUFFIXES = (".parquet", ".pq")
_ROWS_AT_ONCE = 512


@contextmanager
def readable(file: Path, column: str | None = None) -> Iterator[Path]:
    """Yield the corpus file itself; in place of a Parquet file, NDJSON with one line a row, removed afterwards.

    Args:
        file: a corpus in any format.
        column: the column that holds the captions; None chooses as for a table, see `choose_columns`. The NDJSON has
            them under this name, or under ``caption``.

    Raises:
        CommandError: pyarrow is not installed, the Parquet file is damaged, or it has no captions.
        CorpusError: the block raised it; the message names the Parquet file.
    """
    if file.suffix.lower() not in SUFFIXES:
        yield file
        return
    with tempfile.TemporaryDirectory(prefix="drcap-corpus-") as folder:
        ndjson = Path(folder, f"{file.stem}.ndjson")
        _convert(file, column, ndjson)
        try:
            yield ndjson
        except CorpusError as error:
            # A line of the NDJSON is a row of the file that the user knows.
            raise CorpusError(str(error).replace(str(ndjson), str(file)), error.kind) from error


def _convert(file: Path, column: str | None, ndjson: Path) -> None:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        raise CommandError(f"{file}: Parquet needs pyarrow; install drcap[parquet]") from error
    try:
        with parquet.ParquetFile(file) as source, ndjson.open("w", encoding="utf-8") as lines:
            names = source.schema_arrow.names
            chosen = [names[at] for at in choose_columns(names, column)]
            if not chosen:
                raise no_column(names, column)
            for batch in source.iter_batches(_ROWS_AT_ONCE, columns=chosen):
                for row in zip(*(_texts(name, batch.column(name)) for name in chosen), strict=True):
                    texts = [text for cell in row for text in cell]
                    lines.write(json.dumps({column or "caption": texts}, ensure_ascii=False) + "\n")
    except CorpusError as error:
        raise CommandError(f"{file}: {error}") from error
    except (ArrowException, OSError, ValueError, KeyError) as error:
        raise CommandError(f"{file} cannot be read as Parquet: {' '.join(str(error).split())[:200]}") from error


def _texts(name: str, column: Any) -> Iterator[list[str]]:
    """The captions of each cell; a null is an empty caption."""
    for cell in column.to_pylist():
        texts = ["" if text is None else text for text in (cell if isinstance(cell, list) else [cell])]
        if not all(isinstance(text, str) for text in texts):
            kind = column.type
            raise CorpusError(f"column {name!r} holds {kind}, not text or lists of text", "column")
        yield texts
