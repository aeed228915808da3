"""The datastore of one machine: the Qdrant engine in this process, over a folder of files.

One process at a time has a folder open. A domain keeps the serving version and the one before it. Both stay open, so
a request can still search its version after one switch. An older version closes and is removed when its last reader
has finished; searching it then raises `DomainNotFound`.
"""

import asyncio
import builtins
import logging
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import ParamSpec, TypeVar

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
from datastores.edge.catalog import Catalog, Pointer, read_about, read_statistics
from datastores.edge.version import ServedDomain, ServedVersion
from datastores.edge.writer import EdgeWriter, ThreadedWriter

_READERS = 4
_WRITERS = 2

logger = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")


class EdgeStore:
    """A `DomainStore` over the embedded engine. `open` makes one."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._domains: dict[str, ServedDomain] = {}
        self._unreadable: dict[str, DatastoreUnavailable] = {}
        self._writing: set[str] = set()
        self._switching = threading.Lock()
        self._closed = False
        # Two pools, so that a search never waits for the thread of a registration.
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="datastore-read")
        self._writers = ThreadPoolExecutor(_WRITERS, thread_name_prefix="datastore-write")

    @classmethod
    async def open(cls, path: Path, setting: str | None = None) -> "EdgeStore":
        """Open the folder, create it if it is missing, and remove the leftovers of a kill.

        Args:
            path: the folder.
            setting: the name of the setting that chose the folder; errors name it.

        Raises:
            DatastoreInUse: another process has the folder open.
            DatastoreUnavailable: the folder cannot be used. A single domain whose files cannot be read raises it
                when asked for, and the others serve.
        """
        return await asyncio.to_thread(cls._open, path, setting)

    @classmethod
    def _open(cls, path: Path, setting: str | None) -> "EdgeStore":
        catalog = Catalog(path, setting)
        try:
            catalog.collect()
            store = cls(catalog)
            for domain in catalog.domains():
                store._load(domain)
        except OSError as error:
            catalog.release()
            raise _unavailable(catalog, error) from error
        return store

    async def list(self) -> builtins.list[DomainVersion]:
        return [domain.current.about for _, domain in sorted(self._domains.items())]

    async def resolve(self, domain: str) -> DomainVersion:
        return self._serving(domain).current.about

    async def search(
        self, version: DomainVersion, vectors: FloatArray, limit: int
    ) -> builtins.list[builtins.list[Neighbour]]:
        check_query(version, vectors, limit)
        return await self._run(self._readers, self._read, version, lambda served: served.search(vectors, limit))

    async def statistics(self, version: DomainVersion) -> Statistics:
        return await self._run(self._readers, self._read, version, lambda served: read_statistics(served.folder))

    async def lookup(self, version: DomainVersion, captions: Sequence[str]) -> builtins.list[FloatArray | None]:
        return await self._run(self._readers, self._read, version, lambda served: served.lookup(captions))

    async def entries(self, version: DomainVersion, *, page: int = 1024) -> AsyncIterator[builtins.list[StoredCaption]]:
        """In the order of registration. The version stays open to the end, even if the domain switches meanwhile."""
        served = self._acquire(version)
        try:
            for start in range(0, version.captions, page):
                yield await self._run(self._readers, served.entries, start, page)
        finally:
            try:
                self._readers.submit(served.release)
            except RuntimeError:  # the store was closed meanwhile
                served.release()

    @asynccontextmanager
    async def writer(self, domain: str, *, dimension: int, fingerprint: str) -> AsyncIterator[VersionWriter]:
        check_name(domain)
        if domain in self._writing:
            raise DomainBusy(f"domain {domain!r} is being registered already; try again when that is done")
        self._writing.add(domain)
        job = EdgeWriter(self._catalog, self._switch, domain, dimension, fingerprint)
        try:
            await self._run(self._writers, job.start)
            yield ThreadedWriter(job, partial(self._run, self._writers))
        finally:
            # This runs to its end in its thread even if this task is cancelled again; then the domain is free.
            try:
                discarding = self._writers.submit(job.discard)
            except RuntimeError:  # the store was closed meanwhile; the next start collects what is left
                self._writing.discard(domain)
            else:
                discarding.add_done_callback(lambda _: self._writing.discard(domain))
                await asyncio.shield(asyncio.wrap_future(discarding))

    async def rollback(self, domain: str) -> DomainVersion:
        """The version before the rollback is not kept, so a second rollback finds nothing to return to."""
        self._serving(domain)
        return await self._run(self._writers, self._roll_back, domain)

    async def delete(self, domain: str) -> None:
        """Also raises `DomainBusy` during a registration, which would bring the domain back."""
        check_name(domain)
        if domain in self._writing:
            raise DomainBusy(f"domain {domain!r} is being registered; delete it when that is done")
        await self._run(self._writers, self._delete, domain)

    async def close(self) -> None:
        """Wait for running work and release the folder."""
        if not self._closed:
            self._closed = True
            await asyncio.to_thread(self._close)

    def _switch(self, served: ServedVersion) -> None:
        name = served.about.domain
        with self._switching:
            before = self._domains.get(name)
            previous = before.current if before else None
            pointer = Pointer(served.about.version, previous.about.version if previous else None)
            self._catalog.point(name, pointer)
            self._domains[name] = ServedDomain(served, previous)
            self._unreadable.pop(name, None)
            if before is not None:
                self._retire(before.previous, before.left)

    def _roll_back(self, name: str) -> DomainVersion:
        with self._switching:
            domain = self._serving(name)
            if domain.previous is None:
                raise DomainNotFound(f"domain {name!r} has no version to return to")
            self._catalog.point(name, Pointer(domain.previous.about.version))
            self._domains[name] = ServedDomain(domain.previous, left=domain.current)
            self._retire(domain.left)
            return domain.previous.about

    def _delete(self, name: str) -> None:
        with self._switching:
            domain = self._domains.pop(name, None)
            if domain is None and self._unreadable.pop(name, None) is None:
                raise DomainNotFound(f"there is no domain {name!r}")
            doomed = self._catalog.bury(self._catalog.domain_folder(name))
        reading = set(domain.versions()) if domain else set()

        def closed(served: ServedVersion) -> None:
            with self._switching:
                reading.discard(served)
                last = not reading
            if last:
                self._catalog.remove(doomed)

        for served in tuple(reading):
            served.retire(partial(closed, served))
        if domain is None:
            self._catalog.remove(doomed)

    def _retire(self, *versions: ServedVersion | None) -> None:
        for served in versions:
            if served is not None:
                served.retire(partial(self._catalog.discard, served.folder))

    def _load(self, name: str) -> None:
        try:
            pointer = self._catalog.pointer(name)
            current = self._version(name, pointer.current)
            current.prepare()
        except DatastoreUnavailable as error:
            logger.error("domain %s does not serve: %s", name, error)
            self._unreadable[name] = error
            return
        previous = None
        if pointer.previous is not None:
            try:
                previous = self._version(name, pointer.previous)
            except DatastoreUnavailable as error:
                logger.error("domain %s cannot be rolled back: %s", name, error)
        self._domains[name] = ServedDomain(current, previous)

    def _version(self, name: str, version: str) -> ServedVersion:
        folder = self._catalog.version_folder(name, version)
        return ServedVersion(folder, read_about(folder), self._catalog.hint)

    def _serving(self, name: str) -> ServedDomain:
        check_name(name)
        if name in self._unreadable:
            raise DatastoreUnavailable(str(self._unreadable[name]))
        domain = self._domains.get(name)
        if domain is None:
            raise DomainNotFound(f"there is no domain {name!r}")
        return domain

    def _read(self, version: DomainVersion, ask: Callable[[ServedVersion], T]) -> T:
        # The reading thread holds the version, so that it stays open even if the caller is cancelled.
        served = self._acquire(version)
        try:
            return ask(served)
        finally:
            served.release()

    def _acquire(self, version: DomainVersion) -> ServedVersion:
        for served in self._serving(version.domain).versions():
            if served.about.version == version.version and served.acquire():
                return served
        raise DomainNotFound(f"version {version.version} of domain {version.domain!r} is gone")

    async def _run(self, threads: ThreadPoolExecutor, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        if self._closed:
            raise DatastoreUnavailable("the datastore is closed")
        try:
            return await asyncio.get_running_loop().run_in_executor(threads, partial(work, *args, **kwargs))
        except OSError as error:
            raise _unavailable(self._catalog, error) from error

    def _close(self) -> None:
        for threads in (self._readers, self._writers):
            threads.shutdown(wait=True, cancel_futures=True)
        for domain in self._domains.values():
            for served in domain.versions():
                served.retire(lambda: None)
        self._domains.clear()
        self._catalog.release()


def _unavailable(catalog: Catalog, error: OSError) -> DatastoreUnavailable:
    return DatastoreUnavailable(f"the datastore folder {catalog.root} cannot be used: {error}{catalog.hint}")
