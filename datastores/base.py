"""The contract of a datastore: versioned domains of captions with their text embeddings."""

import builtins
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]


class DatastoreError(Exception):
    """A datastore refuses a request or fails."""


class DomainNotFound(DatastoreError):
    """There is no domain of that name, or no version to return to."""


class InvalidDomainName(DatastoreError):
    """The name cannot be the name of a domain; see `DOMAIN_NAME`."""


class DomainBusy(DatastoreError):
    """Another registration of the same domain is under way."""


class FingerprintMismatch(DatastoreError):
    """Another CLAP than the one in use embedded the domain."""


class DatastoreUnavailable(DatastoreError):
    """The storage engine cannot be opened or does not answer."""


class DatastoreInUse(DatastoreUnavailable):
    """Another process has the embedded datastore open."""


DOMAIN_NAME = r"^[a-z0-9](?:[a-z0-9_-]{0,62}[a-z0-9])?$"
"""Lower-case letters, digits, ``-`` and ``_``, 1 to 64 characters, first and last a letter or a digit."""


@dataclass(frozen=True)
class Statistics:
    """Mean and covariance of a version's embeddings, in float64.

    Attributes:
        count: number of captions N.
        mean: mu [d].
        covariance: C [d, d], divided by N.
    """

    count: int
    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]


@dataclass(frozen=True)
class DomainVersion:
    """One immutable version of a domain. A request resolves it once and then asks only this version."""

    domain: str
    version: str
    captions: int
    dimension: int
    fingerprint: str
    created: datetime


@dataclass(frozen=True)
class Neighbour:
    """A caption near a query: its cosine similarity and its embedding [d]."""

    caption: str
    score: float
    vector: FloatArray


@dataclass(frozen=True)
class StoredCaption:
    """A caption as it is stored, with its embedding [d]."""

    caption: str
    vector: FloatArray


class VersionWriter(Protocol):
    """Fills a new version, which serves only after `commit`. Leaving the context without a commit discards it."""

    async def add(self, captions: Sequence[str], vectors: FloatArray) -> None:
        """Store captions with their unit vectors [n, d]. Every caption of a version is added once."""

    async def commit(self, statistics: Statistics) -> DomainVersion:
        """Verify that everything was stored, make the version durable and switch the domain to it at once.

        Raises:
            DatastoreError: something was not stored, a caption was added twice, or the statistics are of others.
        """


class DomainStore(Protocol):
    """Versioned domains. Every method may raise `DatastoreUnavailable`."""

    async def list(self) -> builtins.list[DomainVersion]:
        """The serving version of every domain, by name."""

    async def resolve(self, domain: str) -> DomainVersion:
        """The version that serves now. Raises `DomainNotFound` or `InvalidDomainName`."""

    async def search(
        self, version: DomainVersion, vectors: FloatArray, limit: int
    ) -> builtins.list[builtins.list[Neighbour]]:
        """For each of the vectors [n, d], the `limit` captions of highest cosine similarity, best first.

        One query for each vector gives both the support of the projection and the similar captions.
        """

    async def statistics(self, version: DomainVersion) -> Statistics:
        """The statistics stored with the version."""

    async def lookup(self, version: DomainVersion, captions: Sequence[str]) -> builtins.list[FloatArray | None]:
        """The embedding [d] of each caption that the version holds letter for letter; None for every other."""

    def entries(self, version: DomainVersion, *, page: int = 1024) -> AsyncIterator[builtins.list[StoredCaption]]:
        """Every caption of the version once, at most `page` at a time. The backend chooses the order."""

    def writer(self, domain: str, *, dimension: int, fingerprint: str) -> AbstractAsyncContextManager[VersionWriter]:
        """Open a new version for writing. Raises `DomainBusy` while another writer of the domain is open."""

    async def rollback(self, domain: str) -> DomainVersion:
        """Serve the version before the current one again. Raises `DomainNotFound` if there is none."""

    async def delete(self, domain: str) -> None:
        """Remove the domain with all its versions. Raises `DomainNotFound`."""

    async def close(self) -> None:
        """Release files and connections."""
