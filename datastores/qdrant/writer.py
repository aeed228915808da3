"""Makes a new version on a Qdrant server: stored under a lease, verified, then switched to.

Storing runs ahead: `add` returns when its captions are on their way, a bounded number of requests at a time,
and `commit` waits for all of them. A request that failed for good makes the next `add` or `commit` fail.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from datastores.base import DatastoreError, DatastoreUnavailable, DomainVersion, FloatArray, Statistics
from datastores.checks import caption_digest, checked_vectors
from datastores.qdrant.captions import VersionCaptions
from datastores.qdrant.catalog import Catalog, CatalogEntry, Pointers
from datastores.qdrant.connection import Connection, Missing
from datastores.qdrant.statistics import MomentsShelf

_REQUEST_NUMBERS = 64 * 1024
"""Vector components a request: 1.3 MB of JSON, far below the 32 MB a server takes, and 20 ms of this process."""
_REQUEST_CAPTIONS = 1024
_SAMPLES = 8

logger = logging.getLogger(__name__)


class QdrantWriter:
    """One registration, under a lease of the catalog that it keeps alive between `start` and `stop`."""

    def __init__(self, connection: Connection, catalog: Catalog, moments: MomentsShelf, entry: CatalogEntry) -> None:
        self._connection = connection
        self._catalog = catalog
        self._moments = moments
        self._entry = entry
        self._captions = VersionCaptions(connection, entry.collection, entry.about.dimension)
        self._places = asyncio.Semaphore(connection.config.upload_parallel)
        self._uploads: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None
        self._seen: set[bytes] = set()
        self._samples: dict[str, FloatArray] = {}
        self._over = False
        self._renewed = asyncio.get_running_loop().time()
        self._heart: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to keep the lease alive and make the collection."""
        self._heart = asyncio.create_task(self._beat())
        await self._captions.create()

    async def stop(self) -> None:
        """End what runs beside: requests under way and the lease's renewal."""
        self._over = True
        beside = [*self._uploads, *([self._heart] if self._heart else [])]
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)

    async def add(self, captions: Sequence[str], vectors: FloatArray) -> None:
        """See `VersionWriter.add`."""
        self._check_open()
        vectors = checked_vectors(captions, vectors, self._entry.about.dimension)
        fresh = [row for row, caption in enumerate(captions) if self._is_new(caption)]
        first = len(self._seen) - len(fresh)
        size = max(1, min(_REQUEST_CAPTIONS, _REQUEST_NUMBERS // self._entry.about.dimension))
        for start in range(0, len(fresh), size):
            rows = fresh[start : start + size]
            await self._upload(first + start, [captions[row] for row in rows], vectors[rows])

    async def commit(self, statistics: Statistics) -> DomainVersion:
        """See `VersionWriter.commit`. What does not verify raises `DatastoreError` and never serves."""
        self._check_open()
        count = len(self._seen)
        if not count:
            raise DatastoreError("a version of no captions cannot serve")
        if statistics.count != count:
            raise DatastoreError(f"the statistics are of {statistics.count} captions and {count} were added")
        self._over = True
        try:
            return await self._finish(replace(self._entry.about, captions=count), statistics)
        except Missing as error:
            raise self._lost() from error

    async def _finish(self, about: DomainVersion, statistics: Statistics) -> DomainVersion:
        await asyncio.gather(*self._uploads, return_exceptions=True)
        self._check_uploads()
        if about.captions > self._connection.config.exact_below and not await self._captions.index():
            logger.warning("%s serves before its index is whole; searches are slower till then", self._entry.collection)
        await self._captions.verify(about.captions, self._samples)
        digest = await self._moments.put(self._entry.collection, statistics)
        await self._prolong(patient=True)
        before = (await self._catalog.pointers()).get(about.domain)
        entry = replace(self._entry, about=about, ready=True, digest=digest)
        await self._catalog.put(entry)
        await self._catalog.point(about.domain, Pointers(entry.collection, before.current if before else None))
        return about

    async def _upload(self, first: int, captions: list[str], vectors: FloatArray) -> None:
        for at in (0, len(captions) - 1):
            self._samples[captions[at]] = vectors[at]
        if len(self._samples) > 2 * _SAMPLES:
            self._samples = dict(list(self._samples.items())[::2])
        await self._places.acquire()
        self._check_uploads()
        rows = range(first, first + len(captions))
        task = asyncio.create_task(self._captions.store(rows, captions, np.ascontiguousarray(vectors)))
        self._uploads.add(task)
        task.add_done_callback(self._uploaded)

    def _uploaded(self, task: asyncio.Task[None]) -> None:
        self._places.release()
        self._uploads.discard(task)
        if not task.cancelled() and self._failure is None:
            self._failure = task.exception()

    def _check_open(self) -> None:
        if self._over:
            raise DatastoreError("this version is committed or discarded; open another writer")
        self._check_uploads()

    def _check_uploads(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _is_new(self, caption: str) -> bool:
        digest = caption_digest(caption)
        if digest in self._seen:
            return False
        self._seen.add(digest)
        return True

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._connection.config.lease_seconds / 3)
            try:
                await self._prolong()
            except DatastoreUnavailable as error:
                logger.warning("the lease of %s was not prolonged: %s", self._entry.collection, error)

    async def _prolong(self, *, patient: bool = False) -> None:
        clock = asyncio.get_running_loop().time
        now = clock()
        # Others may have begun to collect this version, and their clocks may be ahead of this one's.
        if now > self._renewed + self._connection.config.lease_seconds:
            raise self._lost()
        await self._catalog.renew(self._entry, patient=patient)
        self._renewed = now

    def _lost(self) -> DatastoreUnavailable:
        return DatastoreUnavailable(
            f"the registration of {self._entry.about.domain!r} lost its hold on the domain while the server was "
            "out of reach; register again"
        )
