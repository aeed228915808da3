"""Registration: captions become a new version of a domain, which serves once it is whole."""

import asyncio
import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from datastores.base import DomainStore, DomainVersion, FloatArray
from datastores.corpus import CorpusError
from datastores.moments import Moments


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


@dataclass(frozen=True)
class Registered:
    """What a registration did.

    Attributes:
        version: the version that serves now.
        repeated: captions left out because they had come before, letter for letter.
        seconds: how long it took.
    """

    version: DomainVersion
    repeated: int
    seconds: float


async def register(
    store: DomainStore,
    domain: str,
    captions: Iterable[str],
    encoder: TextEncoder,
    *,
    batch: int = 1024,
    progress: Callable[[int], None] | None = None,
    executor: Executor | None = None,
) -> Registered:
    """Embed captions into a new version of a domain and switch to it.

    Whatever fails, or a cancellation, before the switch leaves the domain as it was. Memory is bounded by
    `batch` and a digest a caption, whatever the number of captions.

    Args:
        store: where the domain lives.
        domain: its name.
        captions: taken `batch` at a time in the worker thread, so reading them may block.
        encoder: embeds them; called in the worker thread.
        batch: captions embedded and stored at a time.
        progress: called on the event loop with the number of captions stored so far.
        executor: the worker thread; one of the event loop's when left out.

    Raises:
        CorpusError: there is no caption, or reading them failed.
        DatastoreError: the store refused or failed, see `DomainStore.writer` and `VersionWriter`.
    """
    started = time.perf_counter()
    loop = asyncio.get_running_loop()
    moments = Moments(encoder.embedding_dim)
    fresh = _Distinct(captions)

    def embed_next() -> tuple[list[str], FloatArray] | None:
        chunk = list(islice(fresh, batch))
        if not chunk:
            return None
        vectors = encoder.embed_text(chunk)
        moments.add(vectors)
        return chunk, vectors

    stored = 0
    async with store.writer(domain, dimension=encoder.embedding_dim, fingerprint=encoder.fingerprint) as writer:
        while (embedded := await loop.run_in_executor(executor, embed_next)) is not None:
            await writer.add(*embedded)
            stored += len(embedded[0])
            if progress is not None:
                progress(stored)
        if not stored:
            raise CorpusError("there is no caption to register", "empty")
        version = await writer.commit(moments.statistics())
    return Registered(version, fresh.repeated, time.perf_counter() - started)


class _Distinct(Iterator[str]):
    """Each caption once: the store keeps equal ones once, and the moments must be those of what it keeps."""

    def __init__(self, captions: Iterable[str]) -> None:
        self.repeated = 0
        self._captions = iter(captions)
        self._seen: set[bytes] = set()

    def __next__(self) -> str:
        for caption in self._captions:
            digest = hashlib.blake2b(caption.encode(), digest_size=16).digest()
            if digest not in self._seen:
                self._seen.add(digest)
                return caption
            self.repeated += 1
        raise StopIteration
