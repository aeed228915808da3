"""The embedded datastore's own part in lookups: its index, its order, and many switches under readers."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from datastores.base import DomainNotFound
from datastores.edge.index import CaptionIndex, hashes_of
from datastores.edge.store import EdgeStore
from tests.contract.versions import put, unit_vectors


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[EdgeStore]:
    store = await EdgeStore.open(tmp_path)
    yield store
    await store.close()


def spoil_index(folder: Path, damage: str) -> None:
    [index] = folder.rglob("captions.idx")
    if damage == "missing":
        index.unlink()
    else:
        index.write_bytes(index.read_bytes()[:-1])


def versions_on_disk(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("domains/*/versions/*")}


def test_an_index_finds_every_row_of_an_equal_hash(tmp_path: Path) -> None:
    hashes = np.array([7, 3, 7, 2**64 - 1, 3, 3], np.uint64)
    CaptionIndex.of(hashes).write(tmp_path / "index")
    index = CaptionIndex.read(tmp_path / "index", 6)
    assert index is not None
    asked, rows = index.candidates(np.array([3, 5, 2**64 - 1, 7], np.uint64))
    assert list(zip(asked.tolist(), rows.tolist(), strict=True)) == [(0, 1), (0, 4), (0, 5), (2, 3), (3, 0), (3, 2)]


async def test_captions_of_one_hash_are_told_apart_by_their_text(
    store: EdgeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = unit_vectors(4)
    everything_alike = CaptionIndex.of(np.zeros(4, np.uint64))
    monkeypatch.setattr(CaptionIndex, "read", lambda *_: everything_alike)
    monkeypatch.setattr("datastores.edge.version.hashes_of", lambda some: np.zeros(len(some), np.uint64))
    version = await put(store, "city", vectors)
    found = await store.lookup(version, ["caption 2", "caption 9", "caption 0"])
    assert [one is not None for one in found] == [True, False, True]
    np.testing.assert_array_equal(np.stack([one for one in found if one is not None]), vectors[[2, 0]])


def test_the_hash_of_a_caption_stays_what_it_is_on_disk() -> None:
    assert hashes_of(["a dog barks", ""]).tolist() == [7826247043361760816, 4665148505410102986]


@pytest.mark.parametrize("damage", ["missing", "short"])
async def test_a_version_without_its_index_is_looked_up_in_all_the_same(tmp_path: Path, damage: str) -> None:
    store = await EdgeStore.open(tmp_path)
    vectors = unit_vectors(20)
    version = await put(store, "city", vectors)
    await store.close()
    spoil_index(tmp_path, damage)
    store = await EdgeStore.open(tmp_path)
    found = await store.lookup(version, ["caption 4", "caption 20"])
    assert [one is not None for one in found] == [True, False]
    np.testing.assert_array_equal(np.stack([one for one in found if one is not None]), vectors[[4]])
    await store.close()


async def test_entries_come_in_the_order_of_registration(store: EdgeStore) -> None:
    version = await put(store, "city", unit_vectors(40))
    entries = [entry.caption async for some in store.entries(version, page=9) for entry in some]
    assert entries == [f"caption {row}" for row in range(40)]


async def test_a_walk_outlives_two_switches_and_then_lets_the_version_go(store: EdgeStore, tmp_path: Path) -> None:
    old = await put(store, "city", unit_vectors(20), "old")
    seen = []
    async for some in store.entries(old, page=5):
        seen += [entry.caption for entry in some]
        if len(seen) == 5:
            for _ in range(2):
                await put(store, "city", unit_vectors(20), "new")
            with pytest.raises(DomainNotFound):
                await store.lookup(old, ["old 1"])
    assert seen == [f"old {row}" for row in range(20)]
    await put(store, "city", unit_vectors(20), "new")
    assert old.version not in versions_on_disk(tmp_path)


@pytest.mark.slow
async def test_two_hundred_switches_under_eight_readers_mix_nothing(store: EdgeStore) -> None:
    vectors, over = unit_vectors(6), asyncio.Event()
    await put(store, "city", vectors, "v0")
    answers = 0

    async def read() -> None:
        nonlocal answers
        while not over.is_set():
            version = await store.resolve("city")
            try:
                [found] = await store.search(version, vectors[:1], 6)
                entries = [entry.caption async for some in store.entries(version, page=2) for entry in some]
            except DomainNotFound:  # a reader may be slower than two switches, but is never told of another version
                continue
            words = {one.caption.split()[0] for one in found} | {caption.split()[0] for caption in entries}
            assert len(words) == 1
            assert (len(found), len(entries)) == (6, 6)
            answers += 1

    async with asyncio.TaskGroup() as readers:
        for _ in range(8):
            readers.create_task(read())
        for number in range(1, 201):
            await put(store, "city", vectors, f"v{number}")
        over.set()
    assert answers >= 8
    [last] = await store.search(await store.resolve("city"), vectors[:1], 1)
    assert last[0].caption.startswith("v200 ")
