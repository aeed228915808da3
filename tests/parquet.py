"""Parquet files for tests; they are skipped where pyarrow is not installed."""

from pathlib import Path
from typing import Any

import pytest


def write_parquet(file: Path, columns: dict[str, Any], **options: Any) -> None:
    """Write columns, each a list of values, to a file."""
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pyarrow.table(columns), file, **options)
