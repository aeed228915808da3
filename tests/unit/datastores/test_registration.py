"""Registration and extension over the embedded datastore and a CLAP of a few lines."""

import asyncio
import io
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from datastores.base import (
    DatastoreError,
    DatastoreUnavailable,
    DomainNotFound,
    DomainVersion,
    FingerprintMismatch,
    FloatArray,
    Statistics,
)
from datastores.corpus.error import CorpusError
from datastores.edge.store import EdgeStore
from datastores.edge.writer import EdgeWriter
from datastores.embedding import Account
from datastores.registration import extend, register
from datastores.statistics import RunningStatistics
from tests.fakes import FakeClap
from tests.storage import limits, read_corpus

CAPTIONS = [f"tone {number}" for number in range(25)]


class FailingClap(FakeClap):
    """Fails at the second call."""

    calls = 0

    def embed_text(self, texts: Sequence[str]) -> FloatArray:
        self.calls += 1
        if self.calls == 2:
            raise RuntimeError("out of memory")
        return super().embed_text(texts)


class CountingClap(FakeClap):
    """Remembers what it embedded, and how much at a time."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.pieces: list[int] = []

    def embed_text(self, texts: Sequence[str]) -> FloatArray:
        self.texts += texts
        self.pieces.append(len(texts))
        return super().embed_text(texts)


def exact(captions: Sequence[str]) -> Statistics:
    vectors = FakeClap().embed_text(captions).astype(np.float64)
    return Statistics(len(vectors), vectors.mean(axis=0), np.cov(vectors.T, bias=True))


def assert_close(one: Statistics, other: Statistics) -> None:
    assert one.count == other.count
    np.testing.assert_allclose(one.mean, other.mean, atol=1e-9)
    np.testing.assert_allclose(one.covariance, other.covariance, atol=1e-9)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[EdgeStore]:
    store = await EdgeStore.open(tmp_path)
    yield store
    await store.close()


async def test_a_registered_domain_finds_its_captions(store: EdgeStore) -> None:
    clap = FakeClap()
    done = await register(store, "city", CAPTIONS, clap, batch=10)
    assert await store.resolve("city") == done.version
    assert (done.version.captions, done.version.fingerprint) == (25, "fake-1")
    [found] = await store.search(done.version, clap.embed_text(["tone 7"]), 1)
    assert found[0].caption == "tone 7"


async def test_the_statistics_are_those_of_all_chunks(store: EdgeStore) -> None:
    done = await register(store, "city", CAPTIONS, FakeClap(), batch=7)
    vectors = FakeClap().embed_text(CAPTIONS).astype(np.float64)
    statistics = await store.statistics(done.version)
    np.testing.assert_allclose(statistics.mean, vectors.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(statistics.covariance, np.cov(vectors.T, bias=True), atol=1e-12)


def test_running_statistics_are_exact_when_the_mean_is_large() -> None:
    vectors = np.random.default_rng(0).normal(1e3, 1e-2, size=(1000, 4)).astype(np.float32)
    running = RunningStatistics(4)
    for start in range(0, 1000, 130):
        running.add(vectors[start : start + 130])
    expected = np.cov(vectors.astype(np.float64).T, bias=True)
    np.testing.assert_allclose(running.statistics().covariance, expected, rtol=1e-9, atol=1e-15)


def test_statistics_of_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="no vectors"):
        RunningStatistics(4).statistics()


async def test_what_embeds_in_the_encoders_place_gets_pieces(store: EdgeStore) -> None:
    pieces: list[int] = []

    async def embed(texts: Sequence[str]) -> FloatArray:
        pieces.append(len(texts))
        return FakeClap().embed_text(texts)

    await register(store, "city", CAPTIONS, FakeClap(), batch=10, piece=4, embed=embed)
    assert pieces == [4, 4, 2, 4, 4, 2, 4, 1]


async def test_a_caption_that_comes_twice_is_refused_and_the_old_version_serves(store: EdgeStore) -> None:
    old = (await register(store, "city", CAPTIONS, FakeClap())).version
    with pytest.raises(DatastoreError, match="28 captions were added and only 25 differ"):
        await register(store, "city", CAPTIONS + CAPTIONS[:3], FakeClap(), batch=10)
    assert await store.resolve("city") == old


async def test_the_captions_of_a_corpus_are_registered_once(store: EdgeStore) -> None:
    lines = "\n".join([*CAPTIONS, *CAPTIONS[:3], "TONE 7."]).encode()
    done = await register(store, "city", read_corpus(io.BytesIO(lines)), FakeClap(), batch=10)
    assert (done.version.captions, done.repeated) == (25, 0)


async def test_captions_equal_only_in_embedding_are_all_registered(store: EdgeStore) -> None:
    done = await register(store, "city", ["a b", "b a", "A B"], FakeClap())
    assert done.version.captions == 3


async def test_a_failing_encoder_leaves_the_old_version_serving(store: EdgeStore) -> None:
    old = (await register(store, "city", CAPTIONS, FakeClap())).version
    with pytest.raises(RuntimeError, match="out of memory"):
        await register(store, "city", [f"{caption} anew" for caption in CAPTIONS], FailingClap(), batch=10)
    assert await store.resolve("city") == old


async def test_a_corpus_that_breaks_off_leaves_no_domain(store: EdgeStore) -> None:
    def captions() -> Iterator[str]:
        yield from CAPTIONS
        raise CorpusError("bad", "row", 26)

    with pytest.raises(CorpusError, match="line 26"):
        await register(store, "city", captions(), FakeClap(), batch=10)
    with pytest.raises(DomainNotFound):
        await store.resolve("city")


async def test_no_captions_are_refused(store: EdgeStore) -> None:
    with pytest.raises(CorpusError, match="no caption") as refused:
        await register(store, "city", iter([]), FakeClap())
    assert refused.value.kind == "empty"


async def test_only_what_the_serving_version_lacks_is_embedded(store: EdgeStore) -> None:
    await register(store, "city", CAPTIONS, FakeClap())
    clap, captions = CountingClap(), [*CAPTIONS[:-1], "tone anew"]
    done = await register(store, "city", captions, clap, batch=10)
    assert clap.texts == ["tone anew"]
    assert (done.embedded, done.reused, done.version.captions) == (1, 24, 25)
    vectors = np.stack([one for one in await store.lookup(done.version, captions) if one is not None])
    np.testing.assert_array_equal(vectors, FakeClap().embed_text(captions))
    assert_close(await store.statistics(done.version), exact(captions))


async def test_the_vectors_of_another_clap_are_not_used_again(store: EdgeStore) -> None:
    await register(store, "city", CAPTIONS, FakeClap())
    clap = CountingClap()
    clap.fingerprint = "fake-2"
    done = await register(store, "city", CAPTIONS, clap)
    assert (done.embedded, done.reused, len(clap.texts)) == (25, 0, 25)


async def test_a_version_that_cannot_be_looked_up_in_is_embedded_afresh(
    store: EdgeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await register(store, "city", CAPTIONS, FakeClap())

    async def broken(*_: object) -> None:
        raise DatastoreUnavailable("a damaged page")

    monkeypatch.setattr(store, "lookup", broken)
    done = await register(store, "city", CAPTIONS, FakeClap(), batch=10)
    assert (done.embedded, done.version.captions) == (25, 25)


async def test_captions_are_embedded_in_pieces_of_like_length_and_keep_their_vectors(store: EdgeStore) -> None:
    captions = ["a b c d e f", "a", "a b c d", "b", "a b c", "c"]
    clap = CountingClap()
    done = await register(store, "city", captions, clap, piece=3)
    assert clap.pieces == [3, 3]
    assert sorted(clap.texts[:3]) == ["a", "b", "c"]
    vectors = np.stack([one for one in await store.lookup(done.version, captions) if one is not None])
    np.testing.assert_array_equal(vectors, FakeClap().embed_text(captions))


async def test_the_account_grows_with_the_registration(store: EdgeStore) -> None:
    await register(store, "city", CAPTIONS[:5], FakeClap())
    account = Account()
    await register(store, "city", CAPTIONS, FakeClap(), batch=10, account=account)
    assert account == Account(read=25, repeated=0, embedded=20, reused=5, stored=25)


async def test_a_batch_is_embedded_while_the_one_before_is_stored(
    store: EdgeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    second_asked = threading.Event()
    honest = EdgeWriter.add

    class Clap(FakeClap):
        calls = 0

        def embed_text(self, texts: Sequence[str]) -> FloatArray:
            self.calls += 1
            if self.calls == 2:
                second_asked.set()
            return super().embed_text(texts)

    def add(self: EdgeWriter, captions: Sequence[str], vectors: FloatArray) -> None:
        assert second_asked.wait(10)
        honest(self, captions, vectors)

    monkeypatch.setattr(EdgeWriter, "add", add)
    assert (await register(store, "city", CAPTIONS, Clap(), batch=13)).version.captions == 25


async def test_a_cancellation_during_the_switch_comes_too_late(
    store: EdgeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, committing, go_on = asyncio.get_running_loop(), asyncio.Event(), threading.Event()
    honest = EdgeWriter.commit

    def commit(self: EdgeWriter, statistics: Statistics) -> DomainVersion:
        loop.call_soon_threadsafe(committing.set)
        assert go_on.wait(10)
        return honest(self, statistics)

    monkeypatch.setattr(EdgeWriter, "commit", commit)
    task = asyncio.create_task(register(store, "city", CAPTIONS, FakeClap()))
    await committing.wait()
    task.cancel()
    await asyncio.sleep(0)
    go_on.set()
    done = await task
    assert await store.resolve("city") == done.version


async def test_added_captions_stand_behind_those_of_the_domain(store: EdgeStore) -> None:
    await register(store, "city", CAPTIONS, FakeClap())
    clap, added = CountingClap(), ["a tram", "tone 3", "rain", "a bell"]
    done = await extend(store, "city", added, clap, limits=limits(max_captions=100), batch=2)
    assert sorted(clap.texts) == ["a bell", "a tram", "rain"]
    assert (done.embedded, done.reused, done.repeated) == (3, 25, 1)
    stored = [entry.caption async for some in store.entries(done.version) for entry in some]
    assert stored == [*CAPTIONS, "a tram", "rain", "a bell"]


async def test_statistics_continued_through_many_additions_are_exact(store: EdgeStore) -> None:
    await register(store, "city", CAPTIONS, FakeClap())
    for start in range(0, 60, 12):
        added = [f"rain {number} falls" for number in range(start, start + 12)]
        done = await extend(store, "city", added, FakeClap(), limits=limits(max_captions=100), batch=5)
    everything = [*CAPTIONS, *(f"rain {number} falls" for number in range(60))]
    assert_close(await store.statistics(done.version), exact(everything))


async def test_adding_nothing_new_keeps_the_version(store: EdgeStore) -> None:
    before = (await register(store, "city", CAPTIONS, FakeClap())).version
    done = await extend(store, "city", CAPTIONS[:4], CountingClap(), limits=limits(max_captions=100))
    assert (done.version, done.embedded, done.repeated) == (before, 0, 4)
    assert await store.resolve("city") == before


async def test_a_domain_does_not_grow_beyond_the_limit(store: EdgeStore) -> None:
    before = (await register(store, "city", CAPTIONS, FakeClap())).version
    with pytest.raises(CorpusError, match=r"more than 26 captions .*MAX_CAPTIONS") as refused:
        await extend(store, "city", ["tone 1", "a tram", "rain"], FakeClap(), limits=limits(max_captions=26))
    assert refused.value.kind == "too-many"
    assert await store.resolve("city") == before
    done = await extend(store, "city", ["tone 1", "a tram"], FakeClap(), limits=limits(max_captions=26))
    assert done.version.captions == 26


async def test_nothing_is_added_to_a_domain_that_is_not_there_or_of_another_clap(store: EdgeStore) -> None:
    with pytest.raises(DomainNotFound):
        await extend(store, "city", ["rain"], FakeClap(), limits=limits(max_captions=10))
    await register(store, "city", CAPTIONS, FakeClap())
    clap = FakeClap()
    clap.fingerprint = "fake-2"
    with pytest.raises(FingerprintMismatch, match=r"fake-1.*fake-2"):
        await extend(store, "city", ["rain"], clap, limits=limits(max_captions=100))
