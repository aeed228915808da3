"""Vectors, and versions of them, for the contract tests."""

from collections.abc import Awaitable, Callable

import numpy as np

from datastores.base import DomainStore, DomainVersion, FloatArray, Statistics
from datastores.statistics import RunningStatistics

DIMENSION = 48
Reopen = Callable[[], Awaitable[DomainStore]]


def unit_vectors(count: int, seed: int = 0) -> FloatArray:
    vectors = np.random.default_rng(seed).normal(size=(count, DIMENSION)).astype(np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def statistics_of(vectors: FloatArray) -> Statistics:
    running = RunningStatistics(vectors.shape[1])
    running.add(vectors)
    return running.statistics()


async def put(store: DomainStore, domain: str, vectors: FloatArray, word: str = "caption") -> DomainVersion:
    async with store.writer(domain, dimension=DIMENSION, fingerprint="fake-1") as writer:
        await writer.add([f"{word} {row}" for row in range(len(vectors))], vectors)
        return await writer.commit(statistics_of(vectors))
