"""Makes a new version: built apart, put in place, verified, then switched to."""

import secrets
import threading
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from datastores.base import (
    DatastoreError,
    DomainVersion,
    FloatArray,
    Statistics,
)
from datastores.edge.build import VersionBuild
from datastores.edge.catalog import Catalog, write_about
from datastores.edge.version import ServedVersion


class EdgeWriter:
    """One registration. Every method blocks; they exclude each other, so `discard` waits for an `add`."""

    def __init__(
        self,
        catalog: Catalog,
        switch: Callable[[ServedVersion], None],
        domain: str,
        dimension: int,
        fingerprint: str,
    ) -> None:
        self._catalog = catalog
        self._switch = switch
        self._domain = domain
        self._dimension = dimension
        self._fingerprint = fingerprint
        self._lock = threading.Lock()
        self._folder: Path | None = None
        self._build: VersionBuild | None = None
        self._over = False

    def start(self) -> None:
        """Make the folder and the shard."""
        with self._lock:
            if not self._over:
                self._folder = self._catalog.start()
                self._build = VersionBuild(self._folder, self._dimension)

    def add(self, captions: Sequence[str], vectors: FloatArray) -> None:
        """See `VersionWriter.add`."""
        with self._lock:
            self._open_build().add(captions, vectors)

    def commit(self, statistics: Statistics) -> DomainVersion:
        """See `VersionWriter.commit`. What does not verify raises `DatastoreError` and never serves."""
        with self._lock:
            build = self._open_build()
            if not build.count:
                raise DatastoreError("a version of no captions cannot serve")
            if statistics.count != build.count:
                raise DatastoreError(f"the statistics are of {statistics.count} captions and {build.count} were added")
            created = datetime.now(UTC)
            # Sorts by time; the random part keeps two of one microsecond apart.
            identifier = f"{created:%Y%m%dT%H%M%S%f}-{secrets.token_hex(4)}"
            about = DomainVersion(self._domain, identifier, build.count, self._dimension, self._fingerprint, created)
            self._over = True
            self._publish(build, about, statistics)
            return about

    def discard(self) -> None:
        """Leave: without a commit nothing remains."""
        with self._lock:
            self._over = True
            if self._build is not None:
                self._build.abandon()
            if self._folder is not None and self._folder.exists():
                self._catalog.remove(self._folder)

    def _open_build(self) -> VersionBuild:
        if self._over or self._build is None:
            raise DatastoreError("this version is committed or discarded; open another writer")
        return self._build

    def _publish(self, build: VersionBuild, about: DomainVersion, statistics: Statistics) -> None:
        build.finish()
        write_about(build.folder, about, statistics)
        served = ServedVersion(self._catalog.place(build.folder, about), about)
        try:
            served.verify(build.samples)
            self._switch(served)
        except BaseException:
            served.retire(lambda: self._catalog.discard(served.folder))
            self._catalog.drop_empty(about.domain)
            raise


class ThreadedWriter:
    """The `VersionWriter` over a blocking one, called from its store's threads."""

    def __init__(self, job: EdgeWriter, run: Callable[..., Awaitable[Any]]) -> None:
        self._job = job
        self._run = run

    async def add(self, captions: Sequence[str], vectors: FloatArray) -> None:
        await self._run(self._job.add, captions, vectors)

    async def commit(self, statistics: Statistics) -> DomainVersion:
        version: DomainVersion = await self._run(self._job.commit, statistics)
        return version
