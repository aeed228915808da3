"""A datastore in memory, so that the service is tested without files."""

import builtins
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np

from datastores.base import (
    DomainBusy,
    DomainNotFound,
    DomainVersion,
    FloatArray,
    Neighbour,
    Statistics,
    StoredCaption,
)
from datastores.checks import check_name


@dataclass
class _Version:
    about: DomainVersion
    captions: list[str]
    vectors: FloatArray
    statistics: Statistics


@dataclass
class _Writer:
    captions: dict[str, FloatArray] = field(default_factory=dict)
    committed: Statistics | None = None
    about: DomainVersion | None = None

    async def add(self, captions: Sequence[str], vectors: FloatArray) -> None:
        self.captions.update(zip(captions, vectors, strict=True))

    async def commit(self, statistics: Statistics) -> DomainVersion:
        assert self.about is not None
        self.committed = statistics
        self.about = DomainVersion(**{**vars(self.about), "captions": len(self.captions)})
        return self.about


class MemoryStore:
    """Keeps every version of every domain; counts the searches, so a test can tell one query from two."""

    def __init__(self) -> None:
        self._versions: dict[str, list[_Version]] = {}
        self._writing: set[str] = set()
        self.searches: list[int] = []

    async def list(self) -> builtins.list[DomainVersion]:
        return [versions[-1].about for _, versions in sorted(self._versions.items())]

    async def resolve(self, domain: str) -> DomainVersion:
        return self._serving(domain).about

    async def search(
        self, version: DomainVersion, vectors: FloatArray, limit: int
    ) -> builtins.list[builtins.list[Neighbour]]:
        self.searches.append(len(vectors))
        one = self._version(version)
        answers = []
        for scores in vectors @ one.vectors.T:
            best = np.argsort(-scores)[:limit]
            answers.append([Neighbour(one.captions[i], float(scores[i]), one.vectors[i]) for i in best])
        return answers

    async def statistics(self, version: DomainVersion) -> Statistics:
        return self._version(version).statistics

    async def lookup(self, version: DomainVersion, captions: Sequence[str]) -> builtins.list[FloatArray | None]:
        one = self._version(version)
        rows = {caption: row for row, caption in enumerate(one.captions)}
        return [one.vectors[rows[caption]] if caption in rows else None for caption in captions]

    async def entries(self, version: DomainVersion, *, page: int = 1024) -> AsyncIterator[builtins.list[StoredCaption]]:
        one = self._version(version)
        everything = [StoredCaption(*pair) for pair in zip(one.captions, one.vectors, strict=True)]
        for start in range(0, len(everything), page):
            yield everything[start : start + page]

    @asynccontextmanager
    async def writer(self, domain: str, *, dimension: int, fingerprint: str) -> AsyncIterator[_Writer]:
        check_name(domain)
        if domain in self._writing:
            raise DomainBusy(f"domain {domain!r} is being registered")
        self._writing.add(domain)
        number = len(self._versions.get(domain, [])) + 1
        writer = _Writer()
        writer.about = DomainVersion(domain, f"v{number}", 0, dimension, fingerprint, datetime.now(UTC))
        try:
            yield writer
        finally:
            self._writing.discard(domain)
        if writer.committed is not None:
            vectors = np.stack(list(writer.captions.values()))
            version = _Version(writer.about, list(writer.captions), vectors, writer.committed)
            self._versions.setdefault(domain, []).append(version)

    async def rollback(self, domain: str) -> DomainVersion:
        if len(self._versions.get(domain, [])) < 2:
            raise DomainNotFound(f"domain {domain!r} has no version to return to")
        self._versions[domain].pop()
        return self._serving(domain).about

    async def delete(self, domain: str) -> None:
        self._serving(domain)
        del self._versions[domain]

    async def close(self) -> None:
        self._versions.clear()

    async def put(self, domain: str, captions: Sequence[str], vectors: FloatArray, fingerprint: str) -> None:
        """Register without ceremony."""
        async with self.writer(domain, dimension=vectors.shape[1], fingerprint=fingerprint) as writer:
            await writer.add(captions, vectors)
            centred = vectors - vectors.mean(axis=0)
            covariance = centred.T @ centred / len(vectors)
            mean = vectors.mean(axis=0, dtype=np.float64)
            await writer.commit(Statistics(len(vectors), mean, covariance.astype(np.float64)))

    def _version(self, version: DomainVersion) -> _Version:
        for one in self._versions.get(version.domain, []):
            if one.about == version:
                return one
        raise DomainNotFound(f"version {version.version} of domain {version.domain!r} is gone")

    def _serving(self, domain: str) -> _Version:
        check_name(domain)
        if domain not in self._versions:
            raise DomainNotFound(f"there is no domain {domain!r}")
        return self._versions[domain][-1]
