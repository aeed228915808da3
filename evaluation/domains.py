"""Domains to evaluate in: a registered one, or one made from a corpus file and kept for the next evaluation."""

import hashlib
import tempfile
import zlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.progress import Progress

from datastores.base import (
    DatastoreInUse,
    DatastoreUnavailable,
    DomainNotFound,
    DomainStore,
    DomainVersion,
    FingerprintMismatch,
    Neighbour,
    Statistics,
)
from datastores.corpus.error import CorpusError
from datastores.corpus.reader import CorpusLimits, read_corpus
from datastores.edge.store import EdgeStore
from datastores.registration import register
from datastores.statistics import RunningStatistics
from models.clap.base import Clap
from models.vectors import FloatArray

_CORPUS = "corpus"
_CAPTIONS_AT_ONCE = 256


@dataclass(frozen=True, eq=False)
class Domain:
    """One version of a domain in an open store.

    Attributes:
        title: in the report.
        store: holds the domain, and stays open while it is used.
        version: the version to search.
        statistics: of the version.
    """

    title: str
    store: DomainStore
    version: DomainVersion
    statistics: Statistics

    async def near(self, vectors: FloatArray, limit: int | None) -> list[list[Neighbour]]:
        """Return the `limit` captions nearest to each of the vectors [n, d], best first; None returns all captions."""
        return await self.store.search(self.version, vectors, self.version.captions if limit is None else limit)


async def open_domain(store: DomainStore, name: str, clap: Clap, title: str | None = None) -> Domain:
    """Open the current version of a domain.

    Raises:
        DatastoreError: the store has no such domain, or another CLAP embedded it.
    """
    version = await store.resolve(name)
    if version.fingerprint != clap.fingerprint:
        raise FingerprintMismatch(
            f"domain {name!r} was embedded by {version.fingerprint!r}, the bundle has {clap.fingerprint!r};"
            " register the domain again"
        )
    return Domain(title or name, store, version, await store.statistics(version))


async def put_domain(store: DomainStore, name: str, captions: Sequence[str], vectors: FloatArray, clap: Clap) -> Domain:
    """Register captions with known unit vectors [n, d]. Raises `DatastoreError`."""
    running = RunningStatistics(clap.embedding_dim)
    running.add(vectors)
    async with store.writer(name, dimension=clap.embedding_dim, fingerprint=clap.fingerprint) as writer:
        await writer.add(captions, vectors)
        await writer.commit(running.statistics())
    return await open_domain(store, name, clap)


@asynccontextmanager
async def corpus_domain(
    file: Path, cache: Path, clap: Clap, limits: CorpusLimits, progress: Progress
) -> AsyncIterator[Domain]:
    """Open the captions of a file as a domain, registered by the first call with this content and this CLAP.

    Args:
        file: a corpus as `datastores.corpus.reader` reads it.
        cache: a folder with a store for each corpus.
        clap: embeds the captions.
        limits: on the corpus.
        progress: shows the registration.

    Raises:
        CorpusError: the file is no corpus; the message begins with its path.
        DatastoreError: the store cannot be used.
    """
    folder = cache / f"{_digest(file)[:24]}-{hashlib.sha256(clap.fingerprint.encode()).hexdigest()[:16]}"
    try:
        store = await EdgeStore.open(folder)
    except DatastoreInUse as error:
        raise DatastoreUnavailable(
            f"another evaluation has the captions of {file} open in {folder}; wait for it or name another --cache"
        ) from error
    try:
        try:
            domain = await open_domain(store, _CORPUS, clap, file.name)
        except DomainNotFound:
            await _register(store, file, clap, limits, progress)
            domain = await open_domain(store, _CORPUS, clap, file.name)
        yield domain
    finally:
        await store.close()


@asynccontextmanager
async def temporary_store() -> AsyncIterator[DomainStore]:
    """Open an empty store, which is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="drcap-evaluate-") as folder:
        store = await EdgeStore.open(Path(folder))
        try:
            yield store
        finally:
            await store.close()


async def _register(store: DomainStore, file: Path, clap: Clap, limits: CorpusLimits, progress: Progress) -> None:
    # Read completely first: a damaged line is found before minutes are spent on embedding.
    captions = progress.track(_captions(file, limits), description=f"registering {file.name}")
    await register(store, _CORPUS, captions, clap, batch=_CAPTIONS_AT_ONCE)


def _captions(file: Path, limits: CorpusLimits) -> list[str]:
    try:
        return list(read_corpus(file, limits=limits))
    except CorpusError as error:
        raise CorpusError(f"{file}: {error}", error.kind) from error
    except (OSError, EOFError, zlib.error) as error:
        raise CorpusError(f"{file} cannot be read: {error}", "format") from error


def _digest(file: Path) -> str:
    try:
        with file.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()
    except OSError as error:
        raise CorpusError(f"{file} cannot be read: {error.strerror}", "format") from error
