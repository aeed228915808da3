"""Captions on their way into a version: each once, with the vector the domain has for it or a new one."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

import numpy as np

from datastores.base import DatastoreError, DomainStore, DomainVersion, Entry, FloatArray
from datastores.checks import caption_digest
from datastores.statistics import Moments

logger = logging.getLogger(__name__)


class TextEncoder(Protocol):
    """What registration needs of a CLAP."""

    @property
    def embedding_dim(self) -> int:
        """Length d of every embedding."""

    @property
    def fingerprint(self) -> str:
        """Names the space of the embeddings."""

    def embed_text(self, texts: Sequence[str]) -> FloatArray:
        """Embed captions: n strings -> float32 [n, d], unit norm."""


Embed = Callable[[Sequence[str]], Awaitable[FloatArray]]
"""Embeds captions as a `TextEncoder` does, without keeping the event loop."""


@dataclass
class Account:
    """What a registration has done so far.

    Attributes:
        read: captions taken, each counted once.
        repeated: captions left out because they were there before, letter for letter.
        embedded: captions that were embedded.
        reused: captions that keep the vector they had.
        stored: captions written to the new version.
    """

    read: int = 0
    repeated: int = 0
    embedded: int = 0
    reused: int = 0
    stored: int = 0


@dataclass(frozen=True)
class Batch:
    """Captions [n] and their vectors [n, d]."""

    captions: list[str]
    vectors: FloatArray

    @classmethod
    def of(cls, entries: Sequence[Entry]) -> "Batch":
        return cls([one.caption for one in entries], np.stack([one.vector for one in entries]))


class Encoding:
    """Gives captions their vectors: those of `known`, a version of the same space, and else the encoder's."""

    def __init__(
        self,
        store: DomainStore,
        encoder: TextEncoder,
        known: DomainVersion | None,
        embed: Embed | None,
        account: Account,
    ) -> None:
        """`embed`: what `encoder` does, elsewhere; in a thread when left out."""
        self._store = store
        self._encoder = encoder
        self._known = known
        self._embed = embed or self._embed_in_thread
        self._account = account

    async def batches(
        self, captions: Iterable[str], batch: int, piece: int, moments: Moments, *, only_new: bool = False
    ) -> AsyncIterator[Batch]:
        """Batches of at most `batch` captions, none of them empty, whose vectors `moments` has taken in.

        Args:
            captions: read in a thread.
            batch: captions read at a time.
            piece: captions embedded at a time.
            moments: takes in the vectors.
            only_new: leave out what `known` holds, counting it as repeated.
        """
        account, distinct = self._account, _Distinct(captions)
        dropped = 0
        while chunk := await asyncio.to_thread(lambda: list(islice(distinct, batch))):
            account.read += len(chunk)
            found = await self._look_up(chunk)
            if only_new:
                chunk = [caption for caption, vector in zip(chunk, found, strict=True) if vector is None]
                dropped += len(found) - len(chunk)
                found = [None] * len(chunk)
            account.repeated = distinct.repeated + dropped
            if chunk:
                vectors = await self._vectors(chunk, found, piece)
                await asyncio.to_thread(moments.add, vectors)
                yield Batch(chunk, vectors)
        account.repeated = distinct.repeated + dropped

    async def _look_up(self, captions: Sequence[str]) -> list[FloatArray | None]:
        if self._known is not None:
            try:
                return await self._store.lookup(self._known, captions)
            except DatastoreError as error:
                # It was there to save time only, and a damaged version is what registering again mends.
                logger.warning("the vectors of %s cannot be used again: %s", self._known.domain, error)
                self._known = None
        return [None] * len(captions)

    async def _vectors(self, captions: Sequence[str], found: Sequence[FloatArray | None], piece: int) -> FloatArray:
        vectors = np.empty((len(captions), self._encoder.embedding_dim), np.float32)
        unknown = [row for row, vector in enumerate(found) if vector is None]
        if len(unknown) < len(captions):
            rows = [row for row, vector in enumerate(found) if vector is not None]
            vectors[rows] = np.stack([vector for vector in found if vector is not None])
            self._account.reused += len(rows)
        # Pieces of about one length waste little on padding.
        unknown.sort(key=lambda row: len(captions[row]))
        for start in range(0, len(unknown), piece):
            rows = unknown[start : start + piece]
            texts = [captions[row] for row in rows]
            vectors[rows] = await self._embed(texts)
            self._account.embedded += len(rows)
        return vectors

    async def _embed_in_thread(self, texts: Sequence[str]) -> FloatArray:
        return await asyncio.to_thread(self._encoder.embed_text, texts)


class _Distinct(Iterator[str]):
    """Each caption once: the store keeps equal ones once, and the moments must be those of what it keeps."""

    def __init__(self, captions: Iterable[str]) -> None:
        self.repeated = 0
        self._captions = iter(captions)
        self._seen: set[bytes] = set()

    def __next__(self) -> str:
        for caption in self._captions:
            its = caption_digest(caption)
            if its not in self._seen:
                self._seen.add(its)
                return caption
            self.repeated += 1
        raise StopIteration
