"""Compares the projection, head and closed-form tail, with the exact softmax: closeness and time at growing sizes."""

import asyncio
import gc
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from rich.console import Console

from benchmarks.benchmark_domain import DOMAIN, fill, statistics_of
from benchmarks.exact import Exact, exact_all, exact_numpy, exact_torch
from benchmarks.report import BenchmarkReport, Row, milliseconds, percentiles
from benchmarks.vectors import extend, heard, random_queries
from datastores.base import Statistics
from datastores.edge.store import EdgeStore
from models.conditioning.projection import Projection
from models.vectors import FloatArray

_TIMED_EXACT = 20


@dataclass(frozen=True)
class ProjectionSettings:
    """The settings of a measurement.

    Attributes:
        sizes: of the supports.
        dimensions: of the vectors.
        temperatures: of the projection.
        heads: captions that are summed one by one.
        queries: of each kind.
        store: also time a search of the embedded store.
    """

    sizes: tuple[int, ...] = (10_000, 100_000)
    dimensions: tuple[int, ...] = (384, 512)
    temperatures: tuple[float, ...] = (0.03, 0.05, 0.07)
    heads: tuple[int, ...] = (128, 512)
    queries: int = 500
    store: bool = True


def run(vectors: FloatArray, settings: ProjectionSettings, report: BenchmarkReport, console: Console) -> None:
    """Measure into the report.

    Args:
        vectors: unit vectors of real captions [n, d]; the last fifth, at most `queries`, serve as queries.
    """
    held = min(settings.queries, len(vectors) // 5)
    known, asked = vectors[:-held], vectors[-held:]
    for dimension in settings.dimensions:
        for size in settings.sizes:
            console.print(f"projection: {size:,} captions of {dimension} dimensions")
            support = extend(known, size, dimension)
            statistics = statistics_of(support)
            for kind, queries in (("random", random_queries(held, dimension)), ("heard", heard(asked, dimension))):
                exact = exact_all(queries, support, settings.temperatures, max(settings.heads))
                report.rows += _closeness(kind, queries, support, exact, statistics, settings)
            report.rows += _latency(queries, support, exact, statistics, settings)
            del support
            gc.collect()


def _closeness(
    kind: str,
    queries: FloatArray,
    support: FloatArray,
    exact: Exact,
    statistics: Statistics,
    settings: ProjectionSettings,
) -> Iterator[Row]:
    for tau in settings.temperatures:
        for head in settings.heads:
            if head < len(support):
                yield {
                    "what": f"cosine to exact, {kind} queries",
                    "captions": len(support),
                    "dimension": support.shape[1],
                    "temperature": tau,
                    "head": head,
                    **_cosines(exact, queries, support, statistics, tau, head),
                }


def _cosines(
    exact: Exact, queries: FloatArray, support: FloatArray, statistics: Statistics, tau: float, head: int
) -> Row:
    projection = Projection(tau)
    with_tail, without = [], []
    for query, rows, scores, truth in zip(queries, exact.rows, exact.scores, exact.projected[tau], strict=True):
        near = support[rows[:head]]
        with_tail.append(projection.project(query, near, scores[:head], statistics) @ truth)
        alone = Statistics(head, statistics.mean, statistics.covariance)
        without.append(projection.project(query, near, scores[:head], alone) @ truth)
    return {
        "mean": float(np.mean(with_tail)),
        "worst": float(np.min(with_tail)),
        "head_alone_mean": float(np.mean(without)),
        "head_alone_worst": float(np.min(without)),
    }


def _latency(
    queries: FloatArray, support: FloatArray, nearest: Exact, statistics: Statistics, settings: ProjectionSettings
) -> Iterator[Row]:
    tau, head = settings.temperatures[-1], min(max(settings.heads), len(support))
    projection = Projection(tau)
    ours = milliseconds(
        partial(projection.project, query, support[rows], scores, statistics)
        for query, rows, scores in zip(queries, nearest.rows, nearest.scores, strict=True)
    )
    some = queries[:_TIMED_EXACT]
    tensor = torch.from_numpy(support)
    by_numpy = milliseconds(partial(exact_numpy, query, support, tau) for query in some)
    by_torch = milliseconds(partial(exact_torch, torch.from_numpy(query), tensor, tau) for query in some)
    facts: Row = {"captions": len(support), "dimension": support.shape[1]}
    asked = _asked(queries, support, statistics, projection, head) if settings.store else None
    for what, taken in (("projection alone", ours), ("query and projection", asked)):
        if taken is not None:
            yield {
                "what": what,
                **facts,
                **percentiles(taken),
                **percentiles(by_numpy, "numpy_"),
                **percentiles(by_torch, "torch_"),
                "numpy_ratio": float(np.median(by_numpy) / np.median(taken)),
                "torch_ratio": float(np.median(by_torch) / np.median(taken)),
            }


def _asked(
    queries: FloatArray, support: FloatArray, statistics: Statistics, projection: Projection, head: int
) -> list[float]:
    """Return the milliseconds of each search of the embedded store with the projection of its neighbours."""
    with tempfile.TemporaryDirectory() as folder, asyncio.Runner() as runner:
        store = runner.run(EdgeStore.open(Path(folder)))
        try:
            runner.run(fill(store, support, statistics))
            version = runner.run(store.resolve(DOMAIN))

            def ask(query: FloatArray) -> FloatArray:
                (near,) = runner.run(store.search(version, query[None], head))
                vectors = np.stack([one.vector for one in near])
                return projection.project(query, vectors, np.array([one.score for one in near]), statistics)

            ask(queries[0])
            return milliseconds(partial(ask, query) for query in queries)
        finally:
            runner.run(store.close())
