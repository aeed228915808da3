"""Domains to evaluate in: one that is registered, or one made of a corpus file and kept for the next evaluation."""

import hashlib
import tempfile
import zlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress

from datastores.base import (
    DatastoreUnavailable,
    DomainNotFound,
    DomainStore,
    DomainVersion,
    FingerprintMismatch,
    Neighbour,
    Statistics,
)
from datastores.corpus.reader import CorpusError, CorpusLimits, read_corpus
from datastores.edge.store import EdgeStore
from datastores.registration import register
from datastores.statistics import Moments
from models.clap.base import Clap

FloatArray = NDArray[np.float32]

_CORPUS = "corpus"
_CAPTIONS_AT_ONCE = 256


@dataclass(frozen=True, eq=False)
class Domain:
    """One version of a domain in an open store.

    Attributes:
        title: what the report calls it.
        store: holds it, and stays open while the domain is used.
        version: the version that is asked.
        statistics: of the version.
    """

    title: str
    store: DomainStore
    version: DomainVersion
    statistics: Statistics

    async def near(self, vectors: FloatArray, limit: int | None) -> list[list[Neighbour]]:
        """The `limit` captions nearest to each of the vectors [n, d], best first; all captions for None."""
        return await self.store.search(self.version, vectors, self.version.captions if limit is None else limit)


async def open_domain(store: DomainStore, name: str, clap: Clap, title: str | None = None) -> Domain:
    """A domain of a store as it serves now.

    Raises:
        DatastoreError: there is none of that name, or another CLAP embedded it.
    """
    version = await store.resolve(name)
    if version.fingerprint != clap.fingerprint:
        raise FingerprintMismatch(
            f"domain {name!r} was embedded by {version.fingerprint!r}, the bundle has {clap.fingerprint!r};"
            " register the domain again"
        )
    return Domain(title or name, store, version, await store.statistics(version))


async def put_domain(store: DomainStore, name: str, captions: Sequence[str], vectors: FloatArray, clap: Clap) -> Domain:
    """Register captions whose unit vectors [n, d] are known already. Raises `DatastoreError`."""
    moments = Moments(clap.embedding_dim)
    moments.add(vectors)
    async with store.writer(name, dimension=clap.embedding_dim, fingerprint=clap.fingerprint) as writer:
        await writer.add(captions, vectors)
        await writer.commit(moments.statistics())
    return await open_domain(store, name, clap)


@asynccontextmanager
async def corpus_domain(
    file: Path, cache: Path, clap: Clap, limits: CorpusLimits, progress: Progress
) -> AsyncIterator[Domain]:
    """The captions of a file as a domain, registered at the first call with this content and this CLAP.

    Args:
        file: a corpus as `datastores.corpus.reader` reads it.
        cache: a folder; each corpus has a store of its own in it.
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
    except DatastoreUnavailable as error:
        if not isinstance(error.__cause__, BlockingIOError):
            raise
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
    """An empty store that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="drcap-evaluate-") as folder:
        store = await EdgeStore.open(Path(folder))
        try:
            yield store
        finally:
            await store.close()


async def _register(store: DomainStore, file: Path, clap: Clap, limits: CorpusLimits, progress: Progress) -> None:
    # Read to its end first: a damaged line is found before minutes went into embedding those above it.
    captions = _captions(file, limits)
    task = progress.add_task(f"registering {file.name}", total=len(captions))
    await register(
        store,
        _CORPUS,
        captions,
        clap,
        batch=_CAPTIONS_AT_ONCE,
        progress=lambda stored: progress.update(task, completed=stored),
    )


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
