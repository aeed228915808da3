"""Registers captions as a new version of a domain, which serves when it is complete."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from typing import TypeVar

from datastores.base import DatastoreError, DomainStore, DomainVersion, FingerprintMismatch
from datastores.corpus.error import CorpusError
from datastores.corpus.reader import CorpusLimits
from datastores.embedding import Account, Embed, EmbeddedCaptions, Encoding, TextEncoder
from datastores.statistics import RunningStatistics

T = TypeVar("T")


@dataclass(frozen=True)
class Registered:
    """The result of a registration.

    Attributes:
        version: the version that serves now.
        repeated: captions not added because the domain held them already, letter for letter.
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
    embed: Embed | None = None,
    account: Account | None = None,
) -> Registered:
    """Make captions a new version of a domain and switch to it; only what the serving one lacks is embedded.

    A failure or a cancellation before the switch leaves the domain as it was; a cancellation during the switch comes
    too late. Memory is bounded by `batch` and 16 bytes for each caption. One batch is read and embedded while the one
    before is stored.

    Args:
        store: where the domain lives.
        domain: its name.
        captions: each once, as `datastores.corpus.reader.Corpus` gives them. They are taken `batch` at a time in a
            thread, so reading them may block.
        encoder: embeds the captions, and names the space of the vectors.
        batch: captions read, looked up and stored at a time.
        piece: captions embedded at a time; by default `batch`.
        embed: embeds in place of the encoder; by default the encoder does, in a thread.
        account: counts the progress.

    Raises:
        CorpusError: there is no caption, or reading them failed.
        DatastoreError: a caption came twice, or the store refused or failed; see `DomainStore.writer` and
            `VersionWriter`.
    """
    started, account = time.perf_counter(), account or Account()
    running = RunningStatistics(encoder.embedding_dim)
    async with store.writer(domain, dimension=encoder.embedding_dim, fingerprint=encoder.fingerprint) as writer:
        encoding = Encoding(store, encoder, await _reusable(store, domain, encoder), embed, account)
        async with aclosing(_ahead(encoding.batches(captions, batch, piece or batch, running))) as batches:
            async for one in batches:
                await writer.add(one.captions, one.vectors)
                account.stored += len(one.captions)
        if not account.stored:
            raise CorpusError("there is no caption to register", "empty")
        version = await _to_its_end(writer.commit(running.statistics()))
    return _registered(version, account, started)


async def extend(
    store: DomainStore,
    domain: str,
    captions: Iterable[str],
    encoder: TextEncoder,
    *,
    limits: CorpusLimits,
    batch: int = 1024,
    piece: int | None = None,
    embed: Embed | None = None,
    account: Account | None = None,
) -> Registered:
    """Add captions to a domain: its next version has the captions it holds and, behind them, the new ones.

    The statistics continue from the stored ones, which is as exact as computing them again. Captions that the domain
    holds already count as repeated; if no caption is new, the serving version stays. See `register` for the other
    arguments and for the state after a failure.

    Raises:
        DomainNotFound: there is no such domain.
        FingerprintMismatch: another CLAP embedded it.
        CorpusError: the domain would have more captions than the limits allow, or reading them failed.
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
        running = RunningStatistics.of(await store.statistics(serving))
        encoding = Encoding(store, encoder, serving, embed, account)
        new = encoding.batches(captions, batch, piece or batch, running, only_new=True)
        async with aclosing(_ahead(new)) as batches:
            async for one in batches:
                if not account.stored:
                    await _copy(store, serving, writer.add, batch, account)
                if serving.captions + account.embedded > limits.max_captions:
                    raise CorpusError(
                        f"the domain would have more than {limits.max_captions:,} captions"
                        f" ({limits.setting_of('max_captions')})",
                        "too-many",
                    )
                await writer.add(one.captions, one.vectors)
                account.stored += len(one.captions)
        if not account.stored:
            account.reused = serving.captions
            return _registered(serving, account, started)
        version = await _to_its_end(writer.commit(running.statistics()))
    return _registered(version, account, started)


async def _reusable(store: DomainStore, domain: str, encoder: TextEncoder) -> DomainVersion | None:
    try:
        serving = await store.resolve(domain)
    except DatastoreError:  # absent, or damaged: registering it again repairs it
        return None
    return serving if _same_space(serving, encoder) else None


def _same_space(version: DomainVersion, encoder: TextEncoder) -> bool:
    return (version.fingerprint, version.dimension) == (encoder.fingerprint, encoder.embedding_dim)


async def _copy(
    store: DomainStore, version: DomainVersion, add: Callable[..., Awaitable[None]], page: int, account: Account
) -> None:
    async with aclosing(_ahead(store.entries(version, page=page))) as pages:
        async for entries in pages:
            one = EmbeddedCaptions.of(entries)
            await add(one.captions, one.vectors)
            account.reused += len(entries)
            account.stored += len(entries)


def _registered(version: DomainVersion, account: Account, started: float) -> Registered:
    return Registered(version, account.repeated, account.embedded, account.reused, time.perf_counter() - started)


async def _ahead(source: AsyncIterator[T]) -> AsyncGenerator[T, None]:
    """Yield the items of `source` and fetch the next one meanwhile; close `source` at the end."""

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
    """Wait for work that must not stop halfway. A cancellation meanwhile has no effect."""
    task = asyncio.ensure_future(work)
    while True:
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise
