"""Stores the statistics of each version on a Qdrant server, in parts that fit a request."""

import base64
import hashlib
from typing import Any
from uuid import UUID

import numpy as np
from qdrant_client import models

from datastores.base import DatastoreUnavailable, Statistics
from datastores.checks import caption_digest
from datastores.qdrant.connection import Missing, QdrantConnection

_PART = 512 * 1024
_AT_ONCE = 8


class StoredStatistics:
    """Stores mean and covariance in float64, little-endian, one after the other, as base64 in payloads."""

    def __init__(self, connection: QdrantConnection, collection: str) -> None:
        self._connection = connection
        self._collection = collection

    async def put(self, version: str, statistics: Statistics) -> str:
        """Store the statistics of a version, named by its collection; return their digest."""
        data = b"".join(np.asarray(part, "<f8").tobytes() for part in (statistics.mean, statistics.covariance))
        for number, identifier in enumerate(_ids(version, len(statistics.mean))):
            part = base64.b64encode(data[number * _PART : (number + 1) * _PART]).decode()
            point = models.PointStruct(id=identifier, vector={}, payload={"of": version, "part": part})
            await self._connection.write(
                "storing the statistics",
                lambda client, point=point: client.upsert(self._collection, [point], wait=True),  # type: ignore[misc]
            )
        return hashlib.sha256(data).hexdigest()

    async def get(self, version: str, count: int, dimension: int, digest: str) -> Statistics:
        """Read the statistics. Raises `Missing` if they are gone, `DatastoreUnavailable` if they are damaged."""
        ids = _ids(version, dimension)
        parts: dict[Any, str] = {}
        for start in range(0, len(ids), _AT_ONCE):
            wanted = ids[start : start + _AT_ONCE]
            records = await self._connection.read(
                "reading the statistics",
                lambda client, wanted=wanted: client.retrieve(self._collection, wanted, with_payload=True),  # type: ignore[misc]
            )
            parts |= {str(record.id): (record.payload or {})["part"] for record in records}
        if not all(identifier in parts for identifier in ids):
            raise Missing(f"the statistics of {version} are not there")
        data = b"".join(base64.b64decode(parts[identifier]) for identifier in ids)
        if hashlib.sha256(data).hexdigest() != digest:
            raise DatastoreUnavailable(f"the statistics of {version} are damaged; register the domain again")
        numbers = np.frombuffer(data, "<f8").astype(np.float64)
        return Statistics(count, numbers[:dimension], numbers[dimension:].reshape(dimension, dimension))

    async def remove(self, version: str, dimension: int) -> None:
        """Remove the statistics of a version, if there are any."""
        ids: list[Any] = list(_ids(version, dimension))
        await self._connection.write(
            "removing statistics",
            lambda client: client.delete(self._collection, models.PointIdsList(points=ids)),
            patient=False,
        )


def _ids(version: str, dimension: int) -> list[str]:
    size = (dimension + dimension**2) * np.float64().itemsize
    parts = -(-size // _PART)
    return [str(UUID(bytes=caption_digest(f"{version}/{number}"))) for number in range(parts)]
