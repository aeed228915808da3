"""Captions of a Parquet file, read by a child process that may use only so much memory and time.

A Parquet file says itself how much memory its pages need, and the library that reads it is native code: what a
hostile file does to the child is an error here.
"""

import importlib.util
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, BinaryIO, cast

from datastores.corpus.error import CorpusError
from datastores.corpus.source import MAX_LINE_BYTES, Meter

MAGIC = b"PAR1"
_CHILD = "datastores.corpus.parquet_child"
# An answer holds less than two captions of the greatest length, and JSON may take six bytes for one of theirs.
_MAX_ANSWER_BYTES = 13 * MAX_LINE_BYTES


def require_parquet() -> None:
    """Raises `CorpusError` of kind ``format`` where pyarrow is not installed."""
    if importlib.util.find_spec("pyarrow") is None:
        raise CorpusError("Parquet needs pyarrow, which is not installed; install drcap[parquet]", "format")


def read_parquet(
    file: io.BufferedReader, column: str | None, max_bytes: int, meter: Meter
) -> Iterator[tuple[int, str | CorpusError]]:
    """(number of the row, caption), or in place of a caption what is wrong with its row; a null is an empty caption.

    The file is first copied to the disk, for it is read from its end. Closing the iterator ends the child.

    Args:
        max_bytes: of the captions together, with a few bytes for each.
        meter: is set back while captions are taken, to tell how far they are.

    Raises:
        CorpusError: it is no Parquet, no column holds captions, or reading it takes too much memory or time.
    """
    with tempfile.TemporaryFile() as copy:
        shutil.copyfileobj(file, copy)
        copy.seek(0)
        yield from _read(copy, column, max_bytes, meter)


def _read(copy: BinaryIO, column: str | None, max_bytes: int, meter: Meter) -> Iterator[tuple[int, str | CorpusError]]:
    source_bytes, answered = meter.bytes_read, 0
    child = subprocess.Popen(  # noqa: S603
        _command(column), stdin=copy, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=_environment()
    )
    with child:
        try:
            # A line without its end is what a child wrote that was ended.
            while (line := cast(IO[bytes], child.stdout).readline(_MAX_ANSWER_BYTES)).endswith(b"\n"):
                answered += len(line)
                if answered > max_bytes:
                    raise CorpusError(
                        f"the captions have more than {max_bytes:,} bytes (DRCAP_CORPUS__MAX_UNPACKED_BYTES)",
                        "too-long",
                    )
                answer = json.loads(line)
                if "end" in answer:
                    meter.bytes_read = source_bytes
                    return
                if "fatal" in answer:
                    raise CorpusError(answer["fatal"], answer["kind"])
                meter.bytes_read = int(source_bytes * answer["share"])
                for number, text, *kind in answer["entries"]:
                    yield number, CorpusError(text, kind[0], number, "row") if kind else text
        finally:
            child.kill()
    raise CorpusError(
        "the Parquet file is damaged, or needs too much memory or time; write it anew with smaller pages", "damaged"
    )


def _command(column: str | None) -> list[str]:
    return [sys.executable, "-P", "-m", _CHILD, *([] if column is None else [column])]


def _environment() -> dict[str, str]:
    """No more than the child needs: the secrets of the service are no business of a parser of foreign files."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "SYSTEMROOT") if name in os.environ}
    # The other allocators of pyarrow reserve address space beyond what is used, which is what the child limits.
    root = str(Path(__file__).resolve().parents[1])
    return kept | {"PYTHONPATH": root, "ARROW_DEFAULT_MEMORY_POOL": "system", "OMP_NUM_THREADS": "1"}
