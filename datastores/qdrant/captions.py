"""The collection of one version. Each caption is a point; its id comes from its text.

A point is {id: digest of the caption, vector, payload {caption, row}}, so storing a caption again changes
nothing, and a lookup reads a point. `row` counts the captions in the order they came.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, cast
from uuid import UUID

import numpy as np
from qdrant_client import models

from datastores.base import DatastoreError, FloatArray, Neighbour, StoredCaption
from datastores.checks import caption_digest, unit_norm
from datastores.draft import Draft
from datastores.qdrant.connection import QdrantConnection, ServerRefused
from datastores.qdrant.layout import index_layout, search_params, server_version, version_layout

_CAPTION, _ROW = "caption", "row"
_NUMBERS = 4_000_000
"""Vector components that one answer may hold: some 50 MB of JSON."""

_POLL_SECONDS = 0.5


async def create_collection(connection: QdrantConnection, name: str, layout: dict[str, Any]) -> None:
    """Create a collection, unless an earlier attempt has created it."""
    try:
        await connection.write(f"creating {name}", lambda client: client.create_collection(name, **layout))
    except ServerRefused:
        if not await connection.write(f"looking for {name}", lambda client: client.collection_exists(name)):
            raise


class VersionCaptions:
    """Reads and writes the captions of one version. Raises `Missing` when its collection is gone."""

    def __init__(self, connection: QdrantConnection, collection: str, dimension: int) -> None:
        self.collection = collection
        self._connection = connection
        self._dimension = dimension

    async def create(self) -> None:
        """Create the collection."""
        info = await self._connection.write("asking for the server's version", lambda client: client.info())
        layout = version_layout(self._connection.config, self._dimension, server_version(info.version))
        await create_collection(self._connection, self.collection, layout)

    async def store(self, rows: Sequence[int], captions: Sequence[str], vectors: FloatArray) -> None:
        """Store captions with their rows and wait until the server has applied it."""
        points = models.Batch(
            ids=[caption_id(caption) for caption in captions],
            payloads=[{_CAPTION: caption, _ROW: row} for row, caption in zip(rows, captions, strict=True)],
            vectors=vectors.tolist(),
        )
        await self._connection.write(
            "storing captions", lambda client: client.upsert(self.collection, points, wait=True)
        )

    async def search(
        self, vectors: FloatArray, limit: int, captions: int, *, exact: bool = False
    ) -> list[list[Neighbour]]:
        """The `limit` nearest captions of each of the vectors [n, d]; the version has `captions` of them."""
        limit = min(limit, captions)
        params = models.SearchParams(exact=True) if exact else search_params(self._connection.config, captions, limit)
        requests = [
            models.QueryRequest(query=query, limit=limit, params=params, with_payload=True, with_vector=True)
            for query in unit_norm(vectors).tolist()
        ]
        at_once = max(1, _NUMBERS // (limit * self._dimension))
        answers: list[models.QueryResponse] = []
        for start in range(0, len(requests), at_once):
            part = requests[start : start + at_once]
            answers += await self._connection.read(
                "searching",
                lambda client, part=part: client.query_batch_points(self.collection, part),  # type: ignore[misc]
            )
        return [_neighbours(answer.points) for answer in answers]

    async def lookup(self, captions: Sequence[str]) -> list[FloatArray | None]:
        """The vector [d] of each caption that is stored letter for letter; None for every other."""
        found: dict[str, FloatArray] = {}
        distinct = list(dict.fromkeys(captions))
        page = max(1, _NUMBERS // self._dimension)
        for start in range(0, len(distinct), page):
            ids: list[Any] = [caption_id(caption) for caption in distinct[start : start + page]]
            records = await self._connection.read(
                "looking captions up",
                lambda client, ids=ids: client.retrieve(  # type: ignore[misc]
                    self.collection, ids, with_payload=True, with_vectors=True
                ),
            )
            found |= {entry.caption: entry.vector for entry in map(_entry, records)}
        return [found.get(caption) for caption in captions]

    async def entries(self, page: int) -> AsyncIterator[list[StoredCaption]]:
        """Every caption, in the order of the ids."""
        offset: Any = None
        page = min(page, max(1, _NUMBERS // self._dimension))
        while True:
            records, offset = await self._connection.read(
                "reading captions",
                lambda client, offset=offset: client.scroll(  # type: ignore[misc]
                    self.collection, limit=page, offset=offset, with_payload=True, with_vectors=True
                ),
            )
            if records:
                yield [_entry(record) for record in records]
            if offset is None:
                return

    async def index(self) -> bool:
        """Ask for the index and wait for it. Return False if time runs out; searches then scan the rest."""
        write, name = self._connection.write, self.collection
        await write(
            "asking for an index", lambda client: client.update_collection(name, optimizers_config=index_layout())
        )
        green = 0
        try:
            async with asyncio.timeout(self._connection.config.index_wait_seconds):
                # Twice, because the first green may come before the server has started.
                while green < 2:
                    await asyncio.sleep(_POLL_SECONDS)
                    info = await write("waiting for the index", lambda client: client.get_collection(name))
                    green = green + 1 if info.status == models.CollectionStatus.GREEN else 0
        except TimeoutError:
            return False
        return True

    async def verify(self, draft: Draft) -> None:
        """Count what is stored and find some of it again. Raises `DatastoreError` when something is missing."""
        write, name = self._connection.write, self.collection
        info = await write("verifying", lambda client: client.get_collection(name))
        if info.status == models.CollectionStatus.RED:
            raise DatastoreError(f"the server reports that storing in {name} failed: {info.optimizer_status}")
        draft.verify_count((await write("counting", lambda client: client.count(name, exact=True))).count)
        captions, vectors = draft.samples()
        nearest = await self.search(vectors, 1, draft.count, exact=True)
        draft.verify_samples(await self.lookup(captions), nearest)


def caption_id(caption: str) -> str:
    """The id of a caption's point."""
    return str(UUID(bytes=caption_digest(caption)))


def _entry(record: models.Record) -> StoredCaption:
    return StoredCaption((record.payload or {})[_CAPTION], np.asarray(record.vector, dtype=np.float32))


def _neighbours(hits: list[models.ScoredPoint]) -> list[Neighbour]:
    # Equal scores come in the order of registration, so that the same query has one answer.
    ordered = sorted(hits, key=lambda hit: (-hit.score, cast(dict[str, Any], hit.payload)[_ROW]))
    return [
        Neighbour((hit.payload or {})[_CAPTION], hit.score, np.asarray(hit.vector, dtype=np.float32)) for hit in ordered
    ]
