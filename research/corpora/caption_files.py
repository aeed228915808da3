"""Caption files ``NAME.csv.gz``."""

import csv
import gzip
from pathlib import Path


def read_captions(path: Path) -> list[str]:
    """Return the distinct captions of a gzipped CSV with a `caption` column, in order. Raises OSError or KeyError."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as stream:
        return list(dict.fromkeys(row["caption"] for row in csv.DictReader(stream)))
