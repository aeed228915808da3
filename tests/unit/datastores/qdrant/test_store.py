"""What crashes, other replicas and switches leave of the domains on a Qdrant server."""

import asyncio
import itertools
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from qdrant_client import AsyncQdrantClient, models

from datastores.base import DatastoreError, DatastoreUnavailable, DomainBusy, DomainNotFound
from datastores.qdrant import captions
from datastores.qdrant.config import QdrantConfig
from datastores.qdrant.store import QdrantStore
from tests.contract.versions import DIMENSION, put, statistics_of, unit_vectors
from tests.qdrant_calls import Calls
from tests.storage import server_config

CONFIG = server_config("http://memory", retry_seconds=0.0, write_retry_seconds=0.0)
LONG_AGO = 10 * CONFIG.lease_seconds


@dataclass
class Server:
    """One server's data and one clock, for any number of replicas."""

    data: AsyncQdrantClient = field(default_factory=lambda: AsyncQdrantClient(":memory:"))
    now: float = 1_000_000.0

    async def replica(self, config: QdrantConfig = CONFIG) -> tuple[QdrantStore, Calls]:
        calls = Calls(self.data)
        return await QdrantStore.open(config, calls.client, lambda: self.now), calls

    async def versions(self) -> set[str]:
        names = {one.name for one in (await self.data.get_collections()).collections}
        return {name.rpartition(".")[2] for name in names if name.count(".") == 2}

    async def entries(self) -> int:
        return (await self.data.count("drcap.catalog")).count

    async def parts_of_statistics(self) -> int:
        return (await self.data.count("drcap.moments")).count


@pytest.fixture
async def server() -> Server:
    return Server()


async def calls_of_a_registration() -> list[str]:
    server = Server()
    store, calls = await server.replica()
    await put(store, "city", unit_vectors(3))
    before = len(calls.names)
    await put(store, "city", unit_vectors(5))
    await store.close()
    return calls.names[before:]


@pytest.mark.slow
@pytest.mark.parametrize("lost", [False, True], ids=["before", "after"])
async def test_a_cut_at_any_call_leaves_the_old_version_or_the_whole_new_one(lost: bool) -> None:
    names = await calls_of_a_registration()
    outcomes = set()
    for step in range(len(names)):
        server = Server()
        store, calls = await server.replica()
        old = await put(store, "city", unit_vectors(3), "old")
        calls.cut_after, calls.answer_lost = len(calls.names) + step, lost
        try:
            await put(store, "city", unit_vectors(5), "new")
        except DatastoreUnavailable:
            outcomes.add("failed")
        else:
            outcomes.add("done")
        await store.close()

        server.now += LONG_AGO
        store, _ = await server.replica()
        version = await store.resolve("city")
        [found] = await store.search(version, unit_vectors(1), 10)
        assert {one.caption.split()[0] for one in found} == {"old" if version == old else "new"}
        assert len(found) == version.captions == (3 if version == old else 5)
        assert (await store.statistics(version)).count == version.captions
        kept = {old.version, version.version}
        assert await server.versions() == kept, names[step]
        assert await server.entries() == await server.parts_of_statistics() == len(kept)
        assert (await put(store, "city", unit_vectors(2))).captions == 2
        await store.close()
    assert outcomes == {"failed", "done"}


@pytest.mark.slow
async def test_a_cut_in_the_first_registration_leaves_no_domain() -> None:
    for step in itertools.count(1):
        server = Server()
        store, calls = await server.replica()
        calls.cut_after = len(calls.names) + step
        try:
            await put(store, "city", unit_vectors(3))
        except DatastoreUnavailable:
            await store.close()
        else:
            break
        server.now += LONG_AGO
        store, _ = await server.replica()
        if calls.names[calls.cut_after - 1] != "update_collection_aliases":
            assert await store.list() == []
            assert await server.versions() == set()
        await store.close()
    assert step > 10


async def test_a_killed_registration_holds_its_domain_until_its_lease_ends(server: Server) -> None:
    killed, calls = await server.replica()
    async with killed.writer("city", dimension=DIMENSION, fingerprint="fake-1") as writer:
        await writer.add(["half"], unit_vectors(1))
        calls.cut_after = len(calls.names)
    other, _ = await server.replica()
    assert len(await server.versions()) == 1
    with pytest.raises(DomainBusy, match="another 30 s"):
        await put(other, "city", unit_vectors(3))
    server.now += CONFIG.lease_seconds + 1
    await put(other, "city", unit_vectors(3))
    server.now += LONG_AGO
    again, _ = await server.replica()
    assert len(await server.versions()) == 1
    for store in (killed, other, again):
        await store.close()


async def test_replicas_see_each_others_versions(server: Server) -> None:
    first, _ = await server.replica()
    second, _ = await server.replica()
    old = await put(first, "city", unit_vectors(3))
    new = await put(second, "city", unit_vectors(4))
    assert await first.resolve("city") == new
    assert await first.list() == await second.list() == [new]
    assert await first.rollback("city") == old
    assert await second.resolve("city") == old
    with pytest.raises(DomainNotFound):
        await second.rollback("city")
    await second.delete("city")
    with pytest.raises(DomainNotFound):
        await first.resolve("city")
    await first.close()
    await second.close()


async def test_a_domain_has_one_writer_among_all_replicas(server: Server) -> None:
    first, _ = await server.replica()
    second, _ = await server.replica()
    await put(first, "city", unit_vectors(3))
    async with first.writer("city", dimension=DIMENSION, fingerprint="fake-1") as writer:
        await writer.add(["a tram"], unit_vectors(1))
        with pytest.raises(DomainBusy, match="city"):
            await put(second, "city", unit_vectors(3))
        with pytest.raises(DomainBusy, match="city"):
            await second.delete("city")
        third, _ = await server.replica()
        await put(second, "forest", unit_vectors(3))
        assert (await writer.commit(statistics_of(unit_vectors(1)))).captions == 1
    await put(second, "city", unit_vectors(3))
    for store in (first, second, third):
        await store.close()


async def test_of_replicas_that_come_at_once_never_two_write(server: Server) -> None:
    stores = [(await server.replica())[0] for _ in range(4)]
    await put(stores[0], "forest", unit_vectors(1))
    writing = 0

    async def register(store: QdrantStore) -> bool:
        nonlocal writing
        try:
            async with store.writer("city", dimension=DIMENSION, fingerprint="fake-1"):
                writing += 1
                assert writing == 1
                await asyncio.sleep(0.01)
                writing -= 1
        except DomainBusy:
            return False
        return True

    for _ in range(5):
        assert sum(await asyncio.gather(*map(register, stores))) <= 1
        assert len(await server.versions()) == 1
    for store in stores:
        await store.close()


async def test_a_writer_that_was_collected_meanwhile_does_not_switch(server: Server) -> None:
    slow, _ = await server.replica()
    old = await put(slow, "city", unit_vectors(3))
    with pytest.raises(DatastoreError, match="lost its hold"):
        await put_while_collected(server, slow)
    assert await slow.resolve("city") == old
    assert await server.versions() == {old.version}
    await slow.close()


async def put_while_collected(server: Server, slow: QdrantStore) -> None:
    async with slow.writer("city", dimension=DIMENSION, fingerprint="fake-1") as writer:
        await writer.add(["late"], unit_vectors(1))
        server.now += LONG_AGO
        other, _ = await server.replica()
        await other.close()
        await writer.commit(statistics_of(unit_vectors(1)))


@pytest.mark.slow
async def test_switches_under_readers_are_never_mixed_nor_fail(server: Server) -> None:
    store, _ = await server.replica()
    vectors = unit_vectors(20)
    await put(store, "city", vectors, "v0")
    over = asyncio.Event()
    seen: set[str] = set()

    async def read() -> None:
        while not over.is_set():
            version = await store.resolve("city")
            statistics = await store.statistics(version)
            [found] = await store.search(version, vectors[:1], 20)
            [word] = {one.caption.split()[0] for one in found}
            assert len(found) == statistics.count == 20
            seen.add(word)

    readers = [asyncio.create_task(read()) for _ in range(8)]
    for number in range(1, 13):
        await put(store, "city", vectors, f"v{number}")
    over.set()
    await asyncio.gather(*readers)
    assert len(seen) > 5
    assert len(await server.versions()) == 2
    await store.close()


async def test_a_caption_that_did_not_arrive_keeps_the_version_from_serving(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, _ = await server.replica()
    honest = server.data.upsert

    async def forgetful(name: str, points: Any, **options: Any) -> Any:
        if name.startswith("drcap.city."):
            points = points.model_copy(
                update={"ids": points.ids[1:], "vectors": points.vectors[1:], "payloads": points.payloads[1:]}
            )
        return await honest(name, points, **options)

    monkeypatch.setattr(server.data, "upsert", forgetful)
    with pytest.raises(DatastoreError, match="3 captions were added and 2 are stored"):
        await put(store, "city", unit_vectors(3))
    assert await server.versions() == set()
    await store.close()


async def test_a_vector_that_was_changed_keeps_the_version_from_serving(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, _ = await server.replica()
    honest = server.data.upsert

    async def forger(name: str, points: Any, **options: Any) -> Any:
        if name.startswith("drcap.city."):
            points = points.model_copy(update={"vectors": unit_vectors(3, seed=9).tolist()})
        return await honest(name, points, **options)

    monkeypatch.setattr(server.data, "upsert", forger)
    with pytest.raises(DatastoreError, match="was not stored as it was given"):
        await put(store, "city", unit_vectors(3))
    await store.close()


async def test_damaged_statistics_are_not_served(server: Server) -> None:
    store, _ = await server.replica()
    version = await put(store, "city", unit_vectors(3))
    [part], _ = await server.data.scroll("drcap.moments")
    await server.data.set_payload("drcap.moments", {"part": "AAAA"}, [part.id])
    with pytest.raises(DatastoreUnavailable, match="damaged"):
        await store.statistics(version)
    await store.close()


async def test_statistics_of_1024_dimensions_travel_in_parts_below_a_megabyte(server: Server) -> None:
    store, _ = await server.replica()
    vectors = np.eye(1024, dtype=np.float32)[:4]
    given = statistics_of(vectors)
    async with store.writer("city", dimension=1024, fingerprint="fake-1") as writer:
        await writer.add([f"caption {row}" for row in range(4)], vectors)
        version = await writer.commit(given)
    read = await store.statistics(version)
    np.testing.assert_array_equal(read.covariance, given.covariance)
    np.testing.assert_array_equal(read.mean, given.mean)
    records, _ = await server.data.scroll("drcap.moments", limit=100)
    assert len(records) == 17
    assert max(len((record.payload or {})["part"]) for record in records) < 1_000_000
    await store.delete("city")
    assert await server.parts_of_statistics() == 0
    await store.close()


async def test_services_of_other_prefixes_leave_each_other_alone(server: Server) -> None:
    first, _ = await server.replica()
    second, _ = await server.replica(replace(CONFIG, prefix="drcap-2"))
    await put(first, "city", unit_vectors(3))
    await put(second, "city", unit_vectors(4))
    await second.delete("city")
    assert (await first.resolve("city")).captions == 3
    await server.data.create_collection("drcap-notes", vectors_config={})
    server.now += LONG_AGO
    third, _ = await server.replica()
    assert await server.data.collection_exists("drcap-notes")
    for store in (first, second, third):
        await store.close()


async def test_registering_ahead_is_bounded_and_confirmed_before_the_switch(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, calls = await server.replica(replace(CONFIG, upload_parallel=2))
    vectors = unit_vectors(5000)
    under_way, most = 0, 0
    honest = server.data.upsert

    async def slow(name: str, points: Any, **options: Any) -> Any:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        for _ in range(20):
            await asyncio.sleep(0)
        under_way -= 1
        return await honest(name, points, **options)

    monkeypatch.setattr(server.data, "upsert", slow)
    version = await put(store, "city", vectors)
    assert most == 2
    assert version.captions == 5000
    assert calls.names.count("update_collection_aliases") == 1
    await store.close()


async def test_a_large_version_is_indexed_before_it_serves(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captions, "_POLL_SECONDS", 0)
    store, calls = await server.replica(replace(CONFIG, exact_below=4))
    await put(store, "city", unit_vectors(4))
    assert "update_collection" not in calls.names
    await put(store, "city", unit_vectors(5))
    before, _, after = " ".join(calls.names).partition(" update_collection ")
    assert before.endswith("upsert")
    assert after.startswith("get_collection get_collection")
    assert "update_collection_aliases" in after
    await store.close()


async def test_an_index_that_takes_too_long_does_not_keep_a_version_from_serving(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(captions, "_POLL_SECONDS", 0)
    honest = server.data.get_collection

    async def busy(name: str) -> models.CollectionInfo:
        return (await honest(name)).model_copy(update={"status": models.CollectionStatus.YELLOW})

    monkeypatch.setattr(server.data, "get_collection", busy)
    store, _ = await server.replica(replace(CONFIG, exact_below=4, index_wait_seconds=0.01))
    version = await put(store, "city", unit_vectors(5))
    assert await store.resolve("city") == version
    assert "before its index is whole" in caplog.text
    await store.close()


async def test_a_catalog_that_cannot_be_read_is_unavailable(server: Server) -> None:
    store, _ = await server.replica()
    await put(store, "city", unit_vectors(3))
    [record], _ = await server.data.scroll("drcap.catalog")
    await server.data.overwrite_payload("drcap.catalog", {"about": {}}, [record.id])
    other, _ = await server.replica()
    with pytest.raises(DatastoreUnavailable, match="entry of the catalog"):
        await other.resolve("city")
    assert len(await server.versions()) == 1
    await store.close()
    await other.close()


async def test_a_closed_store_says_so(server: Server) -> None:
    store, _ = await server.replica()
    await store.close()
    await store.close()
    with pytest.raises(DatastoreUnavailable, match="closed"):
        await store.list()
