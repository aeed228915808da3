"""Vectors and reports that the tests of benchmarks share."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report import BenchmarkReport
from benchmarks.vectors import unit
from models.vectors import FloatArray

CAPTIONS = [f"tone {number} in the city" for number in range(40)]


def unit_vectors(count: int = 100, dimension: int = 16) -> FloatArray:
    return unit(np.random.default_rng(0).normal(size=(count, dimension)).astype(np.float32))


def written(report: BenchmarkReport, folder: Path) -> dict[str, Any]:
    report.write(folder / "out" / "report.json")
    document: dict[str, Any] = json.loads((folder / "out" / "report.json").read_text())
    assert document["format"] == 1
    assert document["machine"]["cores"] >= 1
    assert document["rows"]
    return document
