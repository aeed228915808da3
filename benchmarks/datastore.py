"""Compares the embedded engine with qdrant-client's local mode and FAISS, each in processes of its own."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from benchmarks.benchmark_domain import caption_of
from benchmarks.child import PackageMissing, answer_of
from benchmarks.engines import ENGINES, LOCAL, OURS
from benchmarks.exact import exact_all
from benchmarks.report import BenchmarkReport, Row
from benchmarks.vectors import extend, heard
from models.vectors import FloatArray

_LIMIT = 3


@dataclass(frozen=True)
class DatastoreBenchmarkSettings:
    """The settings of a measurement.

    Attributes:
        sizes: numbers of captions.
        dimension: of the vectors.
        queries: number of them.
        local_captions: most captions for qdrant-client's local mode, which takes milliseconds to store one.
    """

    sizes: tuple[int, ...] = (50_000,)
    dimension: int = 384
    queries: int = 200
    local_captions: int = 50_000


def run(vectors: FloatArray, settings: DatastoreBenchmarkSettings, report: BenchmarkReport, console: Console) -> None:
    """Measure into the report, on unit vectors of real captions [n, d]; the last ones serve as queries."""
    held = min(settings.queries, len(vectors) // 5)
    queries = heard(vectors[-held:], settings.dimension)
    for size in settings.sizes:
        with tempfile.TemporaryDirectory() as folder:
            support = extend(vectors[:-held], size, settings.dimension)
            wanted = [[caption_of(int(row)) for row in rows] for rows in exact_all(queries, support, (), _LIMIT).rows]
            np.save(Path(folder) / "stored.npy", support)
            np.save(Path(folder) / "asked.npy", queries)
            del support
            for name in ENGINES:
                if name == LOCAL and size > settings.local_captions:
                    report.notes.append(f"{name} is omitted at {size:,} captions (--local-captions)")
                    continue
                console.print(f"datastore: {name}, {size:,} captions")
                try:
                    report.rows.append(_measured(name, size, Path(folder), wanted))
                except PackageMissing as error:
                    report.notes.append(f"{name} is omitted: {error}")
    _compare(report)


def _measured(name: str, size: int, folder: Path, wanted: Sequence[Sequence[str]]) -> Row:
    own = folder / name.replace(" ", "-")
    own.mkdir()
    built = _job("build", name, own, folder / "stored.npy")
    served = _job("serve", name, own, folder / "asked.npy")
    answers = served.pop("answers")
    hits = sum(len(set(one) & set(its)) for one, its in zip(wanted, answers, strict=True))
    return {"what": name, "captions": size, **built, **served, "recall": hits / sum(map(len, wanted))}


def _job(job: str, engine: str, folder: Path, vectors: Path) -> dict[str, Any]:
    result: dict[str, Any] = answer_of("benchmarks.engine_process", job, engine, str(folder), str(vectors), str(_LIMIT))
    return result


def _compare(report: BenchmarkReport) -> None:
    """Add the ratio of each engine's median query time to ours."""
    ours = {row["captions"]: float(row["p50_ms"] or 0.0) for row in report.rows if row["what"] == OURS}
    for row in report.rows:
        row["query_ratio"] = float(row["p50_ms"] or 0.0) / ours[row["captions"]]
