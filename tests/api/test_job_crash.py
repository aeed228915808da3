"""``kill -9`` at random moments of a registration job, and what a restart finds."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from datastores.edge.store import EdgeStore
from datastores.registration import register
from service.settings import JobsSettings, Settings
from tests.api.conftest import serving
from tests.fakes import FakeClap

pytestmark = pytest.mark.slow

CAPTIONS = 1500
KILLS = 3

# The service over fakes and the embedded datastore; it begins a job, or only goes on with the one it finds.
_CHILD = """
import asyncio, sys, time
from pathlib import Path
from datastores.edge.store import EdgeStore
from service.settings import JobsSettings, Settings
from tests.api.conftest import serving
from tests.api.test_job_crash import BODY
from tests.fakes import FakeBundle, FakeClap

class SlowClap(FakeClap):
    def embed_text(self, texts):
        time.sleep(0.02)
        return super().embed_text(texts)

async def stalled():
    yield BODY[:1000]
    print("there", flush=True)
    await asyncio.sleep(600)

async def main(root, what):
    store = await EdgeStore.open(Path(root) / "store")
    settings = Settings(jobs=JobsSettings(path=Path(root) / "jobs"))
    async with serving(store, FakeBundle(clap=SlowClap()), settings) as client:
        if what == "stall":
            await client.put("/domains/city", content=stalled())
        if what == "begin":
            answer = await client.put("/domains/city", content=BODY)
            assert answer.status_code == 202, answer.text
        print("there", flush=True)
        await asyncio.sleep(600)

asyncio.run(main(*sys.argv[1:]))
"""
BODY = "".join(f"new {number % 97} {number}\n" for number in range(CAPTIONS)).encode()


async def registered(root: Path) -> None:
    store = await EdgeStore.open(root / "store")
    await register(store, "city", [f"old {number}" for number in range(5)], FakeClap())
    await store.close()


def killed(root: Path, what: str, seconds: float) -> None:
    """Run a child until it says that it is there, and kill it so many seconds later."""
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", _CHILD, str(root), what],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "there\n"
        time.sleep(seconds)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()


def debris(root: Path) -> list[str]:
    """Files that no domain and no record accounts for."""
    store, jobs = root / "store", root / "jobs"
    found = [*(store / "building").iterdir(), *(store / "trash").iterdir(), *store.glob("domains/*/current.*")]
    found += [path for path in jobs.iterdir() if path.suffix != ".json" and path.name != "lock"]
    return [str(path) for path in found]


def versions(root: Path) -> int:
    return len(list(root.glob("store/domains/*/versions/*")))


async def assert_whole(client: httpx.AsyncClient) -> None:
    """The domain is all old or all new, and answers."""
    captions = (await client.get("/domains/city")).json()["captions"]
    word = {5: "old", CAPTIONS: "new"}[captions]
    lines = (await client.get("/domains/city/captions")).text.splitlines()
    assert len(lines) == captions
    assert all(f'"{word} ' in line for line in lines)
    found = (await client.get("/domains/city/search", params={"q": f"{word} 3", "limit": 3})).json()["results"]
    assert found[0]["caption"].startswith(f"{word} 3")


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_job_killed_again_and_again_is_done_in_the_end(tmp_path: Path, seed: int) -> None:
    await registered(tmp_path)
    moments = random.Random(seed)
    for number in range(KILLS):
        killed(tmp_path, "begin" if number == 0 else "resume", moments.uniform(0.0, 0.6))
    store = await EdgeStore.open(tmp_path / "store")
    async with serving(store, settings=Settings(jobs=JobsSettings(path=tmp_path / "jobs"))) as client:
        await assert_whole(client)
        for _ in range(4000):
            [job] = (await client.get("/jobs")).json()["jobs"]
            if job["finished"]:
                break
            await asyncio.sleep(0.01)
        assert (job["state"], job["problem"]) == ("succeeded", None)
        assert (await client.get("/domains/city")).json()["captions"] == CAPTIONS
        await assert_whole(client)
        assert debris(tmp_path) == []
        assert versions(tmp_path) <= 2


async def test_a_kill_in_the_middle_of_an_upload_leaves_nothing(tmp_path: Path) -> None:
    await registered(tmp_path)
    killed(tmp_path, "stall", 0.0)
    assert len(debris(tmp_path)) == 1
    store = await EdgeStore.open(tmp_path / "store")
    async with serving(store, settings=Settings(jobs=JobsSettings(path=tmp_path / "jobs"))) as client:
        assert (await client.get("/jobs")).json() == {"jobs": []}
        assert (await client.get("/domains/city")).json()["captions"] == 5
        await assert_whole(client)
        assert debris(tmp_path) == []
