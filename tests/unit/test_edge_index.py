"""A large version has an index: what it finds is what a scan finds, nearly."""

from pathlib import Path

import numpy as np

from datastores.edge.store import EdgeStore
from tests.contract.versions import put, unit_vectors


async def test_a_version_above_the_limit_is_indexed_and_finds_what_a_scan_finds(tmp_path: Path) -> None:
    vectors, queries = unit_vectors(4000), unit_vectors(20, seed=1)
    store = await EdgeStore.open(tmp_path, exact_below=3999)
    version = await put(store, "city", vectors)
    found = await store.search(version, queries, 50)
    served = store._domains["city"].current
    assert not served._scans
    truth = served.search(queries, 50, exact=True)
    shared = [len({n.caption for n in a} & {n.caption for n in b}) for a, b in zip(found, truth, strict=True)]
    assert np.mean(shared) > 47
    for a, b in zip(found, truth, strict=True):
        assert (a[0].caption, a[0].score) == (b[0].caption, b[0].score)
    await store.close()


async def test_an_index_is_there_again_after_a_restart_and_holds_every_caption(tmp_path: Path) -> None:
    vectors = unit_vectors(2500)
    store = await EdgeStore.open(tmp_path, exact_below=2000)
    version = await put(store, "city", vectors)
    await store.close()
    store = await EdgeStore.open(tmp_path)
    assert not store._domains["city"].current._scans
    looked = await store.lookup(version, ["caption 0", "caption 2499", "nothing"])
    assert [one is not None for one in looked] == [True, True, False]
    assert looked[1] is not None
    np.testing.assert_allclose(looked[1], vectors[2499], atol=1e-6)
    assert sum([len(page) async for page in store.entries(version)]) == 2500
    await store.close()


async def test_a_version_up_to_the_limit_is_scanned(tmp_path: Path) -> None:
    store = await EdgeStore.open(tmp_path, exact_below=2000)
    version = await put(store, "city", unit_vectors(2000))
    await store.search(version, unit_vectors(1, seed=1), 1)
    assert store._domains["city"].current._scans
    await store.close()
