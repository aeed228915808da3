"""The program that `corpus_parquet` runs: a Parquet file on standard input, its captions as NDJSON on standard
output.

Takes the name of the column as its argument, if one was asked for. A system without resource limits sets none.
"""

import json
import sys
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

from datastores.corpus.columns import choose_columns, no_column
from datastores.corpus.error import CorpusError
from datastores.corpus.source import MAX_LINE_BYTES

MAX_MEMORY_BYTES = 1 << 30
MAX_CPU_SECONDS = 600
_BATCH_ROWS = 512
_PIECE_ENTRIES = 1024
_READ_BYTES = 1 << 16

Answer = Callable[[dict[str, object]], None]
# (row, text), or (row, what is wrong with it, kind of the error)
Entry = tuple[int, str] | tuple[int, str, str]


def main() -> None:
    """Read the file; always ends with an answer, unless the process is ended."""
    limit_resources()
    out = sys.stdout.buffer

    def answer(value: dict[str, object]) -> None:
        out.write(json.dumps(value, ensure_ascii=False).encode() + b"\n")

    try:
        _read(sys.argv[1] if len(sys.argv) > 1 else None, answer)
        answer({"end": True})
    except CorpusError as error:
        answer({"fatal": str(error), "kind": error.kind})
    out.flush()


def limit_resources() -> None:
    """Bound the memory and the time of this process."""
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (MAX_CPU_SECONDS, MAX_CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _read(column: str | None, answer: Answer) -> None:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise CorpusError(f"Parquet needs pyarrow, which cannot be loaded here: {error}", "format") from error
    pa.set_cpu_count(1)
    try:
        file = parquet.ParquetFile(sys.stdin.buffer, pre_buffer=False, buffer_size=_READ_BYTES)
        schema = file.schema_arrow
        names = [str(name) for name in schema.names]
        chosen = choose_columns(names, column)
        if not chosen:
            raise no_column(names, column)
        for at in chosen:
            _check_type(pa, schema.field(at))
        wanted = [names[at] for at in chosen]
        if any(names.count(name) > 1 for name in wanted):
            raise CorpusError(f"two columns are called {wanted[0]!r}", "column")
        rows = 0
        for batch in file.iter_batches(_BATCH_ROWS, columns=wanted, use_threads=False):
            columns = [_texts(pa, batch.column(name)) for name in wanted]
            share = min(1.0, rows / max(1, file.metadata.num_rows))
            for entries in _pieces(columns, rows + 1):
                answer({"entries": entries, "share": share})
            rows += batch.num_rows
    except (pa.ArrowException, OSError, MemoryError, ValueError, KeyError) as error:
        message = " ".join(str(error).split())[:200] or "out of memory"
        raise CorpusError(f"the Parquet file cannot be read: {message}", "damaged") from error


def _check_type(pa: Any, field: Any) -> None:
    kind = field.type
    if _is_list(pa, kind):
        kind = kind.value_type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)):
        raise CorpusError(f"column {field.name!r} holds {str(field.type)[:80]}, not text or lists of text", "column")


def _is_list(pa: Any, kind: Any) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _texts(pa: Any, array: Any) -> list[Any]:
    """The values as bytes, for text that is not UTF-8 is the fault of one row."""
    kind = pa.large_list(pa.large_binary()) if _is_list(pa, array.type) else pa.large_binary()
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    values: list[Any] = array.cast(kind).to_pylist()
    return values


def _pieces(columns: list[list[Any]], first_row: int) -> Iterator[list[Entry]]:
    """The entries of a batch, row by row, in pieces of not much more than the bytes of one entry."""
    piece: list[Entry] = []
    size = 0
    for number, values in enumerate(zip(*columns, strict=True), first_row):
        for value in chain.from_iterable(value if isinstance(value, list) else [value] for value in values):
            piece.append(_entry(value, number))
            size += len(value or b"")
            if size > MAX_LINE_BYTES or len(piece) >= _PIECE_ENTRIES:
                yield piece
                piece, size = [], 0
    yield piece


def _entry(value: bytes | None, number: int) -> Entry:
    if value is None:
        return number, ""
    if len(value) > MAX_LINE_BYTES:
        return number, f"it is longer than {MAX_LINE_BYTES:,} bytes", "too-long"
    try:
        return number, value.decode()
    except UnicodeDecodeError as error:
        wrong = value[error.start]
        return number, f"byte {error.start + 1} (0x{wrong:02x}) is not UTF-8", "encoding"


if __name__ == "__main__":
    main()
