"""What every backend of `DomainStore` keeps. Another backend is one more parameter of `reopen` in conftest."""

import asyncio

import numpy as np
import pytest

from datastores.base import (
    DatastoreError,
    DomainBusy,
    DomainNotFound,
    DomainStore,
    InvalidDomainName,
    Statistics,
)
from tests.contract.versions import DIMENSION, Reopen, put, statistics_of, unit_vectors


async def test_neighbours_and_scores_equal_brute_force(store: DomainStore) -> None:
    vectors, queries = unit_vectors(3000), unit_vectors(5, seed=1)
    version = await put(store, "city", vectors)
    found = await store.search(version, queries, 100)
    scores = queries.astype(np.float64) @ vectors.T.astype(np.float64)
    for row, neighbours in enumerate(found):
        best = np.argsort(-scores[row])[:100]
        assert [one.caption for one in neighbours] == [f"caption {at}" for at in best]
        np.testing.assert_allclose([one.score for one in neighbours], scores[row][best], atol=1e-5)
        np.testing.assert_allclose([one.vector for one in neighbours], vectors[best], atol=1e-6)


async def test_a_query_of_any_length_is_scored_by_cosine(store: DomainStore) -> None:
    vectors = unit_vectors(20)
    version = await put(store, "city", vectors)
    [found] = await store.search(version, 7 * vectors[3:4], 1)
    assert found[0].caption == "caption 3"
    assert found[0].score == pytest.approx(1.0, abs=1e-5)


async def test_a_limit_above_the_number_of_captions_gives_all_of_them(store: DomainStore) -> None:
    version = await put(store, "city", unit_vectors(7))
    [found] = await store.search(version, unit_vectors(1, seed=1), 100)
    assert len(found) == 7


async def test_no_query_gives_no_answer(store: DomainStore) -> None:
    version = await put(store, "city", unit_vectors(7))
    assert await store.search(version, np.zeros((0, DIMENSION), np.float32), 3) == []


async def test_captions_of_the_same_vector_are_all_kept(store: DomainStore) -> None:
    version = await put(store, "city", np.repeat(unit_vectors(1), 5, axis=0))
    [found] = await store.search(version, unit_vectors(1), 10)
    assert [one.caption for one in found] == [f"caption {row}" for row in range(5)]


async def test_a_version_with_a_repeated_caption_never_serves(store: DomainStore) -> None:
    vectors = unit_vectors(2)
    async with store.writer("city", dimension=DIMENSION, fingerprint="fake-1") as writer:
        await writer.add(["a tram", "rain"], vectors)
        await writer.add(["rain"], vectors[1:])
        with pytest.raises(DatastoreError, match="3 captions were added and only 2 differ"):
            await writer.commit(statistics_of(vectors[[0, 1, 1]]))
    assert await store.list() == []


async def test_what_was_committed_is_described(store: DomainStore) -> None:
    version = await put(store, "city", unit_vectors(7))
    assert await store.resolve("city") == version
    assert (version.domain, version.captions, version.dimension) == ("city", 7, DIMENSION)
    assert version.fingerprint == "fake-1"
    assert version.created.tzinfo is not None


async def test_domains_are_listed_by_name(store: DomainStore) -> None:
    for name in ("forest", "city", "air"):
        await put(store, name, unit_vectors(3))
    assert [version.domain for version in await store.list()] == ["air", "city", "forest"]


async def test_statistics_equal_numpy(store: DomainStore) -> None:
    vectors = unit_vectors(500)
    statistics = await store.statistics(await put(store, "city", vectors))
    exact = vectors.astype(np.float64)
    assert statistics.count == 500
    np.testing.assert_allclose(statistics.mean, exact.mean(axis=0), atol=1e-10)
    np.testing.assert_allclose(statistics.covariance, np.cov(exact.T, bias=True), atol=1e-10)


async def test_versions_sort_by_time(store: DomainStore) -> None:
    versions = [(await put(store, "city", unit_vectors(3))).version for _ in range(3)]
    assert versions == sorted(set(versions))


async def test_readers_see_one_version_entirely_while_it_switches(store: DomainStore) -> None:
    vectors = unit_vectors(200)
    await put(store, "city", vectors, "v0")
    switched = asyncio.Event()
    seen = set()

    async def read() -> None:
        while not switched.is_set():
            version = await store.resolve("city")
            [found] = await store.search(version, vectors[:1], 200)
            words = {one.caption.split()[0] for one in found}
            assert len(words) == 1
            assert len(found) == 200
            seen.update(words)

    readers = [asyncio.create_task(read()) for _ in range(3)]
    for number in range(1, 4):
        await put(store, "city", vectors, f"v{number}")
        version = await store.resolve("city")
        await store.search(version, vectors[:1], 1)
    switched.set()
    await asyncio.gather(*readers)
    assert len(seen) > 1


async def test_a_resolved_version_answers_after_the_switch(store: DomainStore) -> None:
    old = await put(store, "city", unit_vectors(5), "old")
    await put(store, "city", unit_vectors(5), "new")
    [found] = await store.search(old, unit_vectors(1), 5)
    assert {one.caption.split()[0] for one in found} == {"old"}


async def test_a_version_two_switches_old_is_gone(store: DomainStore) -> None:
    old = await put(store, "city", unit_vectors(5), "old")
    for _ in range(2):
        await put(store, "city", unit_vectors(5), "new")
    with pytest.raises(DomainNotFound, match=old.version):
        await store.search(old, unit_vectors(1), 5)


async def test_rollback_serves_the_version_before(store: DomainStore) -> None:
    first = await put(store, "city", unit_vectors(5))
    second = await put(store, "city", unit_vectors(6))
    assert await store.rollback("city") == first
    assert await store.resolve("city") == first
    assert len((await store.search(second, unit_vectors(1), 10))[0]) == 6
    with pytest.raises(DomainNotFound):
        await store.rollback("city")


async def test_a_rollback_survives_a_restart(store: DomainStore, reopen: Reopen) -> None:
    first = await put(store, "city", unit_vectors(5))
    await put(store, "city", unit_vectors(6))
    await store.rollback("city")
    store = await reopen()
    assert await store.resolve("city") == first
    assert len((await store.search(first, unit_vectors(1), 10))[0]) == 5


async def test_a_deleted_domain_is_gone_and_can_come_back(store: DomainStore, reopen: Reopen) -> None:
    version = await put(store, "city", unit_vectors(5))
    await store.search(version, unit_vectors(1), 1)
    await store.delete("city")
    for asking in (store.resolve("city"), store.search(version, unit_vectors(1), 1), store.delete("city")):
        with pytest.raises(DomainNotFound):
            await asking
    store = await reopen()
    assert await store.list() == []
    assert (await put(store, "city", unit_vectors(2))).captions == 2


async def test_everything_survives_a_restart(store: DomainStore, reopen: Reopen) -> None:
    vectors = unit_vectors(50)
    old = await put(store, "city", vectors, "old")
    new = await put(store, "city", vectors, "new")
    before = await store.search(new, unit_vectors(2, seed=1), 10)
    store = await reopen()
    after = await store.search(await store.resolve("city"), unit_vectors(2, seed=1), 10)
    assert [[one.caption for one in row] for row in after] == [[one.caption for one in row] for row in before]
    assert (await store.statistics(new)).count == 50
    assert await store.rollback("city") == old


async def test_leaving_without_a_commit_changes_nothing(store: DomainStore) -> None:
    old = await put(store, "city", unit_vectors(5))
    async with store.writer("city", dimension=DIMENSION, fingerprint="fake-1") as writer:
        await writer.add(["half"], unit_vectors(1))
    assert await store.resolve("city") == old
    assert (await put(store, "city", unit_vectors(6))).captions == 6


async def test_a_failure_in_a_registration_changes_nothing(store: DomainStore) -> None:
    async def registration() -> None:
        async with store.writer("city", dimension=DIMENSION, fingerprint="fake-1") as writer:
            await writer.add(["half"], unit_vectors(1))
            raise RuntimeError("embedding")

    with pytest.raises(RuntimeError, match="embedding"):
        await registration()
    with pytest.raises(DomainNotFound):
        await store.resolve("city")


async def test_a_cancelled_registration_changes_nothing_and_frees_the_domain(store: DomainStore) -> None:
    started = asyncio.Event()

    async def registration() -> None:
        async with store.writer("city", dimension=DIMENSION, fingerprint="fake-1") as writer:
            await writer.add(["half"], unit_vectors(1))
            started.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(registration())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await store.list() == []
    await put(store, "city", unit_vectors(3))


async def test_a_domain_has_one_writer_at_a_time(store: DomainStore) -> None:
    async with store.writer("city", dimension=DIMENSION, fingerprint="fake-1"):
        with pytest.raises(DomainBusy, match="city"):
            await put(store, "city", unit_vectors(3))
        await put(store, "forest", unit_vectors(3))
    await put(store, "city", unit_vectors(3))


async def test_a_domain_is_not_deleted_while_it_is_written(store: DomainStore) -> None:
    await put(store, "city", unit_vectors(3))
    async with store.writer("city", dimension=DIMENSION, fingerprint="fake-1"):
        with pytest.raises(DomainBusy):
            await store.delete("city")
    await store.delete("city")


async def test_an_empty_commit_is_refused(store: DomainStore) -> None:
    async with store.writer("city", dimension=DIMENSION, fingerprint="fake-1") as writer:
        with pytest.raises(DatastoreError, match="no captions"):
            await writer.commit(Statistics(0, np.zeros(DIMENSION), np.zeros((DIMENSION, DIMENSION))))
    assert await store.list() == []


async def test_statistics_of_another_count_are_refused(store: DomainStore) -> None:
    vectors = unit_vectors(3)
    async with store.writer("city", dimension=DIMENSION, fingerprint="fake-1") as writer:
        await writer.add(["one", "two"], vectors[:2])
        with pytest.raises(DatastoreError, match="3 captions and 2"):
            await writer.commit(statistics_of(vectors))
    assert await store.list() == []


@pytest.mark.parametrize("factor", [np.nan, 0.5, 0.0])
async def test_vectors_that_are_not_of_unit_norm_are_refused(store: DomainStore, factor: float) -> None:
    async with store.writer("city", dimension=DIMENSION, fingerprint="fake-1") as writer:
        with pytest.raises(DatastoreError, match="unit norm"):
            await writer.add(["one", "two"], np.array([[1.0], [factor]], np.float32) * unit_vectors(2))


@pytest.mark.parametrize("name", ["", "../x", "City", "city\n", "a/b", ".", "-a", "a-", "a" * 65, "ü", "a\0"])
async def test_an_invalid_name_is_refused_with_the_rule(store: DomainStore, name: str) -> None:
    for asking in (
        store.resolve(name),
        store.rollback(name),
        store.delete(name),
        put(store, name, unit_vectors(1)),
    ):
        with pytest.raises(InvalidDomainName, match="lower-case letters, digits"):
            await asking


async def test_an_unknown_domain_is_not_found(store: DomainStore) -> None:
    for asking in (store.resolve("nowhere"), store.rollback("nowhere"), store.delete("nowhere")):
        with pytest.raises(DomainNotFound, match="nowhere"):
            await asking
