"""Looking captions up and walking through a version, of every backend."""

import asyncio
from contextlib import aclosing

import numpy as np
import pytest

from datastores.base import DomainNotFound, DomainStore, StoredCaption
from tests.contract.versions import DIMENSION, Reopen, put, statistics_of, unit_vectors


async def everything(store: DomainStore, domain: str, page: int = 1024) -> list[StoredCaption]:
    return [entry async for some in store.entries(await store.resolve(domain), page=page) for entry in some]


async def test_a_caption_is_looked_up_with_the_vector_it_was_stored_with(store: DomainStore) -> None:
    vectors = unit_vectors(300)
    version = await put(store, "city", vectors)
    found = await store.lookup(version, ["caption 7", "caption 299", "caption 0"])
    np.testing.assert_array_equal(np.stack([one for one in found if one is not None]), vectors[[7, 299, 0]])


async def test_what_is_not_there_letter_for_letter_is_not_found(store: DomainStore) -> None:
    version = await put(store, "city", unit_vectors(5))
    found = await store.lookup(version, ["Caption 1", "caption 1 ", "caption 1", "", "caption 12"])
    assert [one is not None for one in found] == [False, False, True, False, False]


async def test_a_caption_asked_for_twice_is_found_twice(store: DomainStore) -> None:
    version = await put(store, "city", unit_vectors(5))
    first, second = await store.lookup(version, ["caption 3", "caption 3"])
    assert first is not None
    assert second is not None
    np.testing.assert_array_equal(first, second)


async def test_no_captions_find_nothing(store: DomainStore) -> None:
    assert await store.lookup(await put(store, "city", unit_vectors(5)), []) == []


async def test_captions_of_any_script_and_length_are_found(store: DomainStore) -> None:
    captions = ["雨が屋根に降る", 'Ein Zug, der hält — "ding"', "🔔", "a" * 2000, "<|im_end|>\u200d"]
    async with store.writer("odd", dimension=DIMENSION, fingerprint="fake-1") as writer:
        await writer.add(captions, unit_vectors(5))
        version = await writer.commit(statistics_of(unit_vectors(5)))
    found = await store.lookup(version, captions)
    np.testing.assert_array_equal(np.stack([one for one in found if one is not None]), unit_vectors(5))
    assert {entry.caption for entry in await everything(store, "odd")} == set(captions)


async def test_a_version_is_looked_up_in_by_itself(store: DomainStore) -> None:
    old = await put(store, "city", unit_vectors(5), "old")
    new = await put(store, "city", unit_vectors(5, seed=1), "new")
    assert [one is None for one in await store.lookup(new, ["old 1", "new 1"])] == [True, False]
    assert [one is None for one in await store.lookup(old, ["old 1", "new 1"])] == [False, True]


@pytest.mark.parametrize("page", [1, 7, 50, 1000])
async def test_every_entry_comes_once_with_its_vector(store: DomainStore, page: int) -> None:
    vectors = unit_vectors(50)
    version = await put(store, "city", vectors)
    pages = [some async for some in store.entries(version, page=page)]
    assert all(0 < len(some) <= page for some in pages)
    entries = {entry.caption: entry.vector for some in pages for entry in some}
    assert sum(map(len, pages)) == len(entries) == 50
    for row in range(50):
        np.testing.assert_array_equal(entries[f"caption {row}"], vectors[row])


async def test_a_walk_stays_in_its_version_while_others_are_switched_to(store: DomainStore) -> None:
    old = await put(store, "city", unit_vectors(20), "old")
    seen: list[str] = []
    async with aclosing(store.entries(old, page=5)) as pages:  # type: ignore[type-var]
        async for some in pages:
            seen += [entry.caption for entry in some]
            if len(seen) == 5:
                await put(store, "city", unit_vectors(20), "new")
    assert set(seen) == {f"old {row}" for row in range(20)}


async def test_a_walk_that_is_left_early_harms_nothing(store: DomainStore) -> None:
    version = await put(store, "city", unit_vectors(20))
    async with aclosing(store.entries(version, page=5)) as pages:  # type: ignore[type-var]
        await anext(pages)
    await store.delete("city")
    with pytest.raises(DomainNotFound):
        await anext(store.entries(version))
    assert (await put(store, "city", unit_vectors(3))).captions == 3


async def test_lookups_and_walks_survive_a_restart(store: DomainStore, reopen: Reopen) -> None:
    vectors = unit_vectors(30)
    version = await put(store, "city", vectors)
    store = await reopen()
    [found] = await store.lookup(version, ["caption 11"])
    assert found is not None
    np.testing.assert_array_equal(found, vectors[11])
    assert len(await everything(store, "city", page=8)) == 30


async def test_a_version_that_is_gone_is_neither_looked_up_in_nor_walked_through(store: DomainStore) -> None:
    version = await put(store, "city", unit_vectors(5))
    await store.delete("city")
    with pytest.raises(DomainNotFound):
        await store.lookup(version, ["caption 1"])
    with pytest.raises(DomainNotFound):
        await anext(store.entries(version))


async def test_lookups_go_on_beside_a_registration(store: DomainStore) -> None:
    vectors = unit_vectors(200)
    version = await put(store, "city", vectors)
    captions = [f"caption {row}" for row in range(200)]
    found, _ = await asyncio.gather(store.lookup(version, captions), put(store, "city", vectors, "new"))
    assert all(one is not None for one in found)
