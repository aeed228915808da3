"""The collections and aliases of drcap on a Qdrant server, all under one prefix.

    PREFIX.catalog                     collection without vectors: one point for each version, with its lease
    PREFIX.moments                     collection without vectors: mean and covariance of each version, in parts
    PREFIX.<domain>.<version>          collection: the captions of a version
    PREFIX.<domain>.current            alias: the version that serves
    PREFIX.<domain>.previous           alias: the version that a rollback returns to
    PREFIX.<domain>.left               alias: the version before a rollback, kept for its last requests until the next
                                       switch

The aliases define a domain, and one call changes them all. A version that no alias names and no live lease protects
is debris; the collector removes it, and its entry in the catalog last.
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from qdrant_client import AsyncQdrantClient, models

from datastores.base import DatastoreUnavailable, DomainBusy, DomainVersion
from datastores.checks import caption_digest
from datastores.qdrant.connection import Missing, QdrantConnection

_ROLES = ("current", "previous", "left")
_PAGE = 256
_MAJORITY = models.ReadConsistencyType.MAJORITY


@dataclass(frozen=True)
class Names:
    """The names on the server. The name of a domain has no dot, so every name can be taken apart."""

    prefix: str

    @property
    def catalog(self) -> str:
        return f"{self.prefix}.catalog"

    @property
    def statistics(self) -> str:
        # The name stays, because servers have collections of it.
        return f"{self.prefix}.moments"

    def collection(self, domain: str, version: str) -> str:
        return f"{self.prefix}.{domain}.{version}"

    def alias(self, domain: str, role: str) -> str:
        return f"{self.prefix}.{domain}.{role}"

    def domain_of(self, name: str) -> str | None:
        """The domain of a version's collection or of an alias; None for another name."""
        start, *rest = name.split(".")
        return rest[0] if start == self.prefix and len(rest) == 2 else None


@dataclass(frozen=True)
class Pointers:
    """The collections that a domain's aliases name."""

    current: str
    previous: str | None = None
    left: str | None = None

    def named(self) -> set[str]:
        return {name for name in (self.current, self.previous, self.left) if name is not None}


@dataclass(frozen=True)
class CatalogEntry:
    """A version in the catalog. `lease_until` is in seconds of the wall clock, 0 without a lease."""

    about: DomainVersion
    collection: str
    ready: bool = False
    lease_until: float = 0.0
    digest: str = ""

    def payload(self) -> dict[str, Any]:
        about = {**vars(self.about), "created": self.about.created.isoformat()}
        return {**vars(self), "about": about}

    @classmethod
    def read(cls, payload: dict[str, Any] | None) -> "CatalogEntry":
        try:
            given = dict(payload or {})
            about = given.pop("about")
            version = DomainVersion(**{**about, "created": datetime.fromisoformat(about["created"])})
            return cls(version, **given)
        except (KeyError, TypeError, ValueError) as error:
            raise DatastoreUnavailable(f"an entry of the catalog cannot be read: {error!r}") from error


class Catalog:
    """Versions, leases and pointers of all domains. Every method may raise `DatastoreUnavailable`."""

    def __init__(self, connection: QdrantConnection, clock: Callable[[], float] = time.time) -> None:
        self.names = Names(connection.config.prefix)
        self._connection = connection
        self._clock = clock
        self._lease = connection.config.lease_seconds
        self._known: dict[str, CatalogEntry] = {}

    async def pointers(self) -> dict[str, Pointers]:
        """The pointers of every domain that has a serving version."""
        answer = await self._connection.read("reading which versions serve", lambda client: client.get_aliases())
        found: dict[str, dict[str, str]] = {}
        for alias in answer.aliases:
            domain = self.names.domain_of(alias.alias_name)
            role = alias.alias_name.rpartition(".")[2]
            if domain is not None and role in _ROLES:
                found.setdefault(domain, {})[role] = alias.collection_name
        served = {domain: Pointers(**roles) for domain, roles in found.items() if "current" in roles}
        # A kill of the server between two of its steps can leave both at one version.
        return {
            domain: replace(pointers, previous=None) if pointers.previous == pointers.current else pointers
            for domain, pointers in served.items()
        }

    async def point(self, domain: str, pointers: Pointers | None) -> None:
        """Change all aliases of a domain in one call, or remove them."""
        wanted = {role: getattr(pointers, role, None) for role in _ROLES}
        # `current` changes last, so that after a crash of the server a rollback never finds a wrong version.
        order = ("previous", "left", "current") if pointers else _ROLES
        operations = [self._operation(self.names.alias(domain, role), wanted[role]) for role in order]
        try:
            await self._connection.write(
                f"switching {domain}", lambda client: client.update_collection_aliases(operations)
            )
        except DatastoreUnavailable:
            # The server may have done it, and only the answer was lost.
            if (await self.pointers()).get(domain) != pointers:
                raise

    async def describe(self, collections: Sequence[str]) -> dict[str, CatalogEntry]:
        """The entries of these versions. A serving version does not change, so it is read once and kept."""
        missing = [name for name in collections if name not in self._known]
        for start in range(0, len(missing), _PAGE):
            ids = [_point_id(name) for name in missing[start : start + _PAGE]]
            for entry in await self._retrieve(ids):
                if entry.ready:
                    self._known[entry.collection] = entry
        found = {name: self._known[name] for name in collections if name in self._known}
        if len(self._known) > 4 * _PAGE:
            self._known = found
        return found

    async def entries(self, domain: str | None = None) -> list[CatalogEntry]:
        """Every version the catalog knows, of one domain or of all."""
        found: list[CatalogEntry] = []
        offset: Any = None
        while True:
            try:
                records, offset = await self._connection.read(
                    "reading the catalog",
                    lambda client, offset=offset: client.scroll(  # type: ignore[misc]
                        self.names.catalog, limit=_PAGE, offset=offset, with_payload=True, consistency=_MAJORITY
                    ),
                )
            except Missing:
                # Nothing was ever registered. If the catalog disappears while it is read, half of the leases would be
                # a wrong answer.
                if found:
                    raise
                return []
            found += [CatalogEntry.read(record.payload) for record in records]
            if offset is None:
                return [entry for entry in found if domain in (None, entry.about.domain)]

    async def claim(self, entry: CatalogEntry) -> None:
        """Enter a new version under a lease. Raises `DomainBusy` while another one holds the domain.

        After it has entered the version, it looks for other leases. Of two writers at once one or none stays, never
        both. After a failure the caller calls `renew` with `release`.
        """
        await self.check_free(entry.about.domain)
        await self.put(entry)
        await self.check_free(entry.about.domain, but=entry.collection)

    async def check_free(self, domain: str, but: str | None = None) -> None:
        """Raise `DomainBusy` while a live lease other than that of `but` holds the domain."""
        for entry in await self.entries(domain):
            if entry.lease_until > self._clock() and entry.collection != but:
                raise DomainBusy(
                    f"domain {domain!r} is being registered already, here or elsewhere; try again when that is done "
                    f"(one that was killed holds it for another {entry.lease_until - self._clock():.0f} s)"
                )

    async def put(self, entry: CatalogEntry) -> None:
        """Write a complete entry with a new lease."""

        def upsert(client: AsyncQdrantClient) -> Awaitable[models.UpdateResult]:
            fresh = replace(entry, lease_until=self._clock() + self._lease)
            point = models.PointStruct(id=_point_id(entry.collection), vector={}, payload=fresh.payload())
            return client.upsert(self.names.catalog, [point], ordering=models.WriteOrdering.STRONG)

        await self._connection.write("writing the catalog", upsert)

    async def renew(self, entry: CatalogEntry, *, release: bool = False, patient: bool = False) -> None:
        """Prolong the lease of an entry, or end it. Raises `Missing` if the collector has removed the entry."""

        def prolong(client: AsyncQdrantClient) -> Awaitable[models.UpdateResult]:
            until = {"lease_until": 0.0 if release else self._clock() + self._lease}
            ids: list[Any] = [_point_id(entry.collection)]
            return client.set_payload(self.names.catalog, until, ids, ordering=models.WriteOrdering.STRONG)

        await self._connection.write("renewing a lease", prolong, patient=patient)

    async def remove(self, entry: CatalogEntry) -> None:
        """Remove the entry of a version."""
        ids: list[Any] = [_point_id(entry.collection)]
        await self._connection.write(
            "writing the catalog",
            lambda client: client.delete(self.names.catalog, models.PointIdsList(points=ids)),
            patient=False,
        )
        self._known.pop(entry.collection, None)

    def expired(self, entry: CatalogEntry) -> bool:
        """Return True when no writer can hold the lease any more, even if its clock differs by one lease."""
        return entry.lease_until + self._lease < self._clock()

    async def _retrieve(self, ids: list[Any]) -> list[CatalogEntry]:
        try:
            records = await self._connection.read(
                "reading the catalog",
                lambda client: client.retrieve(self.names.catalog, ids, with_payload=True, consistency=_MAJORITY),
            )
        except Missing:
            return []
        return [CatalogEntry.read(record.payload) for record in records]

    @staticmethod
    def _operation(alias: str, collection: str | None) -> models.AliasOperations:
        if collection is None:
            return models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=alias))
        return models.CreateAliasOperation(
            create_alias=models.CreateAlias(alias_name=alias, collection_name=collection)
        )


def _point_id(name: str) -> str:
    return str(UUID(bytes=caption_digest(name)))
