"""The way to a Qdrant server: keys, limits in time, retries, and a server that goes and comes back."""

import asyncio
import shutil
import subprocess
import warnings
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from datastores.base import DatastoreUnavailable, DomainNotFound
from datastores.embedding import TextEncoder
from datastores.qdrant.store import QdrantStore
from service.app import create_app
from service.routes import health
from service.runtime import Loaders
from service.settings import JobsSettings, Settings
from tests.api.conftest import reach
from tests.contract.versions import put, statistics_of, unit_vectors
from tests.fakes import FakeBundle, FakeClap
from tests.qdrant_wire import Wire, wired
from tests.recordings import wav


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    async with wired() as wire:
        yield wire


@pytest.fixture(autouse=True)
def insecure() -> None:
    warnings.filterwarnings("ignore", "Api key is used with an insecure connection")
    warnings.filterwarnings("ignore", "Local mode performs exact")


async def until_loaded(client: httpx.AsyncClient) -> None:
    for _ in range(1000):
        if (await client.get("/readyz")).json().get("type") != "urn:drcap:problem:not-ready":
            return
        await asyncio.sleep(0.01)


async def test_a_version_goes_over_the_wire_and_back_to_1e_6(wire: Wire) -> None:
    store = await QdrantStore.open(wire.config())
    vectors = unit_vectors(300)
    version = await put(store, "city", vectors)
    assert await store.list() == [version]
    [found] = await store.search(version, vectors[:1], 300)
    scores = vectors @ vectors[0]
    assert [one.caption for one in found] == [f"caption {at}" for at in np.argsort(-scores)]
    np.testing.assert_array_equal(found[0].vector, vectors[0])
    np.testing.assert_allclose([one.score for one in found], np.sort(scores)[::-1], atol=1e-6)
    statistics = await store.statistics(version)
    np.testing.assert_array_equal(statistics.covariance, statistics_of(vectors).covariance)
    [there, absent] = await store.lookup(version, ["caption 7", "Caption 7"])
    assert there is not None
    assert absent is None
    np.testing.assert_array_equal(there, vectors[7])
    everything = [entry async for page in store.entries(version, page=64) for entry in page]
    assert sorted(entry.caption for entry in everything) == sorted(f"caption {at}" for at in range(300))
    await store.close()


@pytest.mark.parametrize("fault", [429, 500, 503, "drop"])
async def test_a_fault_that_passes_is_not_noticed(wire: Wire, fault: int | str) -> None:
    store = await QdrantStore.open(wire.config(retry_seconds=5, write_retry_seconds=5))
    vectors = unit_vectors(20)
    wire.fail(fault, times=2)
    version = await put(store, "city", vectors)
    wire.fail(fault, times=2)
    assert (await store.search(version, vectors[:1], 1))[0][0].caption == "caption 0"
    await store.close()


async def test_a_pause_the_server_asks_for_is_kept_within_the_bound(wire: Wire) -> None:
    store = await QdrantStore.open(wire.config(retry_seconds=2))
    wire.fail(429, headers={"Retry-After": "60"})
    before = len(wire.requests)
    with pytest.raises(DatastoreUnavailable, match="pause of 60 s"):
        await store.list()
    assert len(wire.requests) == before + 1
    await store.close()


@pytest.mark.parametrize("status", [400, 422])
async def test_what_would_be_refused_again_is_asked_once(wire: Wire, status: int) -> None:
    store = await QdrantStore.open(wire.config(retry_seconds=5))
    wire.fail(status)
    before = len(wire.requests)
    with pytest.raises(DatastoreUnavailable, match=f"{status}.*a fault of the test"):
        await store.list()
    assert len(wire.requests) == before + 1
    await store.close()


async def test_a_server_that_hangs_is_given_up_with_its_url_and_setting(wire: Wire) -> None:
    store = await QdrantStore.open(wire.config())
    version = await put(store, "city", unit_vectors(3))
    await store.close()
    store = await QdrantStore.open(wire.config(timeout_seconds=0.05))
    wire.fail("hang")
    with pytest.raises(DatastoreUnavailable, match=r"127\.0\.0\.1.*0\.05 s.*DRCAP_DATASTORE__TIMEOUT_SECONDS"):
        await store.search(version, unit_vectors(1), 1)
    await store.close()


async def test_a_dead_server_is_unavailable_and_served_again_when_it_is_back(wire: Wire) -> None:
    store = await QdrantStore.open(wire.config())
    version = await put(store, "city", unit_vectors(3))
    await wire.stop()
    for asking in (
        store.list(),
        store.resolve("city"),
        store.search(version, unit_vectors(1), 1),
        store.delete("city"),
    ):
        with pytest.raises(DatastoreUnavailable, match=r"127\.0\.0\.1.*DRCAP_DATASTORE__URL"):
            await asking
    await wire.start()
    assert await store.resolve("city") == version
    await store.close()


async def test_a_store_opens_before_its_server(wire: Wire) -> None:
    await wire.stop()
    store = await QdrantStore.open(wire.config())
    with pytest.raises(DatastoreUnavailable):
        await store.list()
    await wire.start()
    assert await store.list() == []
    assert (await put(store, "city", unit_vectors(3))).captions == 3
    await store.close()


async def test_the_read_key_serves_and_the_write_key_registers() -> None:
    async with wired(read_key="may-read", write_key="may-write") as wire:
        both = await QdrantStore.open(wire.config(read_key="may-read", write_key="may-write"))
        version = await put(both, "city", unit_vectors(3))
        reader = await QdrantStore.open(wire.config(read_key="may-read"))
        assert await reader.resolve("city") == version
        assert len((await reader.search(version, unit_vectors(1), 3))[0]) == 3
        with pytest.raises(DatastoreUnavailable, match=r"403.*DRCAP_DATASTORE__WRITE_KEY") as refused:
            await put(reader, "city", unit_vectors(3))
        assert "may-read" not in str(refused.value)
        assert await reader.resolve("city") == version
        await both.close()
        await reader.close()


async def test_a_wrong_key_is_named_by_its_setting_and_not_shown() -> None:
    async with wired(read_key="may-read", write_key="may-write") as wire:
        store = await QdrantStore.open(wire.config(read_key="stolen", retry_seconds=5))
        before = len(wire.requests)
        with pytest.raises(DatastoreUnavailable, match=r"401.*DRCAP_DATASTORE__READ_KEY") as refused:
            await store.list()
        assert "stolen" not in str(refused.value)
        assert len(wire.requests) == before + 1
        await store.close()


async def test_a_registration_that_loses_the_server_leaves_the_old_version(wire: Wire) -> None:
    store = await QdrantStore.open(wire.config())
    old = await put(store, "city", unit_vectors(3))
    vectors = unit_vectors(6)

    async def registration() -> None:
        async with store.writer("city", dimension=vectors.shape[1], fingerprint="fake-1") as writer:
            await writer.add([f"new {row}" for row in range(6)], vectors)
            await wire.stop()
            await writer.commit(statistics_of(vectors))

    with pytest.raises(DatastoreUnavailable):
        await registration()
    await wire.start()
    assert await store.resolve("city") == old
    await store.close()


async def test_the_service_says_503_while_the_server_is_away_and_recovers_without_a_restart(
    wire: Wire, tmp_path: Path
) -> None:
    clap: TextEncoder = FakeClap()
    store = await QdrantStore.open(wire.config())
    captions = ["tone 4", "rain on a roof"]
    vectors = clap.embed_text(captions)
    async with store.writer("city", dimension=64, fingerprint=clap.fingerprint) as writer:
        await writer.add(captions, vectors)
        await writer.commit(statistics_of(vectors))

    async def open_store(_: Settings) -> QdrantStore:
        return store

    async with reach(
        create_app(Settings(jobs=JobsSettings(path=tmp_path)), Loaders(lambda _: FakeBundle(), open_store))
    ) as client:
        await until_loaded(client)
        await wire.stop()
        for answer in (
            await client.get("/readyz"),
            await client.post("/caption?domain=city", content=wav()),
            await client.get("/domains/city"),
        ):
            assert answer.status_code == 503
            assert answer.json()["type"] == "urn:drcap:problem:datastore-unavailable"
            assert int(answer.headers["retry-after"]) > 0
        assert (await client.get("/livez")).status_code == 200
        await wire.start()
        assert (await client.get("/readyz")).status_code == 200
        assert (await client.post("/caption?domain=city", content=wav())).status_code == 200


async def test_an_unready_server_that_hangs_is_told_before_the_probe_gives_up(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    store = await QdrantStore.open(wire.config())

    async def open_store(_: Settings) -> QdrantStore:
        return store

    monkeypatch.setattr(health, "PROBE_SECONDS", 0.05)
    async with reach(
        create_app(Settings(jobs=JobsSettings(path=tmp_path)), Loaders(lambda _: FakeBundle(), open_store))
    ) as client:
        await until_loaded(client)
        wire.fail("hang")
        answer = await client.get("/readyz")
        assert answer.status_code == 503
        assert "did not answer within 0.05 s" in answer.json()["detail"]
        assert "retry-after" in answer.headers


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificate with openssl")
async def test_a_certificate_is_checked_against_the_file_that_is_set(tmp_path: Path) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    made = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=qdrant -days 2"
    subprocess.run(  # noqa: ASYNC221, S603
        [*made.split(), "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)],
        check=True,
        capture_output=True,
    )
    async with wired(certificate=(certificate, key)) as wire:
        trusting = await QdrantStore.open(wire.config(ca_file=certificate))
        assert (await put(trusting, "city", unit_vectors(3))).captions == 3
        wary = await QdrantStore.open(wire.config(retry_seconds=5))
        with pytest.raises(DatastoreUnavailable, match=r"not trusted.*DRCAP_DATASTORE__CA_FILE"):
            await wary.list()
        await trusting.close()
        await wary.close()


async def test_another_server_than_qdrant_is_told_apart(wire: Wire) -> None:
    store = await QdrantStore.open(wire.config())
    with pytest.raises(DomainNotFound):
        await store.resolve("city")
    wire.fail(404)
    with pytest.raises(DatastoreUnavailable, match="404"):
        await store.resolve("city")
    await store.close()
