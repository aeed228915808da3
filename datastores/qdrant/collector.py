"""Removes versions from a Qdrant server that no domain uses any more."""

import contextlib

from datastores.qdrant.catalog import Catalog, CatalogEntry
from datastores.qdrant.connection import Missing, QdrantConnection
from datastores.qdrant.statistics import StoredStatistics


class Collector:
    """Removes the versions of all replicas that no alias names and no live lease protects."""

    def __init__(self, connection: QdrantConnection, catalog: Catalog, statistics: StoredStatistics) -> None:
        self._connection = connection
        self._catalog = catalog
        self._statistics = statistics

    async def collect(self, domain: str | None = None) -> None:
        """Collect in one domain or in all. Raises `DatastoreUnavailable`; the next call finds the rest."""
        # The order matters. A writer makes its entry before its collection, so a collection without an entry has
        # lost its writer. A writer switches before it gives up its lease, so a version without a lease that does not
        # serve afterwards never will.
        collections = await self._collections()
        entries = {entry.collection: entry for entry in await self._catalog.entries()}
        pointers = await self._catalog.pointers()
        used = set[str]().union(*(one.named() for one in pointers.values()))
        held = {name for name, entry in entries.items() if not self._catalog.expired(entry)}
        for name in sorted((collections | entries.keys()) - used - held):
            if domain in (None, self._catalog.names.domain_of(name)):
                await self._remove(name, entries.get(name))

    async def _collections(self) -> set[str]:
        answer = await self._connection.read("listing collections", lambda client: client.get_collections())
        return {one.name for one in answer.collections if self._catalog.names.domain_of(one.name) is not None}

    async def _remove(self, name: str, entry: CatalogEntry | None) -> None:
        # The entry goes last, because through it the rest can be found.
        with contextlib.suppress(Missing):
            await self._connection.write(
                f"removing {name}", lambda client: client.delete_collection(name), patient=False
            )
        if entry is not None:
            with contextlib.suppress(Missing):
                await self._statistics.remove(name, entry.about.dimension)
            await self._catalog.remove(entry)
