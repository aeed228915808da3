"""What a kill, a second process or damaged files leave of the embedded datastore."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from datastores.base import DatastoreError, DatastoreInUse, DatastoreUnavailable, DomainVersion
from datastores.draft import Draft
from datastores.edge.store import EdgeStore
from datastores.edge.version import ServedVersion
from datastores.registration import register
from tests.fakes import FakeClap

pytestmark = pytest.mark.slow

# Registers without end, or stops for good at one step of the switch; says when it is there.
_CHILD = """
import asyncio, itertools, sys, time
from pathlib import Path
from datastores.edge import catalog
from datastores.edge.store import EdgeStore
from datastores.registration import register
from tests.fakes import FakeClap

def stop(*_):
    print("there", flush=True)
    time.sleep(600)

async def main(root, step):
    store = await EdgeStore.open(Path(root))
    captions = (f"new {number}" for number in range(40))
    if step == "embedding":
        captions = (f"new {number}" for number in itertools.count() if number < 100 or stop())
        await register(store, "city", captions, FakeClap(), batch=20)
    setattr(catalog.Catalog, step, stop)
    await register(store, "city", captions, FakeClap())

asyncio.run(main(*sys.argv[1:]))
"""


async def registered(root: Path) -> DomainVersion:
    store = await EdgeStore.open(root)
    version = (await register(store, "city", [f"old {number}" for number in range(5)], FakeClap())).version
    await store.close()
    return version


def child(root: Path, step: str) -> "subprocess.Popen[str]":
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", _CHILD, str(root), step],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[4],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "there\n"
    return process


def folders(root: Path) -> set[str]:
    found = [*(root / "building").iterdir(), *(root / "trash").iterdir(), *root.glob("domains/*/versions/*")]
    return {path.name for path in found}


@pytest.mark.parametrize("step", ["embedding", "place", "point"])
async def test_a_kill_in_mid_registration_leaves_the_old_version_serving(tmp_path: Path, step: str) -> None:
    old = await registered(tmp_path)
    process = child(tmp_path, step)
    assert len(folders(tmp_path)) == 2
    process.send_signal(signal.SIGKILL)
    process.communicate()
    store = await EdgeStore.open(tmp_path)
    try:
        assert folders(tmp_path) == {old.version}
        assert await store.resolve("city") == old
        [found] = await store.search(old, FakeClap().embed_text(["old 3"]), 5)
        assert found[0].caption == "old 3"
        assert len(found) == 5
    finally:
        await store.close()


@pytest.mark.parametrize("step", ["place", "point"])
async def test_a_kill_in_the_first_registration_leaves_no_domain(tmp_path: Path, step: str) -> None:
    process = child(tmp_path, step)
    process.kill()
    process.communicate()
    store = await EdgeStore.open(tmp_path)
    assert await store.list() == []
    assert folders(tmp_path) == set()
    assert list((tmp_path / "domains").iterdir()) == []
    await store.close()


async def test_a_second_process_is_refused_with_path_and_setting(tmp_path: Path) -> None:
    process = child(tmp_path, "point")
    try:
        with pytest.raises(DatastoreInUse, match="DRCAP_DATASTORE__PATH") as refused:
            await EdgeStore.open(tmp_path, "DRCAP_DATASTORE__PATH")
        assert str(tmp_path) in str(refused.value)
    finally:
        process.kill()
        process.communicate()


async def test_a_folder_that_cannot_be_made_is_refused_with_path_and_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DatastoreUnavailable, match=r"file.*DRCAP_DATASTORE__PATH"):
        await EdgeStore.open(tmp_path / "file", "DRCAP_DATASTORE__PATH")


@pytest.mark.parametrize("file", ["current", "version.json", "vectors.f32"])
async def test_a_damaged_domain_does_not_stop_the_others(tmp_path: Path, file: str) -> None:
    version = await registered(tmp_path)
    store = await EdgeStore.open(tmp_path)
    await register(store, "forest", ["an owl"], FakeClap())
    await store.close()
    [damaged] = (tmp_path / "domains" / "city").rglob(file)
    damaged.write_bytes(b"{")
    store = await EdgeStore.open(tmp_path)
    try:
        assert [one.domain for one in await store.list()] == ["forest"]
        with pytest.raises(DatastoreUnavailable, match=file):
            await store.resolve("city")
        assert version.version in folders(tmp_path)
        await register(store, "city", ["a tram"], FakeClap())
        assert (await store.resolve("city")).captions == 1
    finally:
        await store.close()


async def test_a_damaged_domain_can_be_deleted(tmp_path: Path) -> None:
    await registered(tmp_path)
    (tmp_path / "domains" / "city" / "current").write_bytes(b"{")
    store = await EdgeStore.open(tmp_path)
    await store.delete("city")
    assert folders(tmp_path) == set()
    await store.close()


async def test_a_version_that_does_not_verify_never_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = await registered(tmp_path)
    store = await EdgeStore.open(tmp_path)
    honest = ServedVersion.verify

    def damaged(self: ServedVersion, draft: Draft) -> None:
        _, stored = self.prepare()
        np.memmap(self.folder / "vectors.f32", np.float32, "r+", shape=stored.shape)[:] = 0
        honest(self, draft)

    monkeypatch.setattr(ServedVersion, "verify", damaged)
    with pytest.raises(DatastoreError, match="'new' was not stored as it was given"):
        await register(store, "city", ["new"], FakeClap())
    with pytest.raises(DatastoreError, match="'new' was not stored as it was given"):
        await register(store, "forest", ["new"], FakeClap())
    assert await store.list() == [old]
    assert folders(tmp_path) == {old.version}
    await store.close()


async def test_replaced_versions_leave_the_disk(tmp_path: Path) -> None:
    store = await EdgeStore.open(tmp_path)
    versions = [(await register(store, "city", [f"n {n}"], FakeClap())).version.version for n in range(4)]
    assert folders(tmp_path) == set(versions[-2:])
    await store.close()


async def test_a_closed_store_says_so_and_lets_the_next_one_open(tmp_path: Path) -> None:
    version = await registered(tmp_path)
    store = await EdgeStore.open(tmp_path)
    await store.close()
    await store.close()
    with pytest.raises(DatastoreUnavailable, match="closed"):
        await store.search(version, FakeClap().embed_text(["old 1"]), 1)
    await (await EdgeStore.open(tmp_path)).close()
