"""Removes from a Qdrant server what no domain uses any more."""

import contextlib

from datastores.qdrant.catalog import Catalog, CatalogEntry
from datastores.qdrant.connection import Connection, Missing
from datastores.qdrant.statistics import MomentsShelf


class Collector:
    """Collects the versions that no alias names and no live lease protects, whichever replica left them."""

    def __init__(self, connection: Connection, catalog: Catalog, moments: MomentsShelf) -> None:
        self._connection = connection
        self._catalog = catalog
        self._moments = moments

    async def collect(self, domain: str | None = None) -> None:
        """Collect in one domain or in all. Raises `DatastoreUnavailable`; what is left is found the next time."""
        # In this order. A writer makes its entry before its collection, so a collection without an entry has
        # lost its writer; it switches before it gives up its lease, so a version that is seen to be without
        # one, and not to serve after that, never will.
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
        # The entry last: as long as it is there, what is left can be found.
        with contextlib.suppress(Missing):
            await self._connection.write(
                f"removing {name}", lambda client: client.delete_collection(name), patient=False
            )
        if entry is not None:
            with contextlib.suppress(Missing):
                await self._moments.remove(name, entry.about.dimension)
            await self._catalog.remove(entry)
