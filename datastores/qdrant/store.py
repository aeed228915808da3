"""The datastore of production: a Qdrant server or cluster, shared by any number of replicas of the service.

The server keeps everything about a domain (see `datastores.qdrant.catalog`), so a new replica finds every version. A
request resolves a domain once and then asks the collection of that version, never the alias, so it never mixes two.
The version before the current one stays until the next switch; so does the version before a rollback.

The store opens even if the server does not answer; until it does, every method raises `DatastoreUnavailable`.
"""

import asyncio
import builtins
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager

from qdrant_client import AsyncQdrantClient

from datastores.base import (
    DatastoreUnavailable,
    DomainBusy,
    DomainNotFound,
    DomainVersion,
    FloatArray,
    Neighbour,
    Statistics,
    StoredCaption,
    VersionWriter,
)
from datastores.checks import check_name, check_query
from datastores.draft import Draft
from datastores.qdrant.captions import VersionCaptions, create_collection
from datastores.qdrant.catalog import Catalog, CatalogEntry, Pointers
from datastores.qdrant.collector import Collector
from datastores.qdrant.config import QdrantConfig
from datastores.qdrant.connection import KeyRefused, Missing, QdrantConnection
from datastores.qdrant.layout import cluster_layout
from datastores.qdrant.statistics import StoredStatistics
from datastores.qdrant.writer import QdrantWriter

logger = logging.getLogger(__name__)


class QdrantStore:
    """A `DomainStore` over a Qdrant server. `open` makes one."""

    def __init__(self, connection: QdrantConnection, clock: Callable[[], float] = time.time) -> None:
        self._connection = connection
        self._catalog = Catalog(connection, clock)
        self._statistics = StoredStatistics(connection, self._catalog.names.statistics)
        self._collector = Collector(connection, self._catalog, self._statistics)
        self._writing: set[str] = set()
        self._leaving: set[asyncio.Task[None]] = set()
        self._housekeeping: asyncio.Task[None] | None = None

    @classmethod
    async def open(
        cls,
        config: QdrantConfig,
        client: AsyncQdrantClient | None = None,
        clock: Callable[[], float] = time.time,
    ) -> "QdrantStore":
        """Make the clients and remove the leftovers of a kill, as soon as the server answers.

        Args:
            config: where the server is and how to use it.
            client: used instead of the configured ones; `close` does not close it.
            clock: measures leases in seconds; the same for all replicas.

        Raises:
            DatastoreUnavailable: the file of certificates cannot be read.
        """
        store = cls(QdrantConnection(config, client), clock)
        await store._collect()
        store._housekeeping = asyncio.create_task(store._keep_house())
        return store

    async def list(self) -> builtins.list[DomainVersion]:
        pointers = await self._catalog.pointers()
        known = await self._catalog.describe([one.current for one in pointers.values()])
        for domain, one in pointers.items():
            if one.current not in known:
                logger.error("domain %s does not serve: the catalog does not know %s", domain, one.current)
        return [known[one.current].about for _, one in sorted(pointers.items()) if one.current in known]

    async def resolve(self, domain: str) -> DomainVersion:
        return (await self._described((await self._serving(domain)).current)).about

    async def search(
        self, version: DomainVersion, vectors: FloatArray, limit: int
    ) -> builtins.list[builtins.list[Neighbour]]:
        check_query(version, vectors, limit)
        with _known_to_be(version):
            return await self._captions(version).search(vectors, limit, version.captions)

    async def statistics(self, version: DomainVersion) -> Statistics:
        with _known_to_be(version):
            entry = await self._described(self._collection(version))
            return await self._statistics.get(entry.collection, version.captions, version.dimension, entry.digest)

    async def lookup(self, version: DomainVersion, captions: Sequence[str]) -> builtins.list[FloatArray | None]:
        with _known_to_be(version):
            return await self._captions(version).lookup(captions)

    async def entries(self, version: DomainVersion, *, page: int = 1024) -> AsyncIterator[builtins.list[StoredCaption]]:
        with _known_to_be(version):
            async for part in self._captions(version).entries(page):
                yield part

    @asynccontextmanager
    async def writer(self, domain: str, *, dimension: int, fingerprint: str) -> AsyncIterator[VersionWriter]:
        check_name(domain)
        if domain in self._writing:
            raise DomainBusy(f"domain {domain!r} is being registered already; try again when that is done")
        self._writing.add(domain)
        writer: QdrantWriter | None = None
        draft = Draft(domain, dimension, fingerprint)
        entry = CatalogEntry(draft.about, self._collection(draft.about))
        try:
            for name in (self._catalog.names.catalog, self._catalog.names.statistics):
                await self._ensure(name)
            await self._catalog.claim(entry)
            writer = QdrantWriter(self._connection, self._catalog, self._statistics, entry, draft)
            await writer.start()
            yield writer
        finally:
            # This runs to its end even if this task is cancelled again; then the domain is free.
            leaving = asyncio.create_task(self._leave(entry, writer))
            self._leaving.add(leaving)
            leaving.add_done_callback(self._leaving.discard)
            await asyncio.shield(leaving)

    async def rollback(self, domain: str) -> DomainVersion:
        """The version before the rollback is not kept, so a second rollback finds nothing to return to."""
        serving = await self._serving(domain)
        if serving.previous is None:
            raise DomainNotFound(f"domain {domain!r} has no version to return to")
        about = (await self._described(serving.previous)).about
        await self._catalog.point(domain, Pointers(serving.previous, left=serving.current))
        await self._collect(domain)
        return about

    async def delete(self, domain: str) -> None:
        """Also raises `DomainBusy` during a registration, which would bring the domain back."""
        await self._serving(domain)
        if domain in self._writing:
            raise DomainBusy(f"domain {domain!r} is being registered; delete it when that is done")
        await self._catalog.check_free(domain)
        await self._catalog.point(domain, None)
        await self._collect(domain)

    async def close(self) -> None:
        """Wait for registrations to end and close the connections."""
        if self._housekeeping is not None:
            self._housekeeping.cancel()
            await asyncio.gather(self._housekeeping, return_exceptions=True)
        if self._leaving:
            await asyncio.wait(self._leaving, timeout=self._connection.config.timeout_seconds)
        await self._connection.close()

    async def _serving(self, domain: str) -> Pointers:
        check_name(domain)
        pointers = (await self._catalog.pointers()).get(domain)
        if pointers is None:
            raise DomainNotFound(f"there is no domain {domain!r}")
        return pointers

    async def _described(self, collection: str) -> CatalogEntry:
        try:
            return (await self._catalog.describe([collection]))[collection]
        except KeyError as error:
            raise Missing(f"the catalog does not know the version {collection}; register its domain again") from error

    def _collection(self, version: DomainVersion) -> str:
        return self._catalog.names.collection(version.domain, version.version)

    def _captions(self, version: DomainVersion) -> VersionCaptions:
        return VersionCaptions(self._connection, self._collection(version), version.dimension)

    async def _ensure(self, name: str) -> None:
        if not await self._connection.write(f"looking for {name}", lambda client: client.collection_exists(name)):
            layout = {"vectors_config": {}, **cluster_layout(self._connection.config)}
            await create_collection(self._connection, name, layout)

    async def _leave(self, entry: CatalogEntry, writer: QdrantWriter | None) -> None:
        try:
            if writer is not None:
                await writer.stop()
            with contextlib.suppress(DatastoreUnavailable):
                await self._catalog.renew(entry, release=True)
            # The collector reads from the aliases whether the version serves or is debris.
            await self._collect(entry.about.domain)
        finally:
            self._writing.discard(entry.about.domain)

    async def _collect(self, domain: str | None = None) -> None:
        """Collect debris; a failure is logged and left to housekeeping."""
        try:
            await self._collector.collect(domain)
        except KeyRefused as error:
            logger.info("nothing is collected by this process: %s", error)
        except DatastoreUnavailable as error:
            logger.warning("what is not in use any more was not collected: %s", error)

    async def _keep_house(self) -> None:
        while True:
            await asyncio.sleep(2 * self._connection.config.lease_seconds)
            await self._collect()


@contextlib.contextmanager
def _known_to_be(version: DomainVersion) -> Iterator[None]:
    """Turn `Missing` into `DomainNotFound`: the version existed, so it was removed since."""
    try:
        yield
    except Missing as error:
        raise DomainNotFound(f"version {version.version} of domain {version.domain!r} is gone") from error
