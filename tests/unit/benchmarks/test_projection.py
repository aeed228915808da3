from pathlib import Path

import pytest
from rich.console import Console

from benchmarks import projection
from benchmarks.report import BenchmarkReport
from tests.benchmark_parts import unit_vectors, written


def test_projection_compares_with_the_exact_one_and_times_both(tmp_path: Path) -> None:
    settings = projection.ProjectionSettings((60, 120), (16,), (0.05, 0.5), (50,), queries=5)
    report = BenchmarkReport("projection", vars(settings))
    projection.run(unit_vectors(), settings, report, Console(quiet=True))
    rows = written(report, tmp_path)["rows"]
    cosines = [row for row in rows if "worst" in row]
    assert len(cosines) == 2 * 2 * 2
    assert all(row["worst"] <= row["mean"] <= 1.00001 for row in cosines)
    timed = [row for row in rows if "p50_ms" in row]
    assert [(row["what"], row["captions"]) for row in timed] == [
        ("projection alone", 60),
        ("query and projection", 60),
        ("projection alone", 120),
        ("query and projection", 120),
    ]
    assert all(row["numpy_ratio"] == pytest.approx(row["numpy_p50_ms"] / row["p50_ms"]) for row in timed)
