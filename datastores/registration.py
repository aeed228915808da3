"""Registration: captions become a new version of a domain, which serves once it is whole."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from typing import TypeVar

from datastores.base import DatastoreError, DomainStore, DomainVersion, FingerprintMismatch
from datastores.corpus.reader import CorpusError
from datastores.embedding import Account, Batch, Embed, Encoding, TextEncoder
from datastores.statistics import Moments

__all__ = ["Account", "Registered", "TextEncoder", "extend", "register"]

T = TypeVar("T")


@dataclass(frozen=True)
class Registered:
    """What a registration did.

    Attributes:
        version: the version that serves now.
        repeated: captions left out because they were there before, letter for letter.
        embedded: captions that were embedded.
        reused: captions that kept the vector they had in the version before.
        seconds: how long it took.
    """

    version: DomainVersion
    repeated: int
    embedded: int
    reused: int
    seconds: float


async def register(
    store: DomainStore,
    domain: str,
    captions: Iterable[str],
    encoder: TextEncoder,
    *,
    batch: int = 1024,
    piece: int | None = None,
    progress: Callable[[int], None] | None = None,
    embed: Embed | None = None,
    account: Account | None = None,
) -> Registered:
    """Make captions a new version of a domain and switch to it; only what the serving one lacks is embedded.

    Whatever fails, or a cancellation, before the switch leaves the domain as it was; a cancellation that comes
    while it switches is too late. Memory is bounded by `batch` and a digest a caption, whatever the number of
    captions. One batch is read and embedded while the one before is stored.

    Args:
        store: where the domain lives.
        domain: its name.
        captions: taken `batch` at a time in a thread, so reading them may block.
        encoder: says what space the vectors are of, and embeds them.
        batch: captions read, looked up and stored at a time.
        piece: captions embedded at a time, `batch` when left out.
        progress: called on the event loop with the number of captions stored so far.
        embed: embeds in the encoder's place; the encoder does it in a thread when left out.
        account: counts meanwhile what has been done.

    Raises:
        CorpusError: there is no caption, or reading them failed.
        DatastoreError: the store refused or failed, see `DomainStore.writer` and `VersionWriter`.
    """
    started, account = time.perf_counter(), account or Account()
    moments = Moments(encoder.embedding_dim)
    async with store.writer(domain, dimension=encoder.embedding_dim, fingerprint=encoder.fingerprint) as writer:
        encoding = Encoding(store, encoder, await _reusable(store, domain, encoder), embed, account)
        async with aclosing(_ahead(encoding.batches(captions, batch, piece or batch, moments))) as batches:
            async for one in batches:
                await writer.add(one.captions, one.vectors)
                _count(account, len(one.captions), progress)
        if not account.stored:
            raise CorpusError("there is no caption to register", "empty")
        version = await _to_its_end(writer.commit(moments.statistics()))
    return _registered(version, account, started)


async def extend(
    store: DomainStore,
    domain: str,
    captions: Iterable[str],
    encoder: TextEncoder,
    *,
    max_captions: int,
    batch: int = 1024,
    piece: int | None = None,
    embed: Embed | None = None,
    account: Account | None = None,
) -> Registered:
    """Add captions to a domain: its next version is what it holds and, behind that, what is new.

    The moments are continued from the stored ones, which is as exact as computing them again. Captions that
    the domain holds already count as repeated; when nothing is new the version that serves stays.
    See `register` for the arguments and for what a failure leaves behind.

    Raises:
        DomainNotFound: there is no such domain.
        FingerprintMismatch: another CLAP embedded it.
        CorpusError: there would be more than `max_captions`, or reading them failed.
        DatastoreError: the store refused or failed.
    """
    started, account = time.perf_counter(), account or Account()
    async with store.writer(domain, dimension=encoder.embedding_dim, fingerprint=encoder.fingerprint) as writer:
        serving = await store.resolve(domain)
        if not _same_space(serving, encoder):
            raise FingerprintMismatch(
                f"domain {domain!r} was embedded by {serving.fingerprint!r}, these captions would be by"
                f" {encoder.fingerprint!r}; register the domain again"
            )
        moments = Moments.of(await store.statistics(serving))
        encoding = Encoding(store, encoder, serving, embed, account)
        new = encoding.batches(captions, batch, piece or batch, moments, only_new=True)
        async with aclosing(_ahead(new)) as batches:
            async for one in batches:
                if not account.stored:
                    await _copy(store, serving, writer.add, batch, account)
                if serving.captions + account.embedded > max_captions:
                    raise CorpusError(
                        f"the domain would have more than {max_captions:,} captions (DRCAP_CORPUS__MAX_CAPTIONS)",
                        "too-many",
                    )
                await writer.add(one.captions, one.vectors)
                _count(account, len(one.captions), None)
        if not account.stored:
            account.reused = serving.captions
            return _registered(serving, account, started)
        version = await _to_its_end(writer.commit(moments.statistics()))
    return _registered(version, account, started)


async def _reusable(store: DomainStore, domain: str, encoder: TextEncoder) -> DomainVersion | None:
    try:
        serving = await store.resolve(domain)
    except DatastoreError:  # absent, or damaged, which registering it again is to mend
        return None
    return serving if _same_space(serving, encoder) else None


def _same_space(version: DomainVersion, encoder: TextEncoder) -> bool:
    return (version.fingerprint, version.dimension) == (encoder.fingerprint, encoder.embedding_dim)


async def _copy(
    store: DomainStore, version: DomainVersion, add: Callable[..., Awaitable[None]], page: int, account: Account
) -> None:
    async with aclosing(_ahead(store.entries(version, page=page))) as pages:
        async for entries in pages:
            one = Batch.of(entries)
            await add(one.captions, one.vectors)
            account.reused += len(entries)
            _count(account, len(entries), None)


def _count(account: Account, stored: int, progress: Callable[[int], None] | None) -> None:
    account.stored += stored
    if progress is not None:
        progress(account.stored)


def _registered(version: DomainVersion, account: Account, started: float) -> Registered:
    return Registered(version, account.repeated, account.embedded, account.reused, time.perf_counter() - started)


async def _ahead(source: AsyncIterator[T]) -> AsyncGenerator[T, None]:
    """The items of `source`, the next one under way while one is used; `source` is closed at the end."""

    async def take() -> T | None:
        return await anext(source, None)

    following = asyncio.create_task(take())
    try:
        while (item := await following) is not None:
            following = asyncio.create_task(take())
            yield item
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        if isinstance(source, AsyncGenerator):
            await source.aclose()


async def _to_its_end(work: Awaitable[T]) -> T:
    """Await what a cancellation must not leave half done: one that comes meanwhile comes too late."""
    task = asyncio.ensure_future(work)
    while True:
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise
