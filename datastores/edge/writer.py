"""Writes a new version: builds it in a folder of its own, moves it into place, verifies it and switches to it."""

import threading
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from datastores.base import DatastoreError, DomainVersion, FloatArray, Statistics
from datastores.draft import Draft
from datastores.edge.build import VersionBuild
from datastores.edge.catalog import Catalog, write_about
from datastores.edge.version import ServedVersion


class EdgeWriter:
    """One registration. Every method blocks; only one runs at a time, so `discard` waits for an `add`."""

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
        self._draft = Draft(domain, dimension, fingerprint)
        self._lock = threading.Lock()
        self._folder: Path | None = None
        self._build: VersionBuild | None = None

    def start(self) -> None:
        """Create the folder and the shard."""
        with self._lock:
            if not self._draft.over:
                self._folder = self._catalog.start()
                self._build = VersionBuild(self._folder, self._draft.about.dimension, self._catalog.hint)

    def add(self, captions: Sequence[str], vectors: FloatArray) -> None:
        """See `VersionWriter.add`."""
        with self._lock:
            vectors = self._draft.add(captions, vectors)
            self._started().add(captions, vectors)

    def commit(self, statistics: Statistics) -> DomainVersion:
        """See `VersionWriter.commit`. A version that does not verify raises `DatastoreError` and never serves."""
        with self._lock:
            about = self._draft.commit(statistics)
            self._publish(self._started(), about, statistics)
            return about

    def discard(self) -> None:
        """End the registration. Without a commit nothing of it remains."""
        with self._lock:
            self._draft.over = True
            if self._build is not None:
                self._build.abandon()
            if self._folder is not None and self._folder.exists():
                self._catalog.remove(self._folder)

    def _started(self) -> VersionBuild:
        if self._build is None:
            raise DatastoreError("the writer of this version was not started")
        return self._build

    def _publish(self, build: VersionBuild, about: DomainVersion, statistics: Statistics) -> None:
        build.finish(self._draft.digests)
        write_about(build.folder, about, statistics)
        served = ServedVersion(self._catalog.place(build.folder, about), about, self._catalog.hint)
        try:
            served.verify(self._draft)
            self._switch(served)
        except BaseException:
            served.retire(lambda: self._catalog.discard(served.folder))
            self._catalog.drop_empty(about.domain)
            raise


class ThreadedWriter:
    """Runs an `EdgeWriter` in the threads of its store, as a `VersionWriter`."""

    def __init__(self, job: EdgeWriter, run: Callable[..., Awaitable[Any]]) -> None:
        self._job = job
        self._run = run

    async def add(self, captions: Sequence[str], vectors: FloatArray) -> None:
        await self._run(self._job.add, captions, vectors)

    async def commit(self, statistics: Statistics) -> DomainVersion:
        version: DomainVersion = await self._run(self._job.commit, statistics)
        return version
