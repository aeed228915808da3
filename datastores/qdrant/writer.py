"""Writes a new version on a Qdrant server: stores it under a lease, verifies it and switches to it.

`add` returns while its captions are still being sent, with a bounded number of requests at a time, and `commit` waits
for all of them. A request that finally failed makes the next `add` or `commit` fail.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from datastores.base import DatastoreUnavailable, DomainVersion, FloatArray, Statistics
from datastores.draft import Draft
from datastores.qdrant.captions import VersionCaptions
from datastores.qdrant.catalog import Catalog, CatalogEntry, Pointers
from datastores.qdrant.connection import Missing, QdrantConnection
from datastores.qdrant.statistics import StoredStatistics

_REQUEST_NUMBERS = 64 * 1024
"""Vector components in a request: 1.3 MB of JSON, far below the 32 MB a server takes, and 20 ms of this process."""
_REQUEST_CAPTIONS = 1024

logger = logging.getLogger(__name__)


class QdrantWriter:
    """One registration. Between `start` and `stop` it keeps its lease in the catalog alive."""

    def __init__(
        self,
        connection: QdrantConnection,
        catalog: Catalog,
        statistics: StoredStatistics,
        entry: CatalogEntry,
        draft: Draft,
    ) -> None:
        """`entry` is the catalog's of the draft's version."""
        self._connection = connection
        self._catalog = catalog
        self._statistics = statistics
        self._entry = entry
        self._draft = draft
        self._captions = VersionCaptions(connection, entry.collection, entry.about.dimension)
        self._places = asyncio.Semaphore(connection.config.upload_parallel)
        self._uploads: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None
        self._renewed = asyncio.get_running_loop().time()
        self._heart: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start to keep the lease alive and create the collection."""
        self._heart = asyncio.create_task(self._beat())
        await self._captions.create()

    async def stop(self) -> None:
        """Cancel running requests and stop renewing the lease."""
        self._draft.over = True
        beside = [*self._uploads, *([self._heart] if self._heart else [])]
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)

    async def add(self, captions: Sequence[str], vectors: FloatArray) -> None:
        """See `VersionWriter.add`."""
        self._draft.check_open()
        self._check_uploads()
        first = self._draft.count
        vectors = self._draft.add(captions, vectors)
        size = max(1, min(_REQUEST_CAPTIONS, _REQUEST_NUMBERS // self._draft.about.dimension))
        for start in range(0, len(captions), size):
            await self._upload(first + start, captions[start : start + size], vectors[start : start + size])

    async def commit(self, statistics: Statistics) -> DomainVersion:
        """See `VersionWriter.commit`. A version that does not verify raises `DatastoreError` and never serves."""
        self._draft.check_open()
        self._check_uploads()
        about = await asyncio.to_thread(self._draft.commit, statistics)
        try:
            return await self._finish(about, statistics)
        except Missing as error:
            raise self._lost() from error

    async def _finish(self, about: DomainVersion, statistics: Statistics) -> DomainVersion:
        await asyncio.gather(*self._uploads, return_exceptions=True)
        self._check_uploads()
        if about.captions > self._connection.config.exact_below and not await self._captions.index():
            logger.warning("%s serves before its index is whole; searches are slower till then", self._entry.collection)
        await self._captions.verify(self._draft)
        digest = await self._statistics.put(self._entry.collection, statistics)
        await self._prolong(patient=True)
        before = (await self._catalog.pointers()).get(about.domain)
        entry = replace(self._entry, about=about, ready=True, digest=digest)
        await self._catalog.put(entry)
        await self._catalog.point(about.domain, Pointers(entry.collection, before.current if before else None))
        return about

    async def _upload(self, first: int, captions: Sequence[str], vectors: FloatArray) -> None:
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

    def _check_uploads(self) -> None:
        if self._failure is not None:
            raise self._failure

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
        # Another replica may have begun to remove this version, and its clock may be ahead.
        if now > self._renewed + self._connection.config.lease_seconds:
            raise self._lost()
        await self._catalog.renew(self._entry, patient=patient)
        self._renewed = now

    def _lost(self) -> DatastoreUnavailable:
        return DatastoreUnavailable(
            f"the registration of {self._entry.about.domain!r} lost its hold on the domain while the server was "
            "out of reach; register again"
        )
