"""Gives captions their vectors on the way into a version: the one the domain has already, or a new one."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

import numpy as np

from datastores.base import DatastoreError, DomainStore, DomainVersion, FloatArray, StoredCaption
from datastores.statistics import RunningStatistics

logger = logging.getLogger(__name__)


class TextEncoder(Protocol):
    """The part of a CLAP that registration uses."""

    @property
    def embedding_dim(self) -> int:
        """Length d of every embedding."""

    @property
    def fingerprint(self) -> str:
        """Names the space of the embeddings."""

    def embed_text(self, texts: Sequence[str]) -> FloatArray:
        """Embed captions: n strings -> float32 [n, d], unit norm."""


Embed = Callable[[Sequence[str]], Awaitable[FloatArray]]
"""Embeds captions as a `TextEncoder` does, without blocking the event loop."""


@dataclass
class Account:
    """Counts what a registration has done so far.

    Attributes:
        read: captions taken from the caller.
        repeated: captions not added because the domain holds them already, letter for letter.
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
class EmbeddedCaptions:
    """Captions [n] and their vectors [n, d]."""

    captions: list[str]
    vectors: FloatArray

    @classmethod
    def of(cls, entries: Sequence[StoredCaption]) -> "EmbeddedCaptions":
        return cls([one.caption for one in entries], np.stack([one.vector for one in entries]))


class Encoding:
    """Gives captions their vectors: from `known`, a version in the same space, or else from the encoder."""

    def __init__(
        self,
        store: DomainStore,
        encoder: TextEncoder,
        known: DomainVersion | None,
        embed: Embed | None,
        account: Account,
    ) -> None:
        """`embed` embeds in place of the encoder; by default the encoder does, in a thread."""
        self._store = store
        self._encoder = encoder
        self._known = known
        self._embed = embed or self._embed_in_thread
        self._account = account

    async def batches(
        self, captions: Iterable[str], batch: int, piece: int, running: RunningStatistics, *, only_new: bool = False
    ) -> AsyncIterator[EmbeddedCaptions]:
        """Yield at most `batch` captions at a time, with their vectors. No batch is empty.

        Args:
            captions: read in a thread.
            batch: captions read at a time.
            piece: captions embedded at a time.
            running: the statistics that the vectors are added to.
            only_new: omit the captions that `known` holds and count them as repeated.
        """
        unread = iter(captions)
        while chunk := await asyncio.to_thread(lambda: list(islice(unread, batch))):
            self._account.read += len(chunk)
            found = await self._look_up(chunk)
            if only_new:
                chunk = [caption for caption, vector in zip(chunk, found, strict=True) if vector is None]
                self._account.repeated += len(found) - len(chunk)
                found = [None] * len(chunk)
            if chunk:
                vectors = await self._vectors(chunk, found, piece)
                await asyncio.to_thread(running.add, vectors)
                yield EmbeddedCaptions(chunk, vectors)

    async def _look_up(self, captions: Sequence[str]) -> list[FloatArray | None]:
        if self._known is not None:
            try:
                return await self._store.lookup(self._known, captions)
            except DatastoreError as error:
                # The old vectors only save time, and registering again repairs a damaged version.
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
